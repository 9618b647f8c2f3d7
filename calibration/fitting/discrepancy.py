"""Model discrepancy: what precisely measured points show and the best curve does not.

When model error exceeds measurement error, weights from standard errors alone overfit the most
precise points. So each point's variance gains δ² u², u being the point's value for an error and 1
for a utility. δ is the least for which some family's chi square is what chance gives (as in
random-effects meta-analysis). The fitted curve is then shrunk towards the points, by the share of
each residual's variance that is discrepancy rather than noise.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from scipy.special import fdtri, gammaincinv

from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.families import Family, families
from calibration.fitting.points import Points
from calibration.fitting.profile_likelihood import best
from calibration.statistics import Array, interpolation_weights

#: Reduced chi square is put down to chance up to this quantile.
LEVEL = 0.95


@cache
def largest_by_chance(residual_dof: int, dof: int | None) -> float:
    """The largest chi square over ``residual_dof`` that is put down to chance.

    ``dof``: that of the standard errors (None: exact).
    """
    if dof is None:
        return float(2 * gammaincinv(residual_dof / 2, LEVEL) / residual_dof)
    return float(fdtri(residual_dof, dof, LEVEL))


def discrepancy(points: Points) -> float:
    """The least δ over the families of the points' kind.

    It is 0 if a family fits, or if the points' standard errors are not known.
    """
    if points.sd is None:
        return 0.0
    tried = []
    for family in families(points.kind):
        if points.step_counts > len(family.parameters):
            reduced = partial(_reduced, family, points, points.sd)
            residual_dof = len(points.s) - len(family.parameters)
            if reduced(0.0) <= largest_by_chance(residual_dof, points.dof):
                return 0.0
            tried.append(reduced)
    least = None
    for reduced in tried:
        if least is None or reduced(least) <= 1:
            least = _least(reduced)
    return least or 0.0


def correction(
    points: Sequence[CurvePoint],
    delta: float,
    steps: Array,
    at_points: Array,
    u: tuple[Array, Array],
) -> tuple[Array, Array]:
    """What is added to a fitted curve at ``steps``, shape (m,), and its covariance, shape (m, m).

    ``at_points``: the curve at the ``points``; ``u``: the unit of ``delta``, at the points and at
    ``steps``. Between points the residuals are interpolated in log steps, where the discrepancy may
    change: as a Brownian bridge, whose variance is largest halfway.
    """
    values = np.array([point.value for point in points])
    noise = np.array([point.se for point in points], float) ** 2
    own = (delta * u[0]) ** 2
    kept = own / (own + noise)
    weights = interpolation_weights(np.log(steps), np.log([point.steps for point in points]))
    interval, share = np.divmod(weights @ np.arange(len(points)), 1.0)
    bridge = np.minimum.outer(share, share) * (1 - np.maximum.outer(share, share))
    bridge *= 2 * np.equal.outer(interval, interval)
    covariance = (weights * (kept * noise)) @ weights.T
    covariance += bridge * np.outer(delta * u[1], delta * u[1])
    return weights @ (kept * (values - at_points)), covariance


def _reduced(family: Family, points: Points, sd: Array, delta: float) -> float:
    """Chi square over its degrees of freedom of the ``family``'s best curve, with this δ."""
    s, y = points.s, points.y
    total = np.hypot(sd, delta * points.unit)
    (p,) = best(family, s, y[None], 1 / total[None])
    residual_dof = len(s) - len(family.parameters)
    return float(np.sum(((y - family.function(s, p)) / total) ** 2) / residual_dof)


def _least(reduced: Callable[[float], float]) -> float:
    """The δ at which ``reduced`` is 1; at most 1."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if reduced(middle) > 1 else (low, middle)
    return high
