"""What no family meets: the discrepancy between precisely measured points and the best curve there
is.

Where points are more precise than any family is true, their standard errors are no longer the doubt
that counts: a fit weighted by them follows the few most precise points and leaves the others. So
each point's variance gains δ² u², u being the point's value for an error and 1 for a utility, with
the least δ for which a family's misfit is what chance would give (as in random-effects
meta-analysis); and the fitted curve is led back towards the points, by as much of each residual as
is discrepancy rather than noise.
"""

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as fisher

from calibration.fitting.profile_likelihood import best

# Misfit is no longer put down to chance beyond what chance stays below so often.
LEVEL = 0.95


def most_by_chance(spare, freedom):
    """The most that misfit / ``spare`` comes to by chance, ``freedom`` being that of the standard
    errors (None: exact).
    """
    return chi2.ppf(LEVEL, spare) / spare if freedom is None else fisher.ppf(LEVEL, spare, freedom)


def discrepancy(families, s, y, sd, u, freedom):
    """The least δ over ``families`` at steps ``s`` of values ``y`` with standard deviations ``sd``,
    all shape (n,); 0 where one fits.
    """
    return min(
        (
            _of(family, s, y, sd, u, freedom)
            for family in families
            if len(np.unique(s)) > len(family.parameters)
        ),
        default=0.0,
    )


def _of(family, s, y, sd, u, freedom):
    spare = len(s) - len(family.parameters)

    def reduced(delta):
        total = np.hypot(sd, delta * u)
        (p,) = best(family, s, y[None], 1 / total[None])
        return np.sum(((y - family.function(s, p)) / total) ** 2) / spare

    if reduced(0.0) <= most_by_chance(spare, freedom):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if reduced(middle) > 1 else (low, middle)
    return high


def correction(fit, steps, at_points, u):
    """What is added to a fitted curve at ``steps``, and that correction's variance, both shape
    (m,).

    ``at_points``: the curve at the fit's points; ``u``: the unit of the discrepancy, at the points
    and at ``steps``. Between points the residuals are interpolated in log steps; a discrepancy may
    have moved on in between, by most in the middle.
    """
    points, delta = fit["points"], fit["misfit"]
    at = np.log([point["steps"] for point in points])
    own, noise = (delta * u[0]) ** 2, np.array([point["se"] for point in points]) ** 2
    kept = own / (own + noise)
    residual = kept * (np.array([point["value"] for point in points]) - at_points)
    shares = np.stack([np.interp(np.log(steps), at, one) for one in np.eye(len(at))], axis=1)
    between = 1 - (shares**2).sum(axis=1)  # 2 t (1 - t)
    return shares @ residual, shares**2 @ (kept * noise) + between * (delta * u[1]) ** 2
