"""Limits kept with a probability: step counts whose upper prediction limits keep a user's limits.

A limit on time and one on the error of an image are kept with probability 1 - risk where the
one-sided upper limit of a new image's time, and error, keeps them. By Bonferroni's inequality the
risk is shared: by the limits of one user, or by those of all users.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.costs.drift import drift_sd
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.scenario.parts import User
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import Service
from calibration.statistics import Array, t_critical


@dataclass(frozen=True)
class UserLimits:
    """A user's ``deadline`` (s) and ``max_error``, None where there is none.

    ``risk``: the probability with which each of them may be broken; None: the expected value
    decides.
    """

    deadline: float | None
    max_error: float | None
    risk: float | None = None

    @property
    def count(self) -> int:
        """How many limits there are."""
        return sum(limit is not None for limit in (self.deadline, self.max_error))


def user_limits(scenario: Scenario) -> list[UserLimits]:
    """The limits of each user, and the risk that each limit may take."""

    def own(user: User) -> UserLimits:
        return UserLimits(
            scenario.deadline if user.deadline is None else user.deadline,
            scenario.max_error if user.max_error is None else user.max_error,
        )

    limits = [own(user) for user in scenario.users]
    if scenario.risk is None:
        return limits
    every = sum(limit.count for limit in limits)
    return [
        UserLimits(
            limit.deadline,
            limit.max_error,
            scenario.risk / max(1, limit.count if scenario.risk_for == "user" else every),
        )
        for limit in limits
    ]


def time_limit(fit: TimeFit, steps: Array, risk: float, speed_sd: float = 0.0) -> Array:
    """Seconds that a new image of ``steps``, shape (m,), exceeds with probability ``risk``.

    The variance is that of the fitted line, of a single image about it, and of the machine's speed:
    ``speed_sd`` is its spread during the sweep, which is part of the images', and it drifts on.
    """
    value = fit.overhead + fit.step_time * steps
    design = np.column_stack([np.ones_like(steps), steps])
    line = np.einsum("ij,jk,ik->i", design, np.array(fit.covariance), design)
    single = max(0.0, fit.relative_sd**2 - speed_sd**2) + drift_sd(speed_sd) ** 2
    return value + t_critical(fit.dof, 1 - risk) * np.sqrt(line + single * value**2)


def latest(service: Service, steps: Array, risk: float) -> Array:
    """Seconds that a user waits for ``steps``, shape (m,), exceeded with probability ``risk``."""
    upper = service.ratio * time_limit(service.profile.time, steps, risk, service.speed_sd)
    upper += service.transfer_time
    if way := service.way:
        spread = math.sqrt(way.own_variance + way.variance)
        upper += way.seconds + t_critical(None, 1 - risk) * spread
    return upper


def error_limit(fit: CurveFit, steps: Array, risk: float) -> Array:
    """The error that a new image of a new prompt exceeds with probability ``risk``, shape (m,).

    The variance is that of the curve and of a single image: of its prompt and of its seed.
    """
    value, covariance = evaluate(fit, steps)
    grid = [point.steps for point in fit.points]
    image = np.interp(steps, grid, [point.sd or 0.0 for point in fit.points])
    prompt = np.interp(steps, grid, [point.sd_prompt or 0.0 for point in fit.points])
    variance = np.maximum(np.diag(covariance), 0.0) + np.maximum(image, prompt) ** 2
    known = [point.n - 1 for point in fit.points if point.n is not None]
    dof = degrees_of_freedom(fit)
    least = min([*known, *([] if dof is None else [dof])], default=None)
    return _error_limit(value, variance, t_critical(least, 1 - risk))


def point_limit(point: CurvePoint, risk: float) -> float:
    """:func:`error_limit` of what has no curve but a measured mean; inf of a single prompt."""
    if point.se is None or point.prompts is None:
        return math.inf
    variance = point.se**2 + max(point.sd or 0.0, point.sd_prompt or 0.0) ** 2
    critical = t_critical(point.prompts - 1, 1 - risk)
    return float(_error_limit(np.array(point.value), np.array(variance), critical))


def _error_limit(value: Array, variance: Array, critical: float) -> Array:
    """An error is at least 0 and most often skewed to the right, so the higher of two limits
    counts, that of Student's t and that of a lognormal variable with the same mean and variance.
    """
    symmetric = value + critical * np.sqrt(variance)
    mean = np.maximum(value, 1e-12)
    spread = np.log1p(variance / mean**2)
    return np.maximum(symmetric, mean * np.exp(critical * np.sqrt(spread) - spread / 2))


def allowed_steps(
    service: Service, limits: UserLimits, least: int, most: int
) -> tuple[int, int] | None:
    """The longest run of step counts from ``least`` to ``most`` that keeps a user's limits.

    First and last; None if none does.
    """
    steps = np.arange(least, most + 1, dtype=float)
    assert limits.risk is not None
    kept: NDArray[np.bool_] = np.ones(len(steps), dtype=bool)
    if limits.deadline is not None:
        kept &= latest(service, steps, limits.risk) <= limits.deadline
    if limits.max_error is not None:
        kept &= error_limit(service.profile.error, steps, limits.risk) <= limits.max_error
    return _longest_run(kept.tolist(), least)


def keeps_limits(
    parts: Sequence[tuple[Service, int]], error: CurvePoint, limits: UserLimits
) -> bool:
    """Whether a split image keeps a user's limits; ``parts``: who makes how many of its steps.

    The limits of both times are added, which holds even where both are late together.
    """
    risk = limits.risk
    assert risk is not None
    if limits.max_error is not None and point_limit(error, risk) > limits.max_error:
        return False
    times = [latest(service, np.array([float(count)]), risk) for service, count in parts]
    return limits.deadline is None or bool(np.sum(times) <= limits.deadline)


def _longest_run(kept: Sequence[bool], first: int) -> tuple[int, int] | None:
    runs: list[tuple[int, int]] = []
    for at, keeps in enumerate(kept, start=first):
        if keeps and runs and runs[-1][1] == at - 1:
            runs[-1] = runs[-1][0], at
        elif keeps:
            runs.append((at, at))
    return max(runs, key=lambda run: run[1] - run[0], default=None)
