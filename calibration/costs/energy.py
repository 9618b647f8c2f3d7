"""Energy against steps, E = overhead + step * s joules."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.costs.line import LackOfFit, MedianPoint, fit_line, median_points
from calibration.costs.metering import Metered
from calibration.costs.power_law import ConstantPower, PowerLaw, constant_power, law
from calibration.costs.time import TimeFit
from calibration.schema import Schema, frozen, limits
from calibration.statistics import MEDIAN_SE, Array, Matrix, group_medians, matrix, r_squared

#: The paper's k in W/GHz³.
PAPER_COEFFICIENT = 0.01
# A step count is not measured if the counters' resolution alone makes its relative standard error
# larger than this.
_COARSE = 0.25


@frozen
class ClockRange(Schema):
    """Clock frequencies in Hz: the median, and between ``low`` and ``high`` 95 % of the images."""

    low: float
    median: float
    high: float


@frozen
class PaperEnergy(Schema):
    """The paper's k in W/GHz³, and the f in GHz with which k f³ T is the energy measured."""

    coefficient: float
    frequency_ghz: float


@frozen
class EnergyFit(Schema):
    """Joules of an image, ``overhead_j + step_j * steps``.

    ``covariance`` (2, 2) of the two, with ``dof`` degrees of freedom; ``r2`` of the ``points``;
    ``n`` images; ``lack_of_fit``: is energy affine in steps (None: not testable). ``idle_watts``:
    None if not measured; ``dynamic_overhead_j``, ``dynamic_step_j``: what goes beyond idling as
    long. ``clock_hz``: None if not read.
    """

    meter: str
    basis: str
    overhead_j: float = limits(least=0)
    step_j: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    dof: int = limits(key="freedom")
    r2: float
    n: int
    points: tuple[MedianPoint, ...]
    lack_of_fit: LackOfFit | None
    idle_watts: float | None
    dynamic_overhead_j: float | None
    dynamic_step_j: float | None
    clock_hz: ClockRange | None
    constant_power: ConstantPower | None
    law: PowerLaw | None
    paper: PaperEnergy


def fit_energy(images: Metered | None, time: TimeFit) -> EnergyFit | None:
    """Fit E = overhead_j + step_j * s to metered ``images``; ``time`` is the fit of their times.

    A step count's joules are its mean power times its median time. The mean power is all its joules
    over all its seconds, so that the counters' resolution averages out. The line through the joules
    is fitted as the time's is. Returns None for None, and, with a warning, where fewer than two
    step counts could be measured.
    """
    if images is None:
        return None
    means = _StepMeans.of(images)
    good = means.measured
    if good.sum() < 2:
        warnings.warn(
            f"energy: measured at {good.sum()} step count(s), 2 are needed; no energy per step",
            stacklevel=2,
        )
        return None
    relative, dof = means.relative_error(images)
    counts, n = means.counts[good], means.n[good]
    joules = means.watts[good] * group_medians(images.seconds, means.where)[good]
    time_error = MEDIAN_SE * images.spread / np.sqrt(n) if dof is not None else 0.0
    expected = joules
    for _ in range(3):  # errors relative to the line, so that no value gains weight by being low
        sd = expected * np.hypot(relative, time_error)
        line, covariance, lack = fit_line(counts, joules, sd, dof)
        expected = line[0] + line[1] * counts
    overhead, step = line.tolist()
    idle = None if np.isnan(images.idle).all() else float(np.nanmedian(images.idle))
    watts = images.joules.sum() / images.seconds.sum()
    return EnergyFit(
        meter=images.meter,
        basis="measured",
        overhead_j=overhead,
        step_j=step,
        covariance=matrix(covariance),
        dof=max(1, len(counts) - 2) if dof is None else dof,
        r2=r_squared(joules, expected),
        n=int(n.sum()),
        points=median_points(counts, joules, n),
        lack_of_fit=lack,
        idle_watts=idle,
        dynamic_overhead_j=None if idle is None else overhead - idle * time.overhead,
        dynamic_step_j=None if idle is None else step - idle * time.step_time,
        clock_hz=_clock_range(images.clock),
        constant_power=constant_power(
            means.seconds[good], means.joules[good], relative * expected, dof, time
        ),
        law=law(images),
        paper=PaperEnergy(PAPER_COEFFICIENT, float(np.cbrt(watts / PAPER_COEFFICIENT))),
    )


@dataclass(frozen=True)
class _StepMeans:
    """Mean ``joules`` and ``seconds`` of the ``n`` images of each step count, shape (counts,).

    ``where``: the index of each image's step count. ``coarse``: the relative variance of an image's
    joules by the counters' resolution.
    """

    counts: Array
    where: NDArray[np.int_]
    n: NDArray[np.int_]
    joules: Array
    seconds: Array
    coarse: Array

    @classmethod
    def of(cls, images: Metered) -> "_StepMeans":
        counts, where, n = np.unique(images.steps, return_inverse=True, return_counts=True)
        joules, seconds = (
            np.bincount(where, column) / n for column in (images.joules, images.seconds)
        )
        # A window of length T holds T/period updates, rounded up or down: a variance of period²/6
        # over the moments at which it may start.
        return cls(counts, where, n, joules, seconds, (images.period / seconds) ** 2 / 6)

    @property
    def watts(self) -> Array:
        """The mean power of each step count."""
        return self.joules / self.seconds

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which step counts have a mean that the counters resolve."""
        return (np.sqrt(self.coarse / self.n) <= _COARSE) & (self.joules > 0)

    def relative_error(self, images: Metered) -> tuple[Array, int | None]:
        """The relative standard error of the mean power of each measured step count, and its
        degrees of freedom; None if only its proportions are known.
        """
        good = self.measured
        inside, dof = good[self.where], int((self.n[good] - 1).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            scatter = (images.joules - self.watts[self.where] * images.seconds) / self.joules[
                self.where
            ]
        square = (scatter[inside] ** 2).sum()
        known = dof > 0 and square > 1e-18
        coarse = ((self.n - 1) * self.coarse)[good].sum()
        own = max(0.0, square - coarse) / dof if known else 1.0
        return np.sqrt((own + self.coarse) / self.n)[good], dof if known else None


def _clock_range(clock: Array) -> ClockRange | None:
    read = clock[~np.isnan(clock)]
    if not len(read):
        return None
    return ClockRange(*np.quantile(read, (0.025, 0.5, 0.975)).tolist())
