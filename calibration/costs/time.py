"""Time against steps: T = overhead + step_time * s, the affine form of eq. (3)."""

import numpy as np
from numpy.typing import ArrayLike

from calibration.costs.line import LackOfFit, MedianPoint, fit_line, median_points
from calibration.schema import Schema, frozen, limits
from calibration.statistics import (
    MEDIAN_SE,
    Matrix,
    group_medians,
    matrix,
    pooled_sd,
    r_squared,
    robust_sd,
)
from solver.inputs import InputError


@frozen
class PaperTime(Schema):
    """The paper's form without an intercept, T = s Δt of eq. (3)."""

    step_time: float
    r2: float


@frozen
class StageTimes(Schema):
    """Median seconds of the text encoding, of a denoising step and of the decoding."""

    text: float
    step: float
    decode: float


@frozen
class TimeFit(Schema):
    """Seconds of an image, ``overhead + step_time * steps``.

    ``covariance`` (2, 2) of the two, with ``dof`` degrees of freedom; ``r2`` of the medians; ``n``
    images; ``relative_sd`` of a single image about the line; ``basis``: measured; ``points``: the
    medians; ``lack_of_fit``: is time affine in steps (None: not testable); ``stages``: None where
    only totals are known.
    """

    overhead: float = limits(least=0)
    step_time: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    r2: float
    n: int = limits(least=0)
    relative_sd: float = limits(least=0)
    dof: int = limits(least=0, key="freedom")
    basis: str
    lack_of_fit: LackOfFit | None
    paper: PaperTime
    points: tuple[MedianPoint, ...]
    stages: StageTimes | None = None

    def seconds(self, steps: float) -> float:
        """Predicted seconds of an image with ``steps`` steps."""
        return self.overhead + self.step_time * steps


def fit_time(steps: ArrayLike, seconds: ArrayLike) -> TimeFit:
    """Fit T = overhead + step_time * s to single images; both arguments have shape (n,).

    The line goes through the *medians* of each step count. A disturbance (a pause of the machine, a
    cold cache) only adds time. It shifts a mean, but a median only if half of a step count's images
    are disturbed. The medians are weighted by their standard errors. A single image's spread is
    taken as proportional to its time, and pooled over the step counts. It is half the central 95 %
    over 1.96, so that a rare pause among many images does not inflate it.

    Raises :class:`InputError` for fewer than two step counts, or times that are not positive
    numbers.
    """
    steps, seconds = np.asarray(steps, float), np.asarray(seconds, float)
    if not (np.isfinite(seconds).all() and (seconds > 0).all()):
        raise InputError("time: found a time that is not a positive number of seconds")
    counts, where = np.unique(steps, return_inverse=True)
    if len(counts) < 2:
        raise InputError(
            f"time: found {len(counts)} step count(s); allowed: at least 2 different ones"
        )
    medians, images = group_medians(seconds, where), np.bincount(where)
    spread = pooled_sd(seconds / medians[where] - 1, where)
    known = spread > 0
    sd = medians * (spread * MEDIAN_SE if known else 1.0) / np.sqrt(images)
    dof = len(seconds) - len(counts) if known else None
    (overhead, step_time), covariance, lack = fit_line(counts, medians, sd, dof)
    through_origin = float(np.sum(counts * medians / sd**2) / np.sum(counts**2 / sd**2))
    return TimeFit(
        overhead=float(overhead),
        step_time=float(step_time),
        covariance=matrix(covariance),
        r2=r_squared(medians, overhead + step_time * counts),
        n=len(seconds),
        relative_sd=robust_sd(seconds / (overhead + step_time * steps) - 1, parameters=2),
        dof=max(1, len(counts) - 2 if dof is None else dof),
        basis="measured",
        lack_of_fit=lack,
        paper=PaperTime(through_origin, r_squared(medians, through_origin * counts)),
        points=median_points(counts, medians, images),
    )
