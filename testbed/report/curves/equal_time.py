"""What the edge buys at equal time: error and utility against the seconds of an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.prediction import predict
from calibration.profiles.profile import Profiles
from calibration.scenario.problem import Site
from solver.problem import PLACES
from testbed.report.curves.plot import Interval
from testbed.report.curves.quantities import QUANTITIES, Cell, Quantity
from testbed.report.curves.splits import SplitRow, draw_splits, split_rows
from testbed.report.format import Cell as TableCell
from testbed.report.format import Table, file_name
from testbed.report.plots import COLOURS, MARKERS, Panel, svg_uri

_LINE_POINTS = 48


@dataclass(frozen=True, kw_only=True)
class EqualTimePanel(Panel):
    """A prompt class at both places.

    ``local_steps``, the most measured, take the own device ``seconds``. In that time the edge makes
    ``edge_steps`` (None: no image), which are better by ``gains``, by title of the quantity.
    ``splits``: what both make together.
    """

    prompt_class: str
    local_steps: int
    seconds: float
    edge_steps: int | None
    gains: Mapping[str, float]
    splits: Sequence[SplitRow]


@dataclass(frozen=True)
class EqualTime:
    """The panels, with own devices as ``device`` (None: as measured), ``ratio`` times as slow."""

    panels: Sequence[EqualTimePanel]
    device: str | None
    ratio: float
    basis: str


@dataclass(frozen=True)
class _Row:
    """A step count of a place: by quantity what is ``fitted``, and what is ``measured`` there."""

    steps: float
    seconds: float
    fitted: Mapping[str, Interval]
    measured: Mapping[str, CurvePoint]


@dataclass(frozen=True)
class _Bought:
    """The ``steps`` that the edge makes in a time; by quantity the fitted values, and how much
    better they are.
    """

    steps: int
    values: Mapping[str, float]
    gains: Mapping[str, float]


def equal_time(
    cells: Sequence[Cell], sites: Sequence[Site], profiles: Profiles | None = None
) -> EqualTime:
    """A panel for each class that has curves at both places, with the splits of ``profiles``.

    Own devices are as the median user's; without ``sites`` as they were measured.
    """
    devices = sorted((site.device for site in sites), key=lambda each: each.ratio)
    typical = devices[len(devices) // 2] if devices else None
    ratio = typical.ratio if typical else 1.0
    by_key = {(cell.place, cell.prompt_class): cell for cell in cells}
    panels = []
    for name in dict.fromkeys(cell.prompt_class for cell in cells):
        pair = [by_key[place, name] for place in PLACES if (place, name) in by_key]
        if len(pair) == len(PLACES):
            quantities = [
                each
                for each in QUANTITIES
                if each.kind and all(cell.fit(each.name) for cell in pair)
            ]
            splits = split_rows(profiles, pair[0], pair[1], ratio)
            panels.append(_panel(name, pair[0], pair[1], quantities, ratio, splits))
    return EqualTime(
        panels,
        typical.name if typical else None,
        ratio,
        typical.basis if typical else "measured",
    )


def _panel(
    name: str,
    local: Cell,
    edge: Cell,
    quantities: Sequence[Quantity],
    ratio: float,
    splits: Sequence[SplitRow],
) -> EqualTimePanel:
    drawn = {"local": _rows(local, quantities, ratio), "edge": _rows(edge, quantities, 1.0)}
    bought = {row.steps: _bought(edge, quantities, row) for row in drawn["local"] if row.measured}
    table = [
        (_columns(place, quantities, row, bought.get(row.steps) if place == "local" else None), row)
        for place, rows in drawn.items()
        for row in rows
    ]
    last = max((row for row in drawn["local"] if row.measured), key=lambda row: row.steps)
    buys = bought[last.steps]
    titles = " and ".join(quantity.title for quantity in quantities)
    return EqualTimePanel(
        prompt_class=name,
        local_steps=int(last.steps),
        seconds=last.seconds,
        edge_steps=buys.steps if buys else None,
        gains={each.title: buys.gains[each.name] for each in quantities} if buys else {},
        alt=f"{titles} against seconds an image, prompt class {name}: own device and edge server, "
        "measured points and fitted curves",
        splits=splits,
        uri=_plot(drawn, quantities, splits),
        table=Table(
            file_name("equal-time", name),
            [columns for columns, _ in table],
            [columns for columns, row in table if row.measured],
        ),
    )


def _rows(cell: Cell, quantities: Sequence[Quantity], ratio: float) -> list[_Row]:
    """The measured step counts, and others between them."""
    points: dict[str, dict[float, CurvePoint]] = {
        each.name: {point.steps: point for point in fit.points}
        for each in quantities
        if (fit := cell.fit(each.name))
    }
    counts = sorted({steps for of in points.values() for steps in of})
    between = np.geomspace(counts[0], counts[-1], _LINE_POINTS).round(3)
    grid = sorted({*counts, *between.tolist()})
    fitted = {
        each.name: [Interval(at.steps, at.value, at.low, at.high) for at in predict(fit, grid)]
        for each in quantities
        if (fit := cell.fit(each.name))
    }
    return [
        _Row(
            steps,
            ratio * cell.profile.time.seconds(steps),
            {name: values[index] for name, values in fitted.items()},
            {name: of[steps] for name, of in points.items() if steps in of},
        )
        for index, steps in enumerate(grid)
    ]


def _bought(edge: Cell, quantities: Sequence[Quantity], local: _Row) -> _Bought | None:
    """What the edge makes in the seconds of an own device's image; None where that is no image.
    Beyond the largest measured step count it takes no more.
    """
    time, grid = edge.profile.time, [point.steps for point in edge.profile.error.points]
    left = (local.seconds - time.overhead) / max(time.step_time, 1e-12)
    steps = int(min(left, max(grid)))
    if steps < min(grid):
        return None
    values, gains = {}, {}
    for each in quantities:
        if fit := edge.fit(each.name):
            value = values[each.name] = predict(fit, [steps])[0].value
            gain = value - local.fitted[each.name].value
            gains[each.name] = -gain if each.kind == "error" else gain
    return _Bought(steps, values, gains)


def _columns(
    place: str, quantities: Sequence[Quantity], row: _Row, bought: _Bought | None
) -> dict[str, TableCell]:
    columns: dict[str, TableCell] = {"place": place, "steps": row.steps, "seconds": row.seconds}
    for name in (each.name for each in quantities):
        fitted, measured = row.fitted[name], row.measured.get(name)
        columns |= {
            f"{name}_measured": measured.value if measured else None,
            f"{name}": fitted.value,
            f"{name}_low": fitted.low,
            f"{name}_high": fitted.high,
        }
    columns["edge_steps"] = bought.steps if bought else None
    for name in (each.name for each in quantities):
        columns[f"edge_{name}"] = bought.values[name] if bought else None
        columns[f"edge_{name}_gain"] = bought.gains[name] if bought else None
    return columns


def _plot(
    drawn: Mapping[str, Sequence[_Row]],
    quantities: Sequence[Quantity],
    splits: Sequence[SplitRow],
) -> str:
    """Error above, utility, if there is one, below."""

    def draw(*axes: Axes) -> None:
        for each, of in zip(quantities, axes, strict=True):
            for place, rows in drawn.items():
                _draw(of, place, each.name, rows)
            draw_splits(of, splits, each.name)
            values = [
                row.measured[each.name].value
                for rows in drawn.values()
                for row in rows
                if each.name in row.measured
            ] + [point.value for row in splits if (point := row.of(each.name))]
            reach = max(values) - min(values) or abs(max(values)) or 1.0
            of.set_ylim(min(0.0, min(values) - 0.1 * reach), max(values) + 0.3 * reach)
            of.set_ylabel(each.axis)
        last = axes[-1]
        last.set_xscale("log")
        last.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=8))
        last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        last.xaxis.set_minor_formatter(NullFormatter())
        last.set_xlabel("seconds an image")

    return svg_uri(draw, height=3.5, ratios=(1.0,) * len(quantities))


def _draw(axes: Axes, place: str, name: str, rows: Sequence[_Row]) -> None:
    colour, seconds = COLOURS[place], [row.seconds for row in rows]
    fitted = [row.fitted[name] for row in rows]
    low, high = ([getattr(at, end) for at in fitted] for end in ("low", "high"))
    axes.fill_between(seconds, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(seconds, [at.value for at in fitted], color=colour, linewidth=1.6)
    for row in rows:
        if point := row.measured.get(name):
            half = point.half or 0.0
            ends = point.value - half, point.value + half
            axes.vlines(row.seconds, *ends, color=colour, linewidth=1)
            axes.plot(row.seconds, point.value, MARKERS[place], color=colour, markersize=4)
