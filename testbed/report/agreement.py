"""Predicted against measured, and what the paper's forms would have predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calibration.comparison import Comparison
from calibration.serving.serving import Serving
from calibration.validation.validation import Validation
from testbed.plot_style import GREY
from testbed.report.format import Cell, Table
from testbed.report.plots import COLOURS, MARKERS, Panel, plain_ticks, svg_uri

#: Quantity of a user -> its title and unit.
AGREEMENT = {
    "time": ("Time", "s"),
    "energy": ("Energy", "J"),
    "error": ("Error", ""),
    "utility": ("Utility", ""),
    "clip_score": ("CLIP score", ""),
}


@dataclass(frozen=True)
class Agreement:
    """What was predicted and measured of a ``user``."""

    user: int
    place: str
    steps: int
    compared: Comparison

    def columns(self) -> dict[str, Cell]:
        """The row of its table."""
        return {
            "user": self.user,
            "place": self.place,
            "steps": self.steps,
            "predicted": self.compared.predicted,
            "low": self.compared.low,
            "high": self.compared.high,
            "measured": self.compared.measured,
            "paper": self.compared.paper,
        }


@dataclass(frozen=True, kw_only=True)
class AgreementPanel(Panel):
    """A quantity of all users.

    ``coverage``: the share inside their intervals; ``typical``, ``paper``: the medians of the
    absolute relative errors, of the prediction and of the paper's form; None where not known.
    """

    title: str
    unit: str
    coverage: float | None
    typical: float | None
    paper: float | None


def agreement(validation: Validation) -> list[AgreementPanel]:
    """A panel for each quantity measured of any user, and one for those served in batches.

    The CLIP score is the utility on another scale, and energy without a meter is time: these have
    no panel of their own.
    """
    panels = []
    for name, (title, unit) in AGREEMENT.items():
        points = [
            Agreement(user.user, user.place, user.steps, compared)
            for user in validation.users
            if (compared := user.quantity(name)) and compared.measured is not None
        ]
        modelled = all(point.compared.basis == "modelled" for point in points)
        if name != "clip_score" and not modelled:
            panels.append(
                agreement_panel(
                    name,
                    title,
                    unit,
                    points,
                    validation.coverage.get(name),
                    validation.median_absolute_error.get(name),
                    validation.paper_median_absolute_error.get(name),
                )
            )
    return panels + ([_completion(validation.serving)] if validation.serving else [])


def _completion(serving: Serving) -> AgreementPanel:
    points = [
        Agreement(user, "edge", request.steps, request)
        for user, request in zip(serving.users, serving.requests, strict=True)
    ]
    return agreement_panel(
        "completion",
        "Completion, edge in batches",
        "s",
        points,
        serving.coverage,
        serving.median_absolute_error,
        serving.paper_median_absolute_error,
    )


def agreement_panel(
    name: str,
    title: str,
    unit: str,
    points: Sequence[Agreement],
    coverage: float | None,
    typical: float | None,
    paper: float | None,
) -> AgreementPanel:
    """The panel of ``points``; the other arguments are its fields."""
    rows = [point.columns() for point in points]
    return AgreementPanel(
        title=title,
        unit=unit,
        coverage=coverage,
        typical=typical,
        paper=paper,
        alt=f"{title}: measured against predicted, {len(points)} users",
        uri=agreement_plot(points, unit),
        table=Table(f"agreement-{name}", rows, rows),
    )


def agreement_plot(points: Sequence[Agreement], unit: str) -> str:
    """Measured against predicted with the identity line, as a data URI.

    Crosses are the paper's predictions. A point whose interval misses the measured value is hollow.
    Axes are logarithmic over a range of 20 or more.
    """
    ends = [
        end
        for point in points
        for end in (point.compared.predicted, point.compared.measured, point.compared.paper)
        if end is not None
    ]
    low, high = min(ends), max(ends)
    logarithmic = low > 0 and high / low >= 20
    # room for most of the intervals; the longest may be cut
    margin = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    limits = (low / 1.5, high * 1.5) if logarithmic else (low - margin, high + margin)

    def draw(axes: Axes) -> None:
        axes.plot(limits, limits, color=GREY, linewidth=1, zorder=1)
        for point in points:
            _draw(axes, point.place, point.compared)
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            if logarithmic:
                scale("log")
                decades = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.log10(high) + 1)
                ticks = np.outer(decades, [1, 2, 5] if high < 1000 * low else [1]).ravel()
                plain_ticks(axis, ticks[(ticks >= limits[0]) & (ticks <= limits[1])].tolist())
            else:
                axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_xlabel(f"predicted, {unit}" if unit else "predicted")
        axes.set_ylabel(f"measured, {unit}" if unit else "measured")

    return svg_uri(draw, height=3.2)


def _draw(axes: Axes, place: str, point: Comparison) -> None:
    """One user's cross, interval and point."""
    colour, missed = COLOURS[place], False
    if point.measured is None:
        return
    if point.paper is not None:
        cross: dict[str, Any] = {"markersize": 4.5, "color": "#59636f", "markeredgewidth": 1}
        axes.plot(point.paper, point.measured, "x", **cross)
    if point.low is not None and point.high is not None:
        missed = not point.low <= point.measured <= point.high
        axes.hlines(point.measured, point.low, point.high, color=colour, linewidth=1, alpha=0.45)
    axes.plot(
        point.predicted,
        point.measured,
        MARKERS[place],
        markersize=5,
        color=colour,
        markerfacecolor="white" if missed else colour,
        markeredgewidth=1.2,
        alpha=0.9,
    )
