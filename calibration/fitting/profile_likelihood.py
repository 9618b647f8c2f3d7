"""Families that are linear in all parameters but their shape, solved on grids of shapes.

For one shape the best coefficients are a linear least-squares solution in closed form, and so are
the coefficients that a limit on the misfit allows (an ellipse). A grid of shapes therefore gives
the global minimum, for many sets of points at once, and the exact profile likelihood of every
parameter, without iterating from a start.
"""

import numpy as np

_COARSE = 60  # shapes from bound to bound
_FINE = 24  # shapes between the neighbours of the best one
_PROFILE = 120


def best(family, steps, values, weights):
    """The least-squares parameters, shape (m, k), of m sets of points on the same ``steps``, shape
    (n,).

    ``values``, ``weights`` (1 / sd): (m, n), or one of them (1, n); a weight of 0 leaves a point
    out. Shapes come out right to about 1e-4.
    """
    sets = max(len(values), len(weights))
    grid, rows = np.geomspace(*family.bounds[family.shape], _COARSE), np.arange(sets)
    at = np.argmin(_solve(family, steps, values, weights, grid[None])[0], axis=1)
    low, high = np.log(grid[np.maximum(at - 1, 0)]), np.log(grid[np.minimum(at + 1, _COARSE - 1)])
    misfit = _solve(family, steps, values, weights, np.exp(np.linspace(low, high, _FINE, axis=1)))[
        0
    ]
    at = np.argmin(misfit, axis=1)
    # the vertex of the parabola through the best shape and its neighbours, in the logarithm
    left, middle, right = (misfit[rows, np.clip(at + move, 0, _FINE - 1)] for move in (-1, 0, 1))
    bend = left - 2 * middle + right
    inner = (at > 0) & (at < _FINE - 1) & (bend > 0)
    move = np.where(inner, 0.5 * (left - right) / np.where(inner, bend, 1.0), 0.0)
    shape = np.exp(low + (at + move) * (high - low) / (_FINE - 1))
    found = np.empty((sets, len(family.parameters)))
    found[:, family.shape] = shape
    found[:, family.linear] = _solve(family, steps, values, weights, shape[:, None])[1][:, 0]
    return found


def profile(family, steps, values, weights, shape, limits):
    """Profile-likelihood intervals, a (low, high) per parameter: where the misfit, minimised over
    the other parameters, stays within the parameter's own of ``limits``, shape (k,); nan where they
    are lost in rounding. ``values``, ``weights``: (n,); ``shape``: the best one.
    """
    intervals = np.full((len(family.parameters), 2), np.nan)
    for limit in np.unique(limits):
        grid, misfit = _around(family, steps, values, weights, shape, limit)
        if not (misfit <= limit).any():  # exact points: the limit is lost in rounding
            continue
        found = np.empty_like(intervals)
        found[family.shape] = _crossings(np.log(grid), misfit, limit)
        found[family.linear] = _reach(family, steps, values, weights, grid[misfit <= limit], limit)
        intervals[limits == limit] = found[limits == limit]
    return intervals


def _around(family, steps, values, weights, shape, limit):
    """A grid of shapes that resolves where the misfit is within ``limit``, and the misfits on it."""
    low, high = family.bounds[family.shape]
    for _ in range(8):
        grid = np.unique(np.append(np.geomspace(low, high, _PROFILE), shape))
        misfit = _solve(family, steps, values[None], weights[None], grid[None])[0][0]
        inside = np.flatnonzero(misfit <= limit)
        if not len(inside) or inside[-1] - inside[0] > _PROFILE / 3:
            break
        low, high = grid[max(inside[0] - 1, 0)], grid[min(inside[-1] + 1, len(grid) - 1)]
    return grid, misfit


def _crossings(grid, misfit, limit):
    """The two ends of where ``misfit`` is within ``limit``, by straight lines between the
    logarithms of the shapes.
    """
    inside = np.flatnonzero(misfit <= limit)
    ends = []
    for end, move in ((inside[0], -1), (inside[-1], 1)):
        share = 0.0
        if 0 <= end + move < len(grid):
            share = (limit - misfit[end]) / (misfit[end + move] - misfit[end])
        ends.append(
            np.exp(grid[end] + share * (grid[end + move] - grid[end]) if share else grid[end])
        )
    return ends


