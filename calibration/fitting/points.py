"""Points of a curve: checked, and read from a CSV file."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.families import KINDS
from calibration.statistics import Array
from solver.inputs import InputError, check_keys, read_text

COLUMNS = ("steps", "value", "sd")
#: A relative error is of at least this share of the largest value.
LEAST_SHARE = 0.05
#: Of a fit's points, whose covariance is a matrix.
MOST = 5_000
#: Of values: the squares of larger ones overflow.
LARGEST = 1e100

Numbers = Sequence[float] | NDArray[Any]


def points_from_csv(path: str | Path) -> tuple[CurvePoint, ...]:
    """Read a CSV file with the columns ``steps``, ``value`` and optionally ``sd``.

    ``sd`` is the standard error of the point. Raises :class:`InputError` naming the file, the line
    and the column for anything else.
    """
    rows, numbered = csv.reader(io.StringIO(read_text(path), newline="")), []
    try:
        for row in rows:
            numbered.append((rows.line_num, row))
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: not valid CSV: {error}") from None
    header = _header(path, numbered[0][1] if numbered else [])
    points = []
    for line, row in numbered[1:]:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}: line {line}"
        if len(row) != len(header):
            raise InputError(
                f"{where}: found {len(row)} fields; allowed: {len(header)} ({', '.join(header)})"
            )
        cells = {
            name: _number(where, name, cell.strip()) for name, cell in zip(header, row, strict=True)
        }
        points.append(CurvePoint(int(cells["steps"]), cells["value"], se=cells.get("sd")))
    _check_step_counts(str(path), [point.steps for point in points])
    return tuple(points)


@dataclass(frozen=True, eq=False)
class Points:
    """Points to fit: steps ``s``, values ``y`` and their standard errors ``sd``, all shape (n,).

    ``covariance``: (n, n), of the values; ``dof``: degrees of freedom of ``sd`` (None: it is
    exact). ``sd`` and ``covariance`` are both None where they are not known.
    """

    kind: str
    s: Array
    y: Array
    sd: Array | None
    covariance: Array | None
    dof: int | None

    @property
    def unit(self) -> Array:
        """The sd of each point, up to a factor, if none were measured."""
        return default_sd(self.kind, self.y)

    @property
    def weight_sd(self) -> Array:
        """The sd whose inverse is a point's weight; only proportions count if none is known."""
        return self.unit if self.sd is None else self.sd

    @property
    def step_counts(self) -> int:
        """The number of different step counts."""
        return len(np.unique(self.s))

    def with_discrepancy(self, delta: float) -> "Points":
        """The same points with a standard deviation ``delta`` of their unit on top."""
        if self.sd is None or self.covariance is None or not delta:
            return self
        extra = delta * self.unit
        covariance = self.covariance + np.diag(extra**2)
        return replace(self, sd=np.hypot(self.sd, extra), covariance=covariance)


def checked_points(
    steps: Numbers,
    values: Numbers,
    sd: Numbers | None,
    kind: str,
    covariance: ArrayLike | None = None,
    dof: int | None = None,
) -> Points:
    """The points of :func:`calibration.fitting.fit.fit_curve`.

    Raises :class:`InputError` for an unknown ``kind``, different lengths, fewer than 3 step counts
    or a number that is not allowed.
    """
    if kind not in KINDS:
        raise InputError(f"kind: found {kind!r}; allowed: {', '.join(KINDS)}")
    if len(steps) != len(values) or (sd is not None and len(sd) != len(values)):
        raise InputError(
            f"points: found {len(steps)} steps and {len(values)} values; "
            "allowed: as many of each (and of sd)"
        )
    s, y = _column("steps", steps), _column("value", values)
    errors = None if sd is None else _column("sd", sd)
    _check_step_counts("points", steps)
    if errors is None:
        return Points(kind, s, y, None, None, dof)
    known = np.diag(errors**2) if covariance is None else np.asarray(covariance, float)
    return Points(kind, s, y, errors, known, dof)


def default_sd(kind: str, values: Array, among: Array | None = None) -> Array:
    """The sd, up to a factor, of points whose sd was not measured; shape of ``values``.

    For a utility it is 1. For an error it is the value, at least 5 % of the largest of ``among``
    (None: of ``values``).
    """
    if kind == "utility":
        return np.ones_like(values)
    largest = np.max(np.abs(values if among is None else among))
    return np.maximum(np.abs(values), LEAST_SHARE * largest if largest > 0 else 1.0)


def _header(path: str | Path, cells: list[str]) -> list[str]:
    header = [name.strip() for name in cells]
    where = f"{path}: line 1"
    check_keys(where, header, COLUMNS)
    for name in ("steps", "value"):
        if name not in header:
            listed = ", ".join(header) or "nothing"
            raise InputError(f"{where}: column '{name}' is missing; found: {listed}")
    if len(set(header)) < len(header):
        raise InputError(f"{where}: found a column twice: {', '.join(header)}")
    return header


def _check_step_counts(where: str, steps: Numbers) -> None:
    if len(steps) > MOST:
        raise InputError(f"{where}: found {len(steps)} points; allowed: at most {MOST}, e.g. means")
    different = len(np.unique(steps))
    if different < 3:
        raise InputError(f"{where}: found {different} different step counts; allowed: at least 3")


_ALLOWED: dict[str, tuple[Callable[[float], bool], str]] = {
    "steps": (
        lambda value: 1 <= value <= 1e18 and value == int(value),
        "a whole number of at least 1 (and at most 1e18)",
    ),
    "value": (lambda value: abs(value) <= LARGEST, f"a finite number of at most {LARGEST:g}"),
    "sd": (lambda value: 0 < value <= LARGEST, f"a positive number of at most {LARGEST:g}"),
}


def _column(name: str, values: Numbers) -> Array:
    return np.array([_number("points", name, value) for value in values])


def _number(where: str, name: str, value: Any) -> float:
    """``value`` (text or a number) as a float, checked as a ``name`` of a point."""
    good, allowed = _ALLOWED[name]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or not good(number):
        raise InputError(f"{where}: {name}: found {value!r}; allowed: {allowed}")
    return number
