"""Prices of several limits: the maximum of weak duality, by cutting planes."""

from typing import NamedTuple

import numpy as np

from solver.columnar import FloatArray, IntArray

#: Cutting planes, at most; a few dozen do for up to three limits.
MOST_CUTS = 300


class Dual(NamedTuple):
    """``price``, shape (limits,), with the relaxed optimum there.

    ``shares``, shape (cuts,), sum to 1, and ``choices``, shape (cuts, users), are the entries that
    all users choose at neighbouring prices: their mean, weighed by the shares, is the relaxed
    optimum. ``infeasible``: at this price every choice costs more than any can.
    """

    price: FloatArray
    shares: FloatArray
    choices: IntArray
    infeasible: bool


def solve_dual(cost: FloatArray, weight: IntArray, capacity: IntArray) -> Dual:
    """Maximise L(p) = sum_n min_j [cost_nj + p weight_j] - p capacity over p >= 0.

    ``cost`` has shape (users, entries), inf: not allowed, ``weight`` (entries, limits). L is
    concave and piecewise linear, and any p >= 0 gives a lower bound (Kelley's method; the linear
    program over p and L has limits + 1 variables).
    """
    from scipy.optimize import linprog  # half a second to import: only when asked for

    users, rows = len(cost), np.arange(len(cost))
    least = cost.min(axis=1, keepdims=True)
    above = cost - least
    finite = np.where(np.isfinite(above), above, 0.0)
    span = finite.max(axis=1)
    unit = float(span.max()) or 1.0
    reach = float(span.sum()) / unit  # no choice costs more than this above the least of all
    size = np.maximum(weight.max(axis=0, initial=1), 1) * 1.0
    # in units of `unit` for the largest weight of an option
    highest = 4.0 * (users * reach + 1.0)
    price = np.zeros(weight.shape[1])
    choices: list[IntArray] = []
    slopes: list[FloatArray] = []
    heights: list[float] = []
    best, best_price, shares = -np.inf, price, np.ones(1)
    while len(choices) < MOST_CUTS:
        chosen = (above + unit * (weight @ (price / size))).argmin(axis=1)
        height = float(above[rows, chosen].sum()) / unit
        slope = (weight[chosen].sum(axis=0) - capacity) / size
        value = height + float(slope @ price)
        if value > best:
            best, best_price = value, price
        known = any(
            height == old and (slope == other).all()
            for old, other in zip(heights, slopes, strict=True)
        )
        if known or best > reach + 1:
            break
        choices.append(chosen)
        slopes.append(slope)
        heights.append(height)
        program = linprog(
            np.append(np.zeros(len(price)), -1.0),
            A_ub=np.column_stack([-np.array(slopes), np.ones(len(slopes))]),
            b_ub=heights,
            bounds=[(0, highest)] * len(price) + [(None, None)],
            method="highs",
        )
        if program.status:
            break
        shares = np.maximum(-program.ineqlin.marginals, 0.0)
        if not len(price) or -program.fun <= best + 1e-13 * (1 + abs(best)):
            break
        price = np.clip(program.x[:-1], 0.0, highest)
    total = shares.sum()
    shares = shares / total if total else np.full(len(shares), 1 / len(shares))
    prices = best_price * unit / size
    if best <= reach + 1:
        _least_where_nothing_is_left(above, weight, capacity, prices)
    return Dual(prices, shares, np.array(choices[: len(shares)]), best > reach + 1)


def _least_where_nothing_is_left(
    above: FloatArray, weight: IntArray, capacity: IntArray, price: FloatArray
) -> None:
    """Of a limit of 0 every price is optimal at which nobody takes any of it: set the least."""
    for limit in np.flatnonzero(capacity == 0):
        price[limit] = 0.0
        priced = above + weight @ price
        uses = weight[:, limit] > 0
        without = priced[:, ~uses].min(axis=1, keepdims=True, initial=np.inf)
        rate = (without - priced[:, uses]) / weight[uses, limit]
        price[limit] = max(float(rate[np.isfinite(rate)].max(initial=0.0)), 0.0)
