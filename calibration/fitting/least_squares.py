"""Nonlinear least squares with derivatives, and the covariance of the estimate."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, leastsq

from calibration.statistics import Array

_TOLERANCES = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-13)


def minimise(
    function: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    values: Array,
    sd: Array,
    starts: Array,
    bounds: tuple[Array, Array] | None = None,
) -> Array:
    """Parameters, shape (k,), that minimise the sum of ((function(p) - values) / sd)².

    ``function(p)`` gives the model's values, shape (n,); ``gradient(p)`` their derivatives, shape
    (n, k); ``values``, ``sd`` shape (n,); ``starts``: at least one start, shape (number, k), of
    which the best result counts; ``bounds``: (low, high), shape (k,) each, or None.

    Levenberg-Marquardt ignores the bounds. It is ten times faster than the bounded method, which is
    used only where the unbounded minimum violates them.
    """
    low, high = bounds or (np.array(-np.inf), np.array(np.inf))

    def residuals(p: Array) -> Array:
        return (function(p) - values) / sd

    def slope(p: Array) -> Array:
        return gradient(p) / sd[:, None]

    minima = []
    for start in starts:
        with np.errstate(all="ignore"):  # intermediate parameters may overflow the curve
            p = leastsq(
                residuals, start, Dfun=slope, full_output=True, maxfev=10_000, **_TOLERANCES
            )[0]
        if not (np.isfinite(p).all() and (p >= low).all() and (p <= high).all()):
            inner = np.clip(
                start,
                np.maximum(low * (1 + 1e-9), np.where(low == 0, 1e-9, low)),
                high * (1 - 1e-9),
            )
            p = least_squares(
                residuals, inner, slope, bounds=(low, high), x_scale="jac", **_TOLERANCES
            ).x
        minima.append(p)
    return min(minima, key=lambda p: np.sum(residuals(p) ** 2))


def response(jacobian: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The derivatives of the estimate by the weighted points, shape (..., k, n), and whether the
    parameters are identifiable from the points, shape (...).

    ``jacobian``: (..., n, k), of the values over their sd. The parameters' covariance is response @
    response.T for points of that sd, and response @ C @ response.T for points of covariance C (in
    units of their sd).
    """
    size = np.linalg.norm(jacobian, axis=-2, keepdims=True)
    size[size == 0] = 1.0
    left, singular, right = np.linalg.svd(jacobian / size, full_matrices=False)
    largest, least = singular[..., :1], singular[..., -1:]
    inverted = np.divide(
        1.0, singular, out=np.zeros_like(singular), where=singular > 1e-15 * largest
    )
    scaled = inverted[..., None] * np.swapaxes(left, -1, -2)
    inverse = np.swapaxes(right, -1, -2) @ scaled / np.swapaxes(size, -1, -2)
    return inverse, (largest < 1e8 * least)[..., 0]
