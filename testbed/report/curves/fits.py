"""The tables beside the curves: how well each form fits, every family tried, and power."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.costs.energy import EnergyFit
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, FamilyFit, InterpolationTable, LeftOut
from calibration.fitting.prediction import members
from calibration.statistics import t_quantile
from testbed.report.curves.panels import label
from testbed.report.curves.quantities import QUANTITIES, Cell
from testbed.report.curves.rows import coefficients

_ROUNDING = 1e-12  # a parameter below it is at its bound of 0
_SYMBOLS = {"time": ("t₀", "Δt"), "energy": ("E₀", "ΔE")}


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter and its 95 % interval."""

    symbol: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FitRow:
    """A fitted curve: the ``form`` with the largest weight, and how well it and the paper's fit.

    ``held_out``, ``paper_held_out``: relative errors on left-out points.
    """

    title: str
    prompt_class: str
    place: str
    form: str
    unit: str
    parameters: Sequence[Parameter]
    r2: float
    paper_r2: float | None
    held_out: float | None = None
    paper_held_out: float | None = None


@dataclass(frozen=True)
class FamilyRow:
    """A family tried on a curve; ``reason``: why the points do not support it, or ""."""

    title: str
    prompt_class: str
    place: str
    family: str
    weight: float
    chosen: bool
    reason: str
    parameters: Sequence[Parameter]
    r2: float | None
    aicc: float | None
    held_out: float | None


@dataclass(frozen=True)
class EnergyRow:
    """A cell whose energy was metered."""

    prompt_class: str
    place: str
    fit: EnergyFit


def fits(cells: Sequence[Cell]) -> list[FitRow]:
    """A row for each fitted curve."""
    rows = []
    for quantity in QUANTITIES:
        for cell in cells if quantity.fitted else ():
            if quantity.kind:
                if (fit := cell.fit(quantity.name)) is not None:
                    rows.append(_curve_row(quantity.title, cell, fit))
            elif (line := cell.line(quantity.name)) is not None:
                rows.append(_line_row(quantity.title, cell, quantity.unit, line))
    return rows


def families(cells: Sequence[Cell]) -> list[FamilyRow]:
    """A row for each family tried on each curve of error and utility."""
    rows = []
    for quantity in QUANTITIES:
        for cell in cells if quantity.kind else ():
            if (fit := cell.fit(quantity.name)) is None:
                continue
            kept = {member.family for member in fit.families}
            refused = [other for other in fit.left_out if other.family not in kept]
            tried: list[FamilyFit | LeftOut] = [*fit.families, *refused]
            rows += [_family_row(quantity.title, cell, fit, member) for member in tried]
    return rows


def energy(cells: Iterable[Cell]) -> list[EnergyRow]:
    """A row for each cell with metered energy."""
    return [
        EnergyRow(cell.prompt_class, cell.place, cell.profile.energy)
        for cell in cells
        if cell.profile.energy is not None
    ]


def _line_row(title: str, cell: Cell, unit: str, line: TimeFit | EnergyFit) -> FitRow:
    symbols = _SYMBOLS["time" if isinstance(line, TimeFit) else "energy"]
    form, lack = " + ".join(symbols) + " · s", line.lack_of_fit
    if lack is not None and not lack.affine:
        form += f", but not quite affine: {lack.largest:+.1%} at {lack.at}".replace("-", "−")
    halves = [t_quantile(line.dof) * line.covariance[i][i] ** 0.5 for i in (0, 1)]
    return FitRow(
        title,
        cell.prompt_class,
        cell.place,
        form,
        unit,
        [
            Parameter(symbol, value, value - half, value + half)
            for symbol, value, half in zip(symbols, coefficients(line), halves, strict=True)
        ],
        line.r2,
        line.paper.r2 if isinstance(line, TimeFit) else None,
    )


def _curve_row(title: str, cell: Cell, fit: CurveFit) -> FitRow:
    chosen, weight = max(members(fit), key=lambda member: member[1])
    paper = next(member for member in fit.families if member.family == fit.paper)
    form = label(chosen.family)
    if weight < 0.995:
        form += f", {weight:.0%} of the average"
    if not fit.monotone:
        form += ", not monotone"
    return FitRow(
        title,
        cell.prompt_class,
        cell.place,
        form,
        "",
        _parameters(chosen),
        chosen.r2,
        paper.r2,
        chosen.held_out_error,
        paper.held_out_error,
    )


def _family_row(title: str, cell: Cell, fit: CurveFit, member: FamilyFit | LeftOut) -> FamilyRow:
    weights = {averaged.family: weight for averaged, weight in members(fit)}
    fitted = member if isinstance(member, FamilyFit) else None
    return FamilyRow(
        title=title,
        prompt_class=cell.prompt_class,
        place=cell.place,
        family=label(member.family),
        weight=weights.get(member.family, 0.0),
        chosen=member.family == fit.chosen,
        reason=member.reason if isinstance(member, LeftOut) else member.refused or "",
        parameters=_parameters(member),
        r2=fitted.r2 if fitted else None,
        aicc=fitted.aicc if fitted else None,
        held_out=member.held_out_error,
    )


def _parameters(member: FamilyFit | LeftOut) -> list[Parameter]:
    """An interpolation has none with an interval: its parameters are its points."""
    values = member.parameters
    if values is None or isinstance(values, InterpolationTable):
        return []
    return [
        Parameter(name, 0.0 if abs(values[name]) < _ROUNDING else values[name], low, high)
        for name, (low, high) in (member.intervals or {}).items()
    ]
