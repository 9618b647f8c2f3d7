"""The curves of a report as panels, with the numbers behind each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from calibration.fitting.curve_fit import TABLE, CurveFit
from calibration.fitting.families import FAMILIES
from calibration.fitting.prediction import members
from testbed.report.curves.plot import (
    CurveAxes,
    Dash,
    FamilyLine,
    Interval,
    ResidualAxis,
    Series,
    curve_panel,
    family_style,
)
from testbed.report.curves.quantities import PLACES, Cell, Quantity
from testbed.report.curves.rows import CurveRow, curve_rows, with_residuals
from testbed.report.format import Table, file_name
from testbed.report.plots import Panel


@dataclass(frozen=True)
class FamilyLegend:
    """A family as the legend of a panel names it; ``paper``: it is the paper's own."""

    family: str
    label: str
    weight: float
    paper: bool
    colour: str
    dash: Dash


@dataclass(frozen=True, kw_only=True)
class CurvePanel(Panel):
    """One prompt class: at one ``place`` where families are named, at both (None) otherwise.

    The table shows the rows at measured step counts.
    """

    prompt_class: str
    place: str | None
    families: Sequence[FamilyLegend]


@dataclass(frozen=True)
class Curves:
    """A quantity and its panels, all to one scale; without panels nothing was measured.

    ``about``: what it is; ``residual``: the unit of the residuals, "half-widths" or "percent"
    (None: there are none).
    """

    quantity: Quantity
    about: str
    residual: str | None = None
    panels: Sequence[CurvePanel] = ()


@dataclass(frozen=True)
class _Curve:
    """The rows of one cell."""

    cell: Cell
    rows: Sequence[CurveRow]


@dataclass(frozen=True)
class _Group:
    """The curves of one panel."""

    prompt_class: str
    place: str | None
    curves: list[_Curve] = field(default_factory=list)


@dataclass(frozen=True)
class _Scale:
    """The axes of all panels of a quantity, the ``factor`` on its values (1000 for ms and mJ), and
    whether a bar is ``cut`` at the upper end.
    """

    axes: CurveAxes
    factor: float
    cut: bool


def curves(cells: Sequence[Cell], quantity: Quantity) -> Curves:
    """A quantity's :class:`Curves`."""
    about = quantity.about + _sizes(cells, quantity.name)
    rows = [curve_rows(cell, quantity) for cell in cells]
    residual = None
    if quantity.fitted:
        rows, residual = with_residuals(rows)
    drawn = [_Curve(cell, of) for cell, of in zip(cells, rows, strict=True) if of]
    if not drawn:
        return Curves(quantity, about)
    scale = _scale(drawn, quantity, residual)
    if scale.cut:
        about += " A bar that reaches the edge of the plot is longer."
    panels = [_panel(group, quantity, scale) for group in _groups(drawn, quantity)]
    return Curves(quantity, about, residual, panels)


def label(family: str) -> str:
    """A family's name for readers: ``power_floor`` -> power + floor."""
    if family == TABLE:
        return "interpolation"
    return re.sub("_(?=floor|amplitude|offset|ceiling)", " + ", family).replace("_", " ")


def _scale(drawn: Sequence[_Curve], quantity: Quantity, residual: str | None) -> _Scale:
    points = [row.measured for curve in drawn for row in curve.rows if row.measured]
    values = [point.value for point in points]
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    from_zero = quantity.name != "clip_score" and min(values) >= 0
    # A few long bars must not flatten the curves.
    reach = max(values) - (0.0 if from_zero else min(values)) or abs(max(values)) or 1.0
    low = max(min(values + ends), min(values) - reach)
    high = min(max(values + ends), max(values) + reach)
    milli = bool(quantity.unit) and high < 1.0
    factor = 1000.0 if milli else 1.0
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    below = None
    if residual:
        most = max(
            abs(row.residual) for curve in drawn for row in curve.rows if row.residual is not None
        )
        name = "resid." if residual == "half-widths" else "resid., %"
        below = ResidualAxis(name, 1.15 * max(most, 1.0), shaded=residual == "half-widths")
    axes = CurveAxes(
        label=quantity.axis.format(unit=f"m{quantity.unit}" if milli else quantity.unit),
        bottom=0.0 if from_zero else factor * (low - margin),
        top=factor * (high + margin),
        log_steps=not quantity.affine,
        residual=below,
    )
    return _Scale(axes, factor, cut=max(ends, default=high) > high + margin)


