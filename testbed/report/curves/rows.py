"""The numbers of a curve: a row for each step count drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibration.costs.energy import EnergyFit
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit
from calibration.fitting.prediction import evaluate, predict
from calibration.profiles.profile import DistancePoint
from calibration.statistics import MEDIAN_SE, t_quantile
from testbed.report.curves.plot import Interval
from testbed.report.curves.quantities import Cell, Quantity
from testbed.report.format import Cell as TableCell

_LINE_POINTS = 48


@dataclass(frozen=True)
class CurveRow:
    """A step count of a curve.

    ``measured`` with its 95 % interval (None: not at this step count); ``fitted`` with its 95 %
    band (None: no curve is fitted); ``others``: the paper's form of a time, each family of a curve;
    ``residual``: measured - fitted, as :func:`with_residuals` has it.
    """

    steps: float
    measured: Interval | None = None
    fitted: Interval | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    residual: float | None = None

    def columns(self) -> dict[str, TableCell]:
        """The row of its table."""
        point, fitted = self.measured, self.fitted
        row: dict[str, TableCell] = {"steps": self.steps}
        row |= dict.fromkeys(("measured", "low", "high"))
        if point is not None:
            row |= {"measured": point.value, "low": point.low, "high": point.high}
        if fitted is None:
            return row
        return row | {
            "residual": self.residual,
            "fitted": fitted.value,
            "fitted_low": fitted.low,
            "fitted_high": fitted.high,
            **self.others,
        }


def curve_rows(cell: Cell, quantity: Quantity) -> list[CurveRow]:
    """The rows of a quantity, without residuals; none where nothing was measured."""
    points = _measured(cell, quantity)
    if not points or not quantity.fitted:
        return [CurveRow(steps, point) for steps, point in points.items()]
    between = np.geomspace(1, max(points), _LINE_POINTS).round(3)
    steps: list[float] = sorted({*points, *between.tolist()})
    if quantity.affine:
        fitted, others = _line(cell.line(quantity.name), steps)
    else:
        fit = cell.fit(quantity.name)
        assert fit is not None  # its points are there
        fitted, others = _curve(fit, steps)
    return [
        CurveRow(
            at,
            points.get(at),
            fitted[index],
            {name: values[index] for name, values in others.items()},
        )
        for index, at in enumerate(steps)
    ]


def with_residuals(curves: Sequence[Sequence[CurveRow]]) -> tuple[list[list[CurveRow]], str]:
    """The rows of a quantity's curves with residuals, and the unit of these.

    The unit is the points' own 95 % half-widths ("half-widths"), or where a point has none, % of
    the points ("percent").
    """
    measured = [row.measured for rows in curves for row in rows if row.measured]
    known = all(
        point.low is not None and point.high is not None and point.high > point.low
        for point in measured
    )
    return [[_with_residual(row, known) for row in rows] for rows in curves], (
        "half-widths" if known else "percent"
    )


def _with_residual(row: CurveRow, known: bool) -> CurveRow:
    point, fitted = row.measured, row.fitted
    if point is None or fitted is None:
        return row
    unit = abs(point.value) / 100
    if known and point.low is not None and point.high is not None:
        unit = (point.high - point.low) / 2
    return replace(row, residual=(point.value - fitted.value) / unit if unit else 0.0)


def _measured(cell: Cell, quantity: Quantity) -> dict[float, Interval]:
    """The measured points by their steps."""
    if quantity.affine:
        line = cell.line(quantity.name)
        points = [
            _interval(point.steps, point.median, _median_half(line, point.median, point.n))
            for point in (line.points if line else ())
        ]
    else:
        points = [
            Interval(point.steps, point.value, point.low, point.high)
            if isinstance(point, DistancePoint)
            else _interval(point.steps, point.value, point.half)
            for point in cell.points(quantity.name)
        ]
    return {point.steps: point for point in points}


def _interval(steps: float, value: float, half: float | None) -> Interval:
    if half is None:
        return Interval(steps, value, None, None)
    return Interval(steps, value, value - half, value + half)


def _median_half(line: TimeFit | EnergyFit | None, median: float, n: int) -> float | None:
    """Half the 95 % interval of a median time, from the images' pooled relative spread."""
    if not isinstance(line, TimeFit):
        return None
    return float(t_quantile(line.dof) * MEDIAN_SE * line.relative_sd * median / np.sqrt(n))


def coefficients(line: TimeFit | EnergyFit) -> tuple[float, float]:
    """The overhead, and what a step adds, in s or J."""
    if isinstance(line, TimeFit):
        return line.overhead, line.step_time
    return line.overhead_j, line.step_j


def _line(
    line: TimeFit | EnergyFit | None, steps: Sequence[float]
) -> tuple[list[Interval], dict[str, list[float]]]:
    """A straight line with its 95 % band, and the paper's form of a time, T = s Δt of eq. (3)."""
    assert line is not None  # its points are there
    s, (overhead, slope) = np.array(steps), coefficients(line)
    (a, b), (_, d) = line.covariance
    value = overhead + slope * s
    half = t_quantile(line.dof) * np.sqrt(np.maximum(a + 2 * b * s + d * s**2, 0.0))
    columns = (column.tolist() for column in (value, value - half, value + half))
    paper = {"paper": (line.paper.step_time * s).tolist()} if isinstance(line, TimeFit) else {}
    return [Interval(*row) for row in zip(steps, *columns, strict=True)], paper


def _curve(fit: CurveFit, steps: list[float]) -> tuple[list[Interval], dict[str, list[float]]]:
    """The weighted average of the families with its band, and each family."""
    average = [
        Interval(point.steps, point.value, point.low, point.high) for point in predict(fit, steps)
    ]
    return average, {
        member.family: evaluate(fit, steps, member.family)[0].tolist() for member in fit.families
    }
