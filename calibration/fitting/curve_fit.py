"""A fitted curve: its points, the families fitted to them, and the ones its predictions rest on.

``fit/1`` and the curves in ``profiles/2`` hold these fields; see
:mod:`calibration.profiles.profile` for older profiles.
"""

from itertools import pairwise
from typing import ClassVar

import numpy as np

from calibration.checks import shown
from calibration.fitting.families import FAMILIES, KINDS
from calibration.schema import Schema, frozen, limits
from calibration.statistics import Z95, Array, Matrix, interpolation_weights, t_quantile
from solver.inputs import InputError, check_keys

#: The family name of straight interpolation.
TABLE = "table"

Interval = tuple[float, float]


@frozen
class CurvePoint(Schema):
    """The mean ``value`` at ``steps`` steps and its standard error ``se`` (None: not known).

    Of a mean over prompts also: ``sd`` of an image, ``sd_prompt`` of a prompt's mean, ``n`` images
    of ``prompts`` prompts.
    """

    steps: int = limits(least=1)
    value: float
    sd: float | None = limits(least=0, omit_none=True, default=None)
    sd_prompt: float | None = limits(least=0, omit_none=True, default=None)
    se: float | None = limits(least=0, default=None)
    n: int | None = limits(least=0, omit_none=True, default=None)
    prompts: int | None = limits(least=0, omit_none=True, default=None)

    @property
    def half(self) -> float | None:
        """Half of the value's 95 % interval, by Student's t of the prompts; None: not known."""
        if self.se is None:
            return None
        return self.se * (Z95 if self.prompts is None else t_quantile(self.prompts - 1))


@frozen
class InterpolationTable(Schema):
    """Straight interpolation between ``values`` at ``steps``, each with its ``sd``.

    There are at least two, in rising order of ``steps``.
    """

    steps: tuple[int, ...] = limits(least=1)
    values: tuple[float, ...]
    sd: tuple[float, ...]

    def __post_init__(self) -> None:
        size = len(self.steps)
        if size < 2 or any(b <= a for a, b in pairwise(self.steps)):
            raise InputError(f"steps: found {shown(self.steps)}; allowed: at least 2, rising")
        for field, column in (("values", self.values), ("sd", self.sd)):
            if len(column) != size:
                raise InputError(f"{field}: found {len(column)} of them; allowed: {size}")

    def evaluate(self, steps: Array) -> tuple[Array, Array]:
        """Values, shape (m,), and their covariance, shape (m, m), at ``steps``.

        The values come from the same prompts, and are taken to err together. Beyond its ends the
        table is constant. The standard deviation there grows by what the curve would change if its
        last segment went on, straight in log steps.
        """
        grid, values = np.log(self.steps), np.array(self.values)
        weights = interpolation_weights(steps, self.steps)
        slope = np.diff(values)[[0, -1]] / np.diff(grid)[[0, -1]]
        at = np.log(steps)
        before, after = np.minimum(at - grid[0], 0.0), np.maximum(at - grid[-1], 0.0)
        beyond = slope[0] * before + slope[1] * after
        spread = weights @ np.array(self.sd)
        return weights @ values, np.outer(spread, spread) + np.outer(beyond, beyond)


@frozen
class FamilyFit(Schema):
    """One family (or ``table``, the interpolation) fitted to the points.

    ``intervals``: 95 %, by profile likelihood; ``covariance``: of the parameters; ``noise``: a
    point's own sd about the curve, in units of its ``se`` (without one: of its value for an error,
    of 1 for a utility); ``dof`` of these (None: the standard errors are exact); ``aicc``: None with
    too few points; ``held_out_error``: mean relative error of each point predicted from the others,
    None with too few points; ``refused``: why the points do not support the estimate; ``weight`` in
    the average.
    """

    family: str
    parameters: InterpolationTable | dict[str, float]
    intervals: dict[str, Interval]
    covariance: Matrix | None
    noise: float
    dof: int | None = limits(key="freedom")
    r2: float
    aicc: float | None
    held_out_error: float | None
    bootstrap_intervals: dict[str, Interval] | None = limits(omit_none=True, default=None)
    refused: str | None = limits(omit_none=True, default=None)
    weight: float = limits(least=0, default=0.0)

    def __post_init__(self) -> None:
        check_keys("family", [self.family], [*FAMILIES, TABLE])
        if isinstance(self.parameters, InterpolationTable):
            return
        names = FAMILIES[self.family].parameters if self.family in FAMILIES else ()
        if set(self.parameters) != set(names):
            given, allowed = ", ".join(self.parameters) or "none", ", ".join(names)
            raise InputError(f"parameters: found {given}; allowed: {allowed or 'a table'}")
        size = len(names)
        if [len(row) for row in self.covariance or ()] != [size] * size:
            allowed = f"{size} lists of {size} numbers"
            raise InputError(f"covariance: found {self.covariance!r}; allowed: {allowed}")

    @property
    def within(self) -> tuple[str, ...]:
        """The names of the families that contain this one; see
        :class:`calibration.fitting.families.Family`.
        """
        return () if self.family == TABLE else FAMILIES[self.family].within

    def evaluate(self, steps: Array) -> tuple[Array, Array]:
        """Values, shape (m,), and their covariance, shape (m, m), at ``steps``, shape (m,)."""
        if isinstance(self.parameters, InterpolationTable):
            return self.parameters.evaluate(steps)
        family = FAMILIES[self.family]
        p = np.array([self.parameters[name] for name in family.parameters])
        gradient = family.gradient(steps, p)
        return family.function(steps, p), gradient @ np.array(self.covariance) @ gradient.T

    def point_sd(self, steps: Array, se: Array) -> Array:
        """A point's sd about the curve at ``steps``; ``se`` is its standard error; all (m,)."""
        if isinstance(self.parameters, InterpolationTable):
            se = np.interp(steps, self.parameters.steps, self.parameters.sd)
        return self.noise * se


@frozen
class LeftOut(Schema):
    """An estimate that was not chosen, because of ``reason``; see :class:`FamilyFit`."""

    family: str
    reason: str
    parameters: dict[str, float] | None = None
    intervals: dict[str, Interval] | None = None
    held_out_error: float | None = None


@frozen
class CurveFit(Schema):
    """A curve of ``kind`` error or utility; see :func:`calibration.fitting.fit.fit_curve`.

    ``chosen`` and ``paper`` name the best of the ``families`` and the paper's. ``discrepancy`` is
    the δ of :mod:`calibration.fitting.discrepancy`. ``monotone``: no point contradicts it.
    """

    kind: str = limits(choices=KINDS)
    points: tuple[CurvePoint, ...] = limits(empty=False)
    families: tuple[FamilyFit, ...] = limits(empty=False)
    left_out: tuple[LeftOut, ...]
    chosen: str
    paper: str
    discrepancy: float = limits(key="misfit")
    monotone: bool
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [fit.family for fit in self.families]
        for field, name in (("chosen", self.chosen), ("paper", self.paper)):
            if name not in names:
                raise InputError(f"{field}: found {name!r}; allowed: {', '.join(names)}")


@frozen
class Prediction(Schema):
    """A point measured anew at ``steps``: its expected value and 95 % interval.

    ``extrapolated``: no point was measured on one side of ``steps``.
    """

    steps: int | float
    value: float
    low: float
    high: float
    extrapolated: bool


@frozen
class CurveReport(CurveFit):
    """A fitted curve with the ``predictions`` asked for; the file format ``fit/1``."""

    SCHEMA: ClassVar[str] = "fit/1"

    predictions: tuple[Prediction, ...]
