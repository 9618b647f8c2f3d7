"""The paper's law, power = k f³ and so E = k f³ T, compared with metered images."""

from dataclasses import replace

import numpy as np
from scipy.special import stdtr

from calibration.costs.line import AFFINE_LEVEL
from calibration.costs.metering import Metered
from calibration.costs.time import TimeFit
from calibration.schema import Schema, frozen
from calibration.statistics import Array, t_quantile

#: The law is tested where the clock varied by at least this share of itself.
CLOCK_RANGE = 0.05
_LEAST_DOF = 20  # images beyond the parameters, for the law's exponent


@frozen
class ConstantPower(Schema):
    """Is energy power times time with one power for the overhead and the steps, as in E = k f³ T?

    E = c + P T is fitted; with one power c is 0. ``excess_j`` is c, with its 95 % interval ``low``
    to ``high`` and the ``p`` of c = 0; ``holds``: p >= 0.01. ``ratio`` is the overhead's power over
    the steps', with its 95 % interval; None without overhead.
    """

    excess_j: float
    low: float
    high: float
    p: float
    holds: bool
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@frozen
class PowerLaw(Schema):
    """Power against the clock frequency f, compared with the paper's k f³.

    ``watts``: the mean power, without the idle power where that was measured (``dynamic``).
    ``coefficient``: the k in W/GHz³ with which k f³ T is the energy. ``clock_range``: by what share
    of itself the clock varied between images of equal steps (95 % of them). ``n`` images. Where the
    law could be ``tested``: the ``exponent`` of f, its 95 % interval ``low`` to ``high``, and
    whether 3 lies in it (``cubic``). Otherwise these are None and ``reason`` says why.
    """

    watts: float
    dynamic: bool
    coefficient: float
    clock_range: float
    n: int
    tested: bool
    reason: str | None
    exponent: float | None = None
    low: float | None = None
    high: float | None = None
    cubic: bool | None = None


def constant_power(
    seconds: Array, joules: Array, sd: Array, dof: int | None, time: TimeFit
) -> ConstantPower | None:
    """Test for one power of the overhead and the steps.

    ``seconds``, ``joules``, ``sd`` of the joules: means of each step count, shape (n,). ``dof`` of
    ``sd``, None where only its proportions are known. Returns None if there are then no residual
    degrees of freedom.
    """
    residual_dof = len(seconds) - 2
    if dof is None and residual_dof < 1:
        return None
    design = np.stack([np.ones_like(seconds), seconds], axis=1) / sd[:, None]
    inverse = np.linalg.inv(design.T @ design)
    excess, watts = inverse @ design.T @ (joules / sd)
    chi2 = np.sum((joules / sd - design @ [excess, watts]) ** 2)
    reduced = chi2 / residual_dof if residual_dof else 0.0
    error = np.sqrt(inverse[0, 0] * (reduced if dof is None else max(1.0, reduced)))
    degrees = residual_dof if dof is None else dof
    quantile = t_quantile(degrees)
    if error > 0:
        p = float(2 * stdtr(degrees, -abs(excess) / error))
    else:
        p = float(abs(excess) < 1e-9 * joules.max())
    ratio = ratio_low = ratio_high = None
    if time.overhead > 0:
        share = excess / (watts * time.overhead)
        half = quantile * np.hypot(
            error / (watts * time.overhead),
            share * np.sqrt(time.covariance[0][0]) / time.overhead,
        )
        ratio = float(1 + share)
        ratio_low, ratio_high = float(1 + share - half), float(1 + share + half)
    return ConstantPower(
        excess_j=float(excess),
        low=float(excess - quantile * error),
        high=float(excess + quantile * error),
        p=p,
        holds=p >= AFFINE_LEVEL,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
    )


def law(images: Metered) -> PowerLaw | None:
    """Compare metered ``images`` with the law; None where no clock was read.

    Where the clock varied by 5 % or more and the idle power is known, log power is regressed on log
    f among images of equal steps. Power that differs with the steps then cannot pass for the clock.
    """
    read = ~np.isnan(images.clock)
    if not read.any():
        return None
    seconds, ghz, idle = images.seconds[read], images.clock[read] / 1e9, images.idle[read]
    dynamic = not np.isnan(idle).any()
    joules = images.joules[read] - idle * seconds if dynamic else images.joules[read]
    groups = _Groups(images.steps[read])
    log_clock = groups.deviations(np.log(ghz))
    varied = float(np.expm1(np.diff(np.quantile(log_clock, (0.025, 0.975)))[0]))
    reason = _untestable(dynamic, varied, joules, groups)
    untested = PowerLaw(
        watts=float(joules.sum() / seconds.sum()),
        dynamic=dynamic,
        coefficient=float(joules.sum() / np.sum(ghz**3 * seconds)),
        clock_range=varied,
        n=len(joules),
        tested=reason is None,
        reason=reason,
    )
    if reason:
        return untested
    exponent, half = _slope(log_clock, groups.deviations(np.log(joules / seconds)), groups)
    low, high = exponent - half, exponent + half
    return replace(untested, exponent=exponent, low=low, high=high, cubic=low <= 3 <= high)


class _Groups:
    """Images by their number of steps, shape (n,)."""

    def __init__(self, steps: Array) -> None:
        self.counts, self.where, self.n = np.unique(steps, return_inverse=True, return_counts=True)
        self.residual_dof = len(steps) - len(self.counts) - 1

    def deviations(self, values: Array) -> Array:
        """``values``, shape (n,), less the mean of their group."""
        return values - (np.bincount(self.where, values) / self.n)[self.where]


def _untestable(dynamic: bool, varied: float, joules: Array, groups: _Groups) -> str | None:
    if not dynamic:
        return "the idle power, which no clock changes, was not measured"
    if varied < CLOCK_RANGE:
        return f"the clock varied by {varied:.1%} of itself; at least {CLOCK_RANGE:.0%} are needed"
    if groups.residual_dof < _LEAST_DOF:
        return (
            f"{len(joules)} images at {len(groups.counts)} step counts; "
            f"at least {_LEAST_DOF} more images than step counts are needed"
        )
    if (joules <= 0).any():
        return f"{(joules <= 0).sum()} of {len(joules)} images took no more than idling would have"
    return None


def _slope(x: Array, y: Array, groups: _Groups) -> tuple[float, float]:
    """The slope of ``y`` on ``x``, deviations from the groups' means, and half its 95 % interval.

    The scatter may differ between step counts (coarse counters, short images), so the standard
    error comes from each image's own residual (HC3).
    """
    square = np.sum(x**2)
    slope = np.sum(x * y) / square
    own = groups.n[groups.where]
    leverage = x**2 / square + 1 / own
    repeated = own > 1
    error = np.sqrt(np.sum((x * (y - slope * x))[repeated] ** 2 / (1 - leverage[repeated]) ** 2))
    return float(slope), float(t_quantile(groups.residual_dof) * (error / square))