def _reach(family, steps, values, weights, shapes, limit):
    """How far down and up each linear parameter goes, shape (their number, 2), on the shapes within
    ``limit``.
    """
    columns, target = _weighted(family, steps, values[None], weights[None], shapes[None])
    low = [family.bounds[index][0] for index in family.linear]
    ends = []
    for own in range(len(low)):
        alone = _ellipse(columns[own], target, limit)
        if len(low) == 1:
            ends.append(_extent(alone))
            continue
        other = columns[1 - own]
        norm = _square(other)
        slope = _dot(other, columns[own]) / norm
        free = _ellipse(
            columns[own] - slope[..., None] * other,
            target - (_dot(other, target) / norm)[..., None] * other,
            limit,
        )
        partner = _dot(other, target) / norm - slope * free  # the other coefficient at either end
        reached = np.where(partner >= low[1 - own], free, alone)
        ends.append(_extent(reached))
    return np.maximum(np.reshape(ends, (len(low), 2)), np.array(low)[:, None])


def _extent(reached):
    """The least and the largest that are not nan; nan without any."""
    known = reached[np.isfinite(reached)]
    return (known.min(), known.max()) if len(known) else (np.nan, np.nan)


def _ellipse(column, target, limit):
    """The two coefficients of ``column``, shape (2, ...), at which the misfit to ``target`` is
    ``limit``; nan where it never is.
    """
    norm = _square(column)
    centre = _dot(column, target) / norm
    spare = limit - np.sum((target - centre[..., None] * column) ** 2, axis=-1)
    half = np.sqrt(np.where(spare >= 0, spare, np.nan) / norm)
    return np.stack([centre - half, centre + half])


def _solve(family, steps, values, weights, shapes):
    """For each set of points and shape, the least misfit, (m, g), and its coefficients within
    bounds, (m, g, number).

    ``values``, ``weights``: (m or 1, n); ``shapes``: (m or 1, g).
    """
    columns, target = _weighted(family, steps, values, weights, shapes)
    low = [family.bounds[index][0] for index in family.linear]
    if not low:
        return _dot(target, target), np.empty((*target.shape[:-1], 0))
    alone = [
        np.maximum(_dot(column, target) / _square(column), least)
        for column, least in zip(columns, low, strict=True)
    ]
    if len(low) == 1:
        return np.sum((target - alone[0][..., None] * columns[0]) ** 2, axis=-1), alone[0][
            ..., None
        ]
    first, second = columns
    norm = _square(second)
    rest = first - (_dot(second, first) / norm)[..., None] * second
    a = _dot(rest, target) / _square(rest)
    b = _dot(second, target - a[..., None] * first) / norm
    # a convex problem: if its free minimum is not allowed, the best one has a coefficient at its
    # bound
    options = [
        np.stack([a, b], -1),
        *(
            np.stack(pair, -1)
            for pair in ((alone[0], np.zeros_like(b)), (np.zeros_like(a), alone[1]))
        ),
    ]
    misfits = [
        np.sum((target - one[..., :1] * first - one[..., 1:] * second) ** 2, axis=-1)
        for one in options
    ]
    misfits[0] = np.where((a >= low[0]) & (b >= low[1]), misfits[0], np.inf)
    which = np.argmin(misfits, axis=0)
    return np.min(misfits, axis=0), np.take_along_axis(
        np.stack(options), which[None, ..., None], axis=0
    )[0]


def _weighted(family, steps, values, weights, shapes):
    """The weighted columns of the linear parameters, each (m, g, n), and what they are to meet, (m,
    g, n).
    """
    fixed, columns = family.design(steps, shapes.ravel())
    shaped = (*shapes.shape, len(steps))
    scale = weights[:, None]
    return [scale * columns[..., i].reshape(shaped) for i in range(columns.shape[-1])], scale * (
        values[:, None] - fixed.reshape(shaped)
    )


def _dot(one, other):
    return np.sum(one * other, axis=-1)


def _square(column):
    """The column's squared length; a column that has vanished (a fast decay over many steps) counts
    as tiny, not as none.
    """
    return np.maximum(_dot(column, column), 1e-300)
