"""A fitted curve: its points, every family tried, the ones that its predictions rest on.

Format history: ``fit/1`` and the curves in ``profiles/2`` hold these fields; see
:mod:`calibration.profiles.profile` for older profiles.
"""

from dataclasses import dataclass

from calibration.schema import Schema, limits
from calibration.statistics import Matrix

Interval = tuple[float, float]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class InterpolationTable(Schema):
    """Straight interpolation between ``values`` at ``steps``, each with its ``sd``."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class FamilyFit(Schema):
    """One family (or ``table``, the interpolation) fitted to the points.

    ``intervals``: 95 %, by profile likelihood; ``noise``: a point's own sd about the curve, in
    units of its ``se``; ``aicc``, ``held_out_error``: None with too few points; ``weight`` in the
    average; ``refused``: why the points do not support the estimate.
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


@dataclass(frozen=True)
class LeftOut(Schema):
    """A family that was not chosen, the ``reason``, and its estimate where it could be fitted."""

    family: str
    reason: str
    parameters: dict[str, float] | None = limits(omit_none=True, default=None)
    intervals: dict[str, Interval] | None = limits(omit_none=True, default=None)
    held_out_error: float | None = limits(omit_none=True, default=None)


@dataclass(frozen=True)
class CurveFit(Schema):
    """A curve of ``kind`` error or utility; see :func:`calibration.fitting.fit.fit_curve`.

    ``discrepancy`` is the δ of :mod:`calibration.fitting.discrepancy`.
    """

    kind: str = limits(choices=("error", "utility"))
    points: tuple[CurvePoint, ...] = limits(empty=False)
    families: tuple[FamilyFit, ...] = limits(empty=False)
    left_out: tuple[LeftOut, ...]
    chosen: str
    paper: str
    discrepancy: float = limits(key="misfit")
    monotone: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prediction(Schema):
    """A point measured anew at ``steps``: its expected value and 95 % interval."""

    steps: int
    value: float
    low: float
    high: float
    extrapolated: bool
