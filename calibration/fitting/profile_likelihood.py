"""Exact fits and profile likelihoods of families that are linear in all parameters but one.

For one value of the nonlinear parameter, the *shape*, the best coefficients are a linear
least-squares solution in closed form (variable projection). The coefficients that a limit on chi
square allows are an ellipse. A grid of shapes therefore gives the global minimum, for many sets of
points at once, and the profile likelihood of every parameter, without an iteration that depends on
its start.
"""

import numpy as np

from calibration.fitting.families import Bounds, Family
from calibration.statistics import Array

_COARSE = 60  # shapes from bound to bound
_AT_ONCE = 10_000_000  # numbers of an array: the sets without each point are as many as the points
_FINE = 24  # shapes between the neighbours of the best one
_PROFILE = 120  # shapes of a profile


def best(family: Family, steps: Array, values: Array, weights: Array) -> Array:
    """The least-squares parameters, shape (m, k), of m sets of points on the same ``steps``, shape
    (n,).

    ``values``, ``weights`` (1 / sd): (m, n), or one of them (1, n); a weight of 0 leaves a point
    out. Shapes are right to about 1e-4.
    """
    sets = max(len(values), len(weights))
    most = max(1, _AT_ONCE // (len(steps) * _COARSE))
    if sets > most:
        parts = [slice(start, start + most) for start in range(0, sets, most)]
        return np.concatenate(
            [
                best(family, steps, *(x[part] if len(x) > 1 else x for x in (values, weights)))
                for part in parts
            ]
        )
    grid, rows = np.geomspace(*family.bounds[family.shape], _COARSE), np.arange(sets)
    at = np.argmin(_solve(family, steps, values, weights, grid[None])[0], axis=1)
    low, high = np.log(grid[np.maximum(at - 1, 0)]), np.log(grid[np.minimum(at + 1, _COARSE - 1)])
    fine = np.exp(np.linspace(low, high, _FINE, axis=1))
    chi2 = _solve(family, steps, values, weights, fine)[0]
    at = np.argmin(chi2, axis=1)
    # the vertex of the parabola through the best shape and its neighbours, in the logarithm
    left, middle, right = (chi2[rows, np.clip(at + move, 0, _FINE - 1)] for move in (-1, 0, 1))
    bend = left - 2 * middle + right
    inner = (at > 0) & (at < _FINE - 1) & (bend > 0)
    move = np.where(inner, 0.5 * (left - right) / np.where(inner, bend, 1.0), 0.0)
    shape = np.exp(low + (at + move) * (high - low) / (_FINE - 1))
    parameters = np.empty((sets, len(family.parameters)))
    parameters[:, family.shape] = shape
    parameters[:, family.linear] = _solve(family, steps, values, weights, shape[:, None])[1][:, 0]
    return parameters


def profile(
    family: Family, steps: Array, values: Array, weights: Array, shape: float, limits: Array
) -> Array:
    """Profile-likelihood intervals, a (low, high) per parameter, shape (..., k, 2).

    A parameter's interval is where chi square, minimised over the other parameters, stays within
    its own of ``limits``, shape (..., k). It is nan where rounding exceeds the limit. ``values``,
    ``weights`` (1 / sd): (n,); ``shape``: the best one.
    """
    intervals = np.full((*limits.shape, 2), np.nan)
    whole = _on_grid(family, steps, values, weights, shape, family.bounds[family.shape])
    for limit in np.unique(limits):
        grid, chi2 = _around(family, steps, values, weights, shape, limit, whole)
        if not (chi2 <= limit).any():  # exact points: rounding exceeds the limit
            continue
        ends = np.empty((len(family.parameters), 2))
        ends[family.shape] = _crossings(np.log(grid), chi2, limit)
        ends[family.linear] = _extents(family, steps, values, weights, grid[chi2 <= limit], limit)
        intervals = np.where((limits == limit)[..., None], ends, intervals)
    return intervals


def _around(
    family: Family,
    steps: Array,
    values: Array,
    weights: Array,
    shape: float,
    limit: float,
    whole: tuple[Array, Array],
) -> tuple[Array, Array]:
    """A grid of shapes that resolves where chi square is within ``limit``, and chi square on it;
    ``whole``: the same from bound to bound.
    """
    grid, chi2 = whole
    for _ in range(7):
        inside = np.flatnonzero(chi2 <= limit)
        if not len(inside) or inside[-1] - inside[0] > _PROFILE / 3:
            break
        ends = grid[max(inside[0] - 1, 0)], grid[min(inside[-1] + 1, len(grid) - 1)]
        grid, chi2 = _on_grid(family, steps, values, weights, shape, ends)
    return grid, chi2


def _on_grid(
    family: Family, steps: Array, values: Array, weights: Array, shape: float, ends: Bounds
) -> tuple[Array, Array]:
    """Shapes between the ``ends``, with the best ``shape``, and chi square on them."""
    grid = np.unique(np.append(np.geomspace(*ends, _PROFILE), shape))
    return grid, _solve(family, steps, values[None], weights[None], grid[None])[0][0]


def _crossings(log_shapes: Array, chi2: Array, limit: float) -> list[float]:
    """The two shapes between which ``chi2`` is within ``limit``, by linear interpolation in the
    logarithm of the shape.
    """
    inside = np.flatnonzero(chi2 <= limit)
    ends = []
    for end, move in ((inside[0], -1), (inside[-1], 1)):
        at = log_shapes[end]
        if 0 <= end + move < len(log_shapes):
            share = (limit - chi2[end]) / (chi2[end + move] - chi2[end])
            at = at + share * (log_shapes[end + move] - at)
        ends.append(np.exp(at))
    return ends


def _extents(
    family: Family, steps: Array, values: Array, weights: Array, shapes: Array, limit: float
) -> Array:
    """The range of each linear parameter, shape (their number, 2), over the ``shapes`` whose chi
    square is within ``limit``.
    """
    columns, target = _weighted(family, steps, values[None], weights[None], shapes[None])
    low = [family.bounds[index][0] for index in family.linear]
    ends = []
    for index, column in enumerate(columns):
        alone = _ellipse(column, target, limit)
        if len(columns) == 1:
            ends.append(_extent(alone))
            continue
        other = columns[1 - index]
        norm = _square(other)
        slope = _dot(other, column) / norm
        free = _ellipse(
            column - slope * other,
            target - _dot(other, target) / norm * other,
            limit,
        )
        partner = _dot(other, target) / norm - slope * free  # the other coefficient at either end
        ends.append(_extent(np.where(partner >= low[1 - index], free, alone)))
    return np.maximum(np.reshape(ends, (len(low), 2)), np.array(low)[:, None])


def _extent(values: Array) -> tuple[float, float]:
    """The least and the largest of ``values`` that are finite; nan without any."""
    finite = values[np.isfinite(values)]
    return (finite.min(), finite.max()) if len(finite) else (np.nan, np.nan)


def _ellipse(column: Array, target: Array, limit: float) -> Array:
    """The two coefficients of ``column``, shape (2, ...), at which chi square of ``target`` is
    ``limit``; nan where it never is.
    """
    norm = _square(column)
    centre = _dot(column, target) / norm
    rest = limit - _length(target - centre * column)
    half = np.sqrt(np.where(rest >= 0, rest, np.nan) / norm)
    return np.stack([centre - half, centre + half])


def _solve(
    family: Family, steps: Array, values: Array, weights: Array, shapes: Array
) -> tuple[Array, Array]:
    """For each set of points and shape, the least chi square, (m, g), and its coefficients within
    bounds, (m, g, number of linear parameters).

    ``values``, ``weights``: (m or 1, n); ``shapes``: (m or 1, g).
    """
    columns, target = _weighted(family, steps, values, weights, shapes)
    low = [family.bounds[index][0] for index in family.linear]
    if not columns:
        return _length(target), np.empty((*target.shape[1:], 0))
    alone = [
        np.maximum(_dot(column, target) / _square(column), least)
        for column, least in zip(columns, low, strict=True)
    ]
    if len(columns) == 1:
        return _length(target - alone[0] * columns[0]), alone[0][..., None]
    first, second = columns
    norm = _square(second)
    rest = first - _dot(second, first) / norm * second
    a = _dot(rest, target) / _square(rest)
    b = _dot(second, target - a * first) / norm
    inside = (a >= low[0]) & (b >= low[1])
    if not inside.all():
        # The problem is convex: where the free minimum violates a bound, the best point has a
        # coefficient at its bound.
        chi2s = _length(target - alone[0] * first), _length(target - alone[1] * second)
        first_alone = chi2s[0] <= chi2s[1]
        a = np.where(inside, a, np.where(first_alone, alone[0], 0.0))
        b = np.where(inside, b, np.where(first_alone, 0.0, alone[1]))
    return _length(target - a * first - b * second), np.stack([a, b], -1)


def _weighted(
    family: Family, steps: Array, values: Array, weights: Array, shapes: Array
) -> tuple[list[Array], Array]:
    """The weighted columns of the linear parameters, each (n, m or 1, g), and their target,
    (n, m, g or 1): sums over the points are then of long rows.
    """
    fixed, columns = family.design(steps, shapes.ravel())
    shaped = (len(steps), *shapes.shape)
    scale = weights.T[..., None]
    target = scale * (values.T[..., None] - (fixed.reshape(shaped) if fixed.ndim else fixed))
    return [scale * column.reshape(shaped) for column in columns], target


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("n...,n...->...", a, b)


def _length(residuals: Array) -> Array:
    return _dot(residuals, residuals)


def _square(column: Array) -> Array:
    """The column's squared length; at least 1e-300, also where a fast decay has vanished."""
    return np.maximum(_length(column), 1e-300)
