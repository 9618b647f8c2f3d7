"""P1 to proven optimality: Lagrangian relaxation of (1), then dynamic programming over what it leaves open.

Curves may have any shape. ``cost``, shape (users, 1 + steps), is R~ with s edge steps in column s, as in
:class:`solver.choices.Choices`.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from solver.choices import Choices, relax


def exact(problem):
    """The optimal :class:`~solver.allocation.Allocation`: gap 0, ``lower_bound`` = ``objective``, by exhaustion.

    Raises InputError if the problem is infeasible.
    """
    choices = Choices.of(problem)
    price, start = relax(choices.cost, choices.budget)
    weight = search(choices.cost, choices.budget, price, start)
    found = choices.allocation(weight, "exact", status="optimal", edge_price=price)
    return replace(found, lower_bound=found.objective, gap=0.0)


def search(cost, budget, price, start):
    """The best choice of steps, shape (users,), with sum <= budget, from a ``start`` that is optimal at ``price``.

    What an option costs at ``price`` beyond the UE's best is lost for good, and an unused step loses ``price``: no option
    that alone loses more than some known choice does in all can be part of a better one. So dynamic programming over a few
    UEs, those whose next options lose least, gives a choice that closes most options, until all that are open fit in.
    """
    steps, rows = np.arange(cost.shape[1]), np.arange(len(cost))
    shift, change = steps - start[:, None], cost - cost[rows, start, None]
    loss = cost + price * steps
    loss -= loss.min(axis=1, keepdims=True)
    rounding = 1e-12 * (np.abs(cost).max(axis=1, initial=0.0, where=np.isfinite(cost)) + price * steps[-1])[:, None]
    free = np.isfinite(cost)
    free[:, 1:] &= cost[:, 1:] < np.minimum.accumulate(cost, axis=1)[:, :-1]  # more steps only for less cost
    free[rows, start] = False  # from here on the options other than `start`
    spare, weight, size = int(budget - start.sum()), start, 32
    while True:
        gap = loss[rows, weight].sum() + price * int(budget - weight.sum())
        free &= loss <= gap * (1 + 1e-9) + rounding
        core = np.flatnonzero(free.any(axis=1))
        if gap == 0 or not len(core):
            return weight
        # Of the optima take one that differs from `start` in the fewest UEs. No set of its changes sums to 0 steps, as
        # undoing them would cost nothing. So, ordered to alternate around 0 (Steinitz), the running sums of the changes all
        # differ, and -far < sum <= max(far, spare): there are fewer than `most` changes, and of equal UEs no more matter.
        # The increases and the decreases sum to less than most x far, and nearly cancel: either is below `reach`.
        far = int(np.abs(shift[free]).max())
        most = far + max(far, spare)
        reach = (most * far + spare) // 2 + 1
        core = core[_first_of_a_kind(np.where(free[core], change[core], np.inf), most)]
        nearest = np.where(free[core], loss[core], np.inf).min(axis=1)
        some = core[np.argsort(nearest, kind="stable")[:size]]
        options = [[(shift[user, s], change[user, s]) for s in np.flatnonzero(free[user])] for user in some]
        weight = start.copy()
        weight[some] += knapsack(options, spare, reach)
        if len(some) == len(core):
            return weight
        size *= 4


def knapsack(options, spare, reach):
    """Which option (shift, change) each class takes, if any, for the least sum of changes with the sum of shifts <= spare.

    Returns the shifts taken, integers of either sign, 0 for none. Sums of more than ``reach`` either way are not looked at.
    """
    lowest, highest = (sum(end([0, *(shift for shift, _ in some)]) for some in options) for end in (min, max))
    below, above = min(reach, -lowest), min(reach, highest)
    value = np.full(below + 1 + above, np.inf)  # the least change for each sum of shifts
    value[below] = 0.0
    furthest = max(abs(shift) for some in options for shift, _ in some)
    picks = np.zeros((len(options), len(value)), dtype=np.min_scalar_type(-furthest - 1))
    for pick, some in zip(picks, options):
        best = value.copy()
        for shift, change in some:
            here = slice(max(0, -shift), len(value) - max(0, shift))
            there = slice(max(0, shift), len(value) + min(0, shift))
            other = value[here] + change
            better = other < best[there]
            best[there][better] = other[better]
            pick[there][better] = shift
        value = best
    taken = np.zeros(len(options), dtype=np.int64)
    at = int(value[: below + 1 + min(above, spare)].argmin())
    for index in reversed(range(len(options))):
        taken[index] = picks[index, at]
        at -= taken[index]
    return taken


def _first_of_a_kind(matrix, most):
    """A mask of the rows of ``matrix`` that leaves at most ``most`` of any that are equal."""
    seen, mask = Counter(), np.empty(len(matrix), dtype=bool)
    for index, row in enumerate(matrix):
        key = row.tobytes()
        seen[key] += 1
        mask[index] = seen[key] <= most
    return mask
