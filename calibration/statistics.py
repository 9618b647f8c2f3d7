"""The statistics that several rooms use."""

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

#: An array of floats; its shape is told where it is used.
Array = NDArray[np.float64]
#: A matrix as dataclasses and JSON hold it.
Matrix = tuple[tuple[float, ...], ...]
#: Half of a normal distribution's central 95 %, in standard deviations.
Z95 = 1.96
#: A median's standard error over a mean's, of normal data.
MEDIAN_SE = math.sqrt(math.pi / 2)
#: A standard deviation over a median absolute deviation, of normal data.
MAD_SD = 1.4826


def t_quantile(dof: int | None, level: float = 0.95) -> float:
    """The two-sided quantile of Student's t distribution.

    ``dof``: its degrees of freedom, at least 1 of them counted; None is infinitely many.
    """
    return t_critical(dof, (1 + level) / 2)


@cache
def t_critical(dof: int | None, probability: float) -> float:
    """The value that a Student's t variable stays below with ``probability``; ``dof`` as above."""
    return float(stdtrit(math.inf if dof is None else max(1, dof), probability))


def pooled_sd(deviations: Array, groups: NDArray[np.int_]) -> float:
    """The standard deviation of single values, from their ``deviations`` from their group's median.

    Both arguments have shape (n,); ``groups``: 0, 1, ... The median absolute deviation is pooled
    over the groups. The median of an odd group is one of its values, so one deviation is exactly 0
    and is left out. That of an even group of n lies nearer to its own values than the true median
    does, by about sqrt((n - 1) / n). Returns 0 if no group has two values.
    """
    sizes = np.bincount(groups)
    order = np.lexsort((np.abs(deviations), groups))  # the least of each group first
    order = np.delete(order, (np.cumsum(sizes) - sizes)[sizes % 2 == 1])
    n = sizes[groups[order]]
    scaled = np.abs(deviations[order]) * np.where(n % 2, 1.0, np.sqrt(n / (n - 1)))
    return MAD_SD * float(np.median(scaled)) if len(scaled) else 0.0


def central_95(residuals: Array, parameters: int) -> tuple[float, float]:
    """The ends between which 95 % of new values lie about a fit, from its n ``residuals``.

    These n hold the ends of their own distribution, so the quantiles of a new one lie further out,
    by (n + 1) / n. They also made the fit and its ``parameters``, and lie nearer to it.
    """
    n = len(residuals)
    share = min(1.0, 0.975 * (n + 1) / n)
    low, high = np.quantile(residuals, [1 - share, share]) * math.sqrt(n / max(1, n - parameters))
    return float(low), float(high)


def robust_sd(residuals: Array, parameters: int) -> float:
    """A new value's standard deviation about a fit, from :func:`central_95`, so that a rare pause
    among many does not inflate it.
    """
    low, high = central_95(residuals, parameters)
    return (high - low) / (2 * Z95)


def r_squared(values: Array, predicted: Array) -> float:
    """1 - residual over total sum of squares, both arguments of shape (n,).

    Of constant values it is 1 if they are met, else 0.
    """
    residual = np.sum((values - predicted) ** 2)
    total = np.sum((values - np.mean(values)) ** 2)
    if total <= 1e-24 * np.sum(values**2):
        return 1.0 if residual <= 1e-24 * np.sum(values**2) else 0.0
    return float(1 - residual / total)


def isotonic(values: ArrayLike, weights: ArrayLike, rising: bool) -> Array:
    """The monotone values, shape (n,), nearest to ``values`` by weighted least squares.

    The method pools adjacent violators.
    """
    sign = 1.0 if rising else -1.0
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(sign * np.asarray(values, float), np.asarray(weights), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, p, i), (b, q, j) = blocks[-2:]
            blocks[-2:] = [((a * p + b * q) / (p + q), p + q, i + j)]
    if not blocks:
        return np.empty(0)
    return sign * np.repeat([block[0] for block in blocks], [block[2] for block in blocks])


def interpolation_weights(at: ArrayLike, grid: ArrayLike) -> Array:
    """Weights, shape (m, n), that interpolate values on a ``grid`` linearly.

    ``at``: shape (m,); ``grid``: (n,), rising. Beyond its ends the grid's end values count.
    """
    x, grid = np.asarray(at, float), np.asarray(grid, float)
    return np.stack([np.interp(x, grid, unit) for unit in np.eye(len(grid))], axis=1)


def group_medians(values: Array, groups: NDArray[np.int_]) -> Array:
    """The median of the ``values``, shape (n,), of each group; ``groups``: (n,), 0, 1, ..."""
    sizes = np.bincount(groups)
    ranked, first = values[np.lexsort((values, groups))], np.cumsum(sizes) - sizes
    return (ranked[first + (sizes - 1) // 2] + ranked[first + sizes // 2]) / 2


def matrix(values: Array) -> Matrix:
    """A matrix as nested tuples, as dataclasses hold it."""
    return tuple(tuple(row) for row in values.tolist())
