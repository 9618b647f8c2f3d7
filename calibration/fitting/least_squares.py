"""Nonlinear least squares with derivatives, and the covariance of what it finds."""

import numpy as np
from scipy.optimize import least_squares, leastsq

_TOLERANCES = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-13)


def minimise(function, gradient, values, sd, starts, bounds=None):
    """Parameters, shape (k,), that minimise the sum of ((function(p) - values) / sd)², the best
    from several ``starts``.

    ``function(p)`` gives the model's values, shape (n,); ``gradient(p)`` their derivatives, shape
    (n, k); ``values``, ``sd`` shape (n,); ``bounds``: (low, high), shape (k,) each, or None.

    Levenberg-Marquardt ignores the bounds; it is ten times faster than the bounded method, which is
    needed only where it ends outside them.
    """
    low, high = bounds or (-np.inf, np.inf)

    def misfit(p):
        return (function(p) - values) / sd

    def slope(p):
        return gradient(p) / sd[:, None]

    best, least = None, np.inf
    for start in starts:
        with np.errstate(all="ignore"):  # on the way it may stray to where the curve overflows
            found = leastsq(
                misfit, start, Dfun=slope, full_output=True, maxfev=10_000, **_TOLERANCES
            )[0]
        if not (np.isfinite(found).all() and (found >= low).all() and (found <= high).all()):
            inner = np.clip(
                start,
                np.maximum(low * (1 + 1e-9), np.where(low == 0, 1e-9, low)),
                high * (1 - 1e-9),
            )
            found = least_squares(
                misfit, inner, slope, bounds=(low, high), x_scale="jac", **_TOLERANCES
            ).x
        cost = np.sum(misfit(found) ** 2)
        if best is None or cost < least:
            best, least = found, cost
    return best


def response(jacobian):
    """How the parameters follow the weighted points, shape (k, n), and whether the points tell them
    apart.

    ``jacobian``: (n, k), of the values over their sd. The parameters' covariance is response @
    response.T for points of that sd, and response @ C @ response.T for points of covariance C (in
    units of their sd).
    """
    size = np.linalg.norm(jacobian, axis=0)
    size[size == 0] = 1.0
    return np.linalg.pinv(jacobian / size) / size[:, None], bool(
        np.linalg.cond(jacobian / size) < 1e8
    )