def _groups(drawn: Sequence[_Curve], quantity: Quantity) -> list[_Group]:
    """The curves of each panel: by place and class where families are drawn, else by class."""
    groups: dict[tuple[str, str | None], _Group] = {}
    for place in PLACES if quantity.kind else (None,):
        for curve in drawn:
            if place in (None, curve.cell.place):
                key = curve.cell.prompt_class, place
                groups.setdefault(key, _Group(*key)).curves.append(curve)
    return list(groups.values())


def _panel(group: _Group, quantity: Quantity, scale: _Scale) -> CurvePanel:
    cells = [curve.cell for curve in group.curves]
    places = " and ".join(PLACES[cell.place] for cell in cells)
    alt = (
        f"{quantity.title} against denoising steps, prompt class {group.prompt_class}, {places}: "
        "measured points"
    )
    fit = cells[0].fit(quantity.name) if quantity.kind else None
    families = _families(fit) if fit else []
    rows = [
        ({"place": curve.cell.place, **row.columns()}, row.measured is not None)
        for curve in group.curves
        for row in curve.rows
    ]
    words = [word for word in (group.prompt_class, group.place) if word is not None]
    return CurvePanel(
        prompt_class=group.prompt_class,
        place=group.place,
        families=families,
        table=Table(
            name=file_name("curve", quantity.name, *words),
            rows=[row for row, _ in rows],
            shown=[row for row, measured in rows if measured],
        ),
        alt=alt + (", fitted curves and residuals" if quantity.fitted else ""),
        uri=curve_panel(
            [_series(curve, families, scale.factor) for curve in group.curves], scale.axes
        ),
    )


def _series(curve: _Curve, families: Sequence[FamilyLegend], factor: float) -> Series:
    """A curve as the plot takes it, its values multiplied by ``factor``."""
    rows = curve.rows

    def line(name: str) -> list[tuple[float, float]]:
        return [(row.steps, factor * row.others[name]) for row in rows if name in row.others]

    return Series(
        place=curve.cell.place,
        points=[_scaled(row.measured, factor) for row in rows if row.measured],
        line=[_scaled(row.fitted, factor) for row in rows if row.fitted],
        families=[FamilyLine(line(each.family), each.colour, each.dash) for each in families],
        paper=line("paper"),
        residuals=[(row.steps, row.residual) for row in rows if row.residual is not None],
    )


def _scaled(point: Interval, factor: float) -> Interval:
    low, high = (None if end is None else factor * end for end in (point.low, point.high))
    return Interval(point.steps, factor * point.value, low, high)


def _families(fit: CurveFit) -> list[FamilyLegend]:
    """Each family drawn, as fitted."""
    weights = {member.family: weight for member, weight in members(fit)}
    return [
        FamilyLegend(
            member.family,
            label(member.family),
            weights.get(member.family, 0.0),
            member.family == fit.paper,
            *family_style(_rank(member.family, fit.kind)),
        )
        for member in fit.families
    ]


def _rank(family: str, kind: str) -> int:
    """A family's place among those of its kind: 0 the paper's, -1 the interpolation."""
    if family not in FAMILIES:
        return -1
    return [each.name for each in FAMILIES.values() if each.kind == kind].index(family)


def _sizes(cells: Sequence[Cell], name: str) -> str:
    """How many images the points of a distance between sets are from, in a sentence.

    It is empty for other quantities.
    """
    if name not in ("frechet", "kid", "cmmd"):
        return ""
    sizes = sorted({point.n or 0 for cell in cells for point in cell.points(name)})
    if not sizes:
        return ""
    warning = ""
    if sizes[1:] and name == "frechet":
        warning = "; Fréchet distances of different numbers are not comparable"
    return f" Each point is from {' or '.join(map(str, sizes))} images{warning}."
