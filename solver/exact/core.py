"""The core of P1: dynamic programming over the users whose choice the relaxation leaves open.

Pisinger's expanding core, for curves of any shape. ``cost``, shape (rows, 1 + steps), is R~ with s
edge steps in column s; a *group* is a number of users that share a row of it and start with the
same choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.columnar import FloatArray, IntArray
from solver.exact.duplicates import hashes

#: The options of one item class: (shift in steps, change of the cost).
Options = Sequence[tuple[int, float]]


class Changes(NamedTuple):
    """One user of ``group[i]`` takes ``shift[i]`` steps more than at the start, for every i.

    ``gap`` is the distance of that choice from the relaxation, and ``proven`` the largest distance
    that it can have from the optimum.
    """

    group: IntArray
    shift: IntArray
    gap: float
    proven: float


#: Additions that one dynamic program may take: about ten seconds.
MOST_WORK = 2_000_000_000


def search(
    cost: FloatArray,
    price: float,
    row: IntArray,
    start: IntArray,
    copies: IntArray,
    spare: int,
) -> Changes:
    """The best changes to ``start``, which is optimal at ``price`` and leaves ``spare`` edge steps.

    ``row``, ``start`` and ``copies`` have shape (groups,). ``proven`` is 0 unless the proof would
    take more than :data:`MOST_WORK` additions.

    What an option costs at ``price`` beyond the user's best is lost for good, and an unused step
    loses ``price``: no option that alone loses more than some known choice does in all can be part
    of a better one. So dynamic programming over a few users, those whose next options lose least,
    gives a choice that closes most options, until all that are open fit in.
    """
    group, shift, gap = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), price * spare
    current = cost[row, start]
    rounding = 1e-12 * (np.abs(current) + price * cost.shape[1])
    nearest = np.where(copies > 0, _least_loss(cost, price, row, start) - rounding, np.inf)
    size = 32
    while gap > 1e-15 * (copies * np.abs(current)).sum():
        core = np.flatnonzero(nearest <= gap * (1 + 1e-9))
        if not len(core):
            return Changes(group, shift, gap, 0.0)
        pool = core[np.argsort(nearest[core], kind="stable")[: 4 * size]]
        move = np.arange(cost.shape[1]) - start[pool, None]
        change = cost[row[pool]] - current[pool, None]
        loss = change + price * move
        # while there are more, only the options that lose about as little as the best of those that
        # are looked at
        within = gap if len(pool) == len(core) else min(gap, 2 * (nearest + rounding)[pool[size]])
        free = (move != 0) & (loss <= within * (1 + 1e-9) + rounding[pool, None])
        # more steps only for less cost
        free[:, 1:] &= change[:, 1:] < np.minimum.accumulate(change, axis=1)[:, :-1]
        # Of the optima take one that differs from `start` in the fewest users. No set of its
        # changes sums to 0 steps, as undoing them would cost nothing. So, ordered to alternate
        # around 0 (Steinitz), the running sums of the changes all differ, and
        # -far < sum <= max(far, spare): there are fewer than `most` changes, and of equal users no
        # more matter. The increases and the decreases sum to less than most x far, and nearly
        # cancel: either is below `reach`.
        far = int(np.abs(move[free]).max(initial=0))
        most = far + max(far, spare)
        reach = (most * far + spare) // 2 + 1
        number, sorted_loss = np.where(free.any(axis=1), copies[pool], 0), nearest[pool]
        # equal users lose equally: if there are no more than `most` of these, there is nothing to
        # look for
        if (
            number.max() > 1
            or (sorted_loss[most:] - sorted_loss[:-most] <= 4 * rounding[pool].max()).any()
        ):
            unit = np.exp2(np.ceil(np.log2(rounding[pool, None])))
            number = _at_most_alike(
                hashes([start[pool], np.where(free, np.rint(change / unit) * unit, np.inf)]),
                number,
                most,
            )
        of = np.repeat(np.arange(len(pool)), number)
        whole = len(pool) == len(core) and len(of) <= size
        of = of[:size]
        options = [
            [(move[index, s], change[index, s]) for s in np.flatnonzero(free[index])]
            for index in of
        ]
        below, above = (
            min(reach, int(ends.max(axis=1, initial=0)[of].sum()))
            for ends in (-move * free, move * free)
        )
        if sum(map(len, options)) * (below + above) > MOST_WORK:
            return Changes(group, shift, gap, gap)
        taken = knapsack(options, spare, below, above)
        gap = float(loss[of, start[pool[of]] + taken].sum() + price * (spare - taken.sum()))
        group, shift = pool[of[taken != 0]], taken[taken != 0]
        if whole:
            break
        size *= 4
    return Changes(group, shift, gap, 0.0)


def _least_loss(
    cost: FloatArray, price: float, row: IntArray, start: IntArray, size: int = 2048
) -> FloatArray:
    """What the best other option of each group costs more than ``start`` at ``price``."""
    least = np.empty(len(row))
    for at in range(0, len(row), size):  # so many at once as a cache holds
        here = slice(at, at + size)
        priced, each = cost[row[here]] + price * np.arange(cost.shape[1]), np.arange(len(row[here]))
        now = priced[each, start[here]]
        priced[each, start[here]] = np.inf
        least[here] = priced.min(axis=1) - now
    return least


def _at_most_alike(alike: NDArray[np.uint64], copies: IntArray, most: int) -> IntArray:
    """``copies``, cut so that those of equal ``alike`` are ``most`` in all."""
    order = np.argsort(alike, kind="stable")
    before = np.cumsum(copies[order]) - copies[order]
    first = np.flatnonzero(np.diff(alike[order], prepend=alike[order][:1] + 1))
    before -= np.repeat(before[first], np.diff(first, append=len(order)))
    cut = np.empty_like(copies)
    cut[order] = np.clip(most - before, 0, copies[order])
    return cut


def knapsack(options: Sequence[Options], spare: int, below: int, above: int) -> IntArray:
    """Which option (shift, change) each class takes, if any, for the least sum of changes with the
    sum of shifts <= spare.

    Returns the shifts taken, integers of either sign, 0 for none. Only sums from ``-below`` to
    ``above`` are looked at.
    """
    value = np.full(below + 1 + above, np.inf)  # the least change for each sum of shifts
    value[below] = 0.0
    furthest = max((abs(shift) for choices in options for shift, _ in choices), default=0)
    picks = np.zeros((len(options), len(value)), dtype=np.min_scalar_type(-furthest - 1))
    for pick, choices in zip(picks, options):
        best = value.copy()
        for shift, change in choices:
            source = slice(max(0, -shift), len(value) - max(0, shift))
            target = slice(max(0, shift), len(value) + min(0, shift))
            other = value[source] + change
            better = other < best[target]
            best[target][better] = other[better]
            pick[target][better] = shift
        value = best
    taken = np.zeros(len(options), dtype=np.int64)
    at = int(value[: below + 1 + min(above, spare)].argmin())
    for index in reversed(range(len(options))):
        taken[index] = picks[index, at]
        at -= taken[index]
    return taken
