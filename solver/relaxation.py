"""The relaxation of P1 with one limit: its price, and the choices that are optimal there.

``cost``, shape (rows, options), is R~ of eq. (8), +inf where an option is not allowed; option s is
s edge steps, if not said otherwise.
"""

import math
from typing import NamedTuple

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray

#: Users for whom the price is best found by secants alone.
FEW = 8


def cheapest(cost: FloatArray, price: float) -> IntArray:
    """The edge steps, shape (users,), that each user chooses for itself at ``price``.

    Of equally good options it takes the one with the fewest steps; ``price`` may be infinite.
    """
    if price == np.inf:
        fewest, edge_only = np.zeros(len(cost), np.int64), np.flatnonzero(np.isinf(cost[:, 0]))
        fewest[edge_only] = np.isfinite(cost[edge_only]).argmax(axis=1)
        return fewest
    return (cost + price * np.arange(cost.shape[1]) if price else cost).argmin(axis=1)


def fewest_steps(cost: FloatArray) -> tuple[IntArray, BoolArray]:
    """The fewest edge steps that serve each user, and whether any option does; shape (users,)."""
    fewest = cheapest(cost, np.inf)
    return fewest, np.isfinite(cost[np.arange(len(cost)), fewest])


class Split(NamedTuple):
    """The relaxed optimum: at ``price`` two choices, ``few`` <= ``many``, are optimal.

    With ``many`` for ``moved`` users of each row and ``few`` for the others the budget holds, and
    one more would break it. Arrays have shape (rows,).
    """

    price: float
    few: IntArray
    many: IntArray
    moved: IntArray


def relax(
    cost: FloatArray,
    budget: float,
    few: IntArray | None = None,
    many: IntArray | None = None,
    count: int | IntArray = 1,
    steps: IntArray | None = None,
) -> Split:
    """The price delta of an edge step, the dual of (1), and the relaxed optimum at that price.

    delta >= 0 is the slope, to the right of S_e^max and with its sign turned, of the lower convex
    envelope of the optimal objective as a function of S_e^max: what a further edge step saves,
    averaged over the next stretch of the envelope; 0 where the budget is slack. That envelope is
    the value of the relaxation, so delta needs no integer solution: it is where the steps that
    all users choose for themselves at price delta cross the budget. ``count``, one number or shape
    (rows,), is how many users each row stands for. ``few`` and ``many`` may be given as the choices
    at two prices that enclose delta. ``steps``, shape (rows, options), are those of each option, if
    not 0, 1, 2, ...; choices are columns of it.
    """
    few = cheapest(cost, np.inf) if few is None else few.copy()
    many = cheapest(cost, 0.0) if many is None else many.copy()
    count = np.full(len(cost), count) if np.ndim(count) == 0 else np.asarray(count)
    below, above = steps_of(few, steps), steps_of(many, steps)
    left = budget - int(count @ below)
    if count @ (above - below) <= left:
        return Split(0.0, few, many, count.copy())
    rows = np.flatnonzero(few < many)  # for the others the choice is made
    table, number, at = cost[rows], count[rows], np.arange(len(rows))
    weight = np.arange(cost.shape[1]) if steps is None else steps[rows]
    ends = np.array([few[rows], many[rows]])
    ends_cost, ends_steps = table[at, ends], np.array([below[rows], above[rows]])
    tried, side = [0.0, 0.0], -1
    guess = _by_chords(ends_cost, ends_steps, number, left) if len(rows) > FEW else 0.0
    while True:
        span = int(number @ (ends_steps[1] - ends_steps[0]))
        # few and many cost the same at the secant's price; at delta nothing lies below both
        price = guess or float(number @ (ends_cost[0] - ends_cost[1]) / span)
        between = (table + price * weight).argmin(axis=1)
        between_steps = between if steps is None else weight[at, between]
        taken = int(number @ (between_steps - ends_steps[0]))
        if not 0 < taken < span:
            if not guess:
                break
            guess = 0.0
            continue
        end = int(taken > left)
        ends[end], ends_steps[end], ends_cost[end] = between, between_steps, table[at, between]
        tried[end], over, guess = price, (taken - left) / (left + 1), 0.0
        left, span = (left, taken) if end else (left - taken, span - taken)
        if side < 0:  # the second guess is to lie on the other side
            guess = price * math.exp(min(0.5, max(0.1, 2 * abs(over))) * (1 if end else -1))
        elif end != side and min(tried) and len(rows) > FEW:  # steps fall evenly with the price
            guess = tried[0] + (tried[1] - tried[0]) * left / span
        side = end
        still = np.flatnonzero(ends[0] < ends[1])
        if 2 * len(still) <= len(rows):
            few[rows], many[rows] = ends
            rows, table, number, at = rows[still], table[still], number[still], at[: len(still)]
            ends, ends_cost, ends_steps = ends[:, still], ends_cost[:, still], ends_steps[:, still]
            weight = weight if steps is None else weight[still]
    few[rows], many[rows] = ends
    still = np.flatnonzero(ends[0] < ends[1])
    price = float(number[still] @ (ends_cost[0, still] - ends_cost[1, still]) / span)
    # at delta both choices are optimal for each user: move users from few to many while they fit
    step = np.maximum(steps_of(many, steps) - steps_of(few, steps), 0)
    before = np.cumsum(count * step) - count * step
    moved = np.clip((left - before) // np.maximum(step, 1), 0, count)
    if len(short := np.flatnonzero((moved < count) & (step > 0))):
        moved[short[0] + 1 :] = 0
    return Split(price, few, many, np.where(step > 0, moved, 0))


def _by_chords(cost: FloatArray, steps: IntArray, count: IntArray, left: float) -> float:
    """About the price at which all take ``left`` steps more than the first of two choices.

    ``cost`` and ``steps``, shape (2, rows), are those of both; who saves most by a step comes
    first, and takes all of the second.
    """
    span = steps[1] - steps[0]
    chord = (cost[0] - cost[1]) / span
    order = np.argsort(-chord)
    last = int(np.searchsorted(np.cumsum((count * span)[order]), left, side="right"))
    return max(float(chord[order[last]]), 0.0)


def steps_of(columns: IntArray, steps: IntArray | None) -> IntArray:
    """The steps of one option of each row, shape (rows,), as :func:`relax` takes them."""
    return columns if steps is None else steps[np.arange(len(columns)), columns]
