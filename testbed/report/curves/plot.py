"""The plot of one curve panel: measured points, fitted curves and residuals against the steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from testbed.plot_style import GREY, MUTED
from testbed.report.plots import COLOURS, MARKERS, plain_ticks, svg_uri

#: The lengths of a line's dashes and gaps; () for a solid line.
Dash = tuple[float, ...]
#: (steps, value) of each point.
Points = Sequence[tuple[float, float]]

_FAMILY_STYLES: tuple[tuple[str, Dash], ...] = (
    ("#7a3e9d", (6, 2)),
    ("#0f766e", ()),
    ("#b0305c", (4, 1.5, 1, 1.5)),
    ("#7c6a00", (1, 1)),
    ("#2f6f2f", (8, 3)),
)


@dataclass(frozen=True)
class Interval:
    """A ``value`` at ``steps``, and its 95 % interval (None: not known)."""

    steps: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FamilyLine:
    """One family's curve."""

    points: Points
    colour: str
    dash: Dash


@dataclass(frozen=True)
class Series:
    """What a curve panel shows of one place.

    ``points``: as measured; ``line``: the fitted curve with its band; ``paper``: the paper's form.
    All but the points may be empty.
    """

    place: str
    points: Sequence[Interval]
    line: Sequence[Interval] = ()
    families: Sequence[FamilyLine] = ()
    paper: Points = ()
    residuals: Points = ()


@dataclass(frozen=True)
class ResidualAxis:
    """The axis of the residuals, from -``limit`` to ``limit``; ``shaded`` within ± 1."""

    label: str
    limit: float
    shaded: bool


@dataclass(frozen=True)
class CurveAxes:
    """The axis of the values, whether that of the steps is logarithmic, and that of the residuals
    below (None: there are none).
    """

    label: str
    bottom: float
    top: float
    log_steps: bool = True
    residual: ResidualAxis | None = None


def family_style(rank: int) -> tuple[str, Dash]:
    """The colour and dash of a curve family's line: rank 0 the paper's, -1 the interpolation."""
    if rank == 0:
        return MUTED, (2, 2)
    return (GREY, (1, 1)) if rank < 0 else _FAMILY_STYLES[(rank - 1) % len(_FAMILY_STYLES)]


def curve_panel(series: Sequence[Series], scales: CurveAxes) -> str:
    """The panel as a data URI."""
    largest = max((point.steps for place in series for point in place.points), default=1)

    def draw(axes: Axes, below: Axes | None = None) -> None:
        for place in series:
            _fitted(axes, place)
            _measured(axes, place)
            if below is not None and place.residuals:
                _residuals(below, place)
        if scales.log_steps:
            axes.set_xscale("log", base=2)
            axes.set_xlim(0.87, 1.15 * largest)
            plain_ticks(axes.xaxis, [2**k for k in range(20) if 2**k <= largest])
        else:
            axes.set_xlim(0, 1.05 * largest)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylim(scales.bottom, scales.top)
        axes.set_ylabel(scales.label)
        if below is not None and scales.residual is not None:
            _residual_axis(below, scales.residual)
            axes.tick_params(axis="x", labelbottom=False, length=0)
        (axes if below is None else below).set_xlabel("denoising steps")

    return svg_uri(draw) if scales.residual is None else svg_uri(draw, height=3.5, ratios=(3, 1))


def _fitted(axes: Axes, series: Series) -> None:
    """The fitted curve with its band, each family, and the paper's form."""
    colour = COLOURS[series.place]
    if series.line:
        columns = [(point.steps, point.value, point.low, point.high) for point in series.line]
        steps, value, low, high = np.array(columns, dtype=float).T
        axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
        # pale where the families' thin lines lie upon it
        style: dict[str, Any] = {"alpha": 0.45, "linewidth": 2.6} if series.families else {}
        axes.plot(steps, value, color=colour, **style)
    for family in series.families:
        dash: Any = (0, family.dash) if family.dash else "-"
        steps, value = np.array(family.points, dtype=float).T
        axes.plot(steps, value, color=family.colour, linestyle=dash, linewidth=1.0)
    if series.paper:
        steps, value = np.array(series.paper, dtype=float).T
        axes.plot(steps, value, color=colour, linestyle=(0, (2, 2)), linewidth=1.2)


def _measured(axes: Axes, series: Series) -> None:
    """The points with their bars."""
    colour = COLOURS[series.place]
    bars = [
        (point.steps, point.low, point.high)
        for point in series.points
        if point.low is not None and point.high is not None
    ]
    if bars:
        steps, low, high = np.array(bars, dtype=float).T
        axes.vlines(steps, low, high, color=colour, linewidth=1.1)
    _dots(axes, series.place, [(point.steps, point.value) for point in series.points])


def _residuals(axes: Axes, series: Series) -> None:
    steps, value = np.array(series.residuals, dtype=float).T
    axes.vlines(steps, 0, value, color=COLOURS[series.place], linewidth=0.8)
    _dots(axes, series.place, series.residuals)


def _residual_axis(axes: Axes, scale: ResidualAxis) -> None:
    axes.axhline(0, color=GREY, linewidth=1)
    if scale.shaded:
        axes.axhspan(-1, 1, color=GREY, alpha=0.13, linewidth=0)
    axes.set_ylim(-scale.limit, scale.limit)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.set_ylabel(scale.label)


def _dots(axes: Axes, place: str, points: Points) -> None:
    axes.plot(
        [steps for steps, _ in points],
        [value for _, value in points],
        MARKERS[place],
        color=COLOURS[place],
        markersize=4,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=3,
    )
