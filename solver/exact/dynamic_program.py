"""Dynamic programming over the item classes of the core, with the states that no bound excludes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.columnar import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ItemClass:
    """The options of one user: ``moves`` in steps and ``changes`` of the cost; first (0, 0)."""

    moves: IntArray
    changes: FloatArray

    def losses(self, price: float) -> FloatArray:
        """What the options cost when a step costs ``price``."""
        return self.changes + price * self.moves


@dataclass
class Allowance:
    """Additions, and bytes of one program, that are still allowed."""

    additions: int
    bytes: int

    @property
    def spent(self) -> bool:
        """Whether a program had to stop."""
        return min(self.additions, self.bytes) < 0


@dataclass(frozen=True, eq=False)
class Rest:
    """What the classes after each one can still do; shape (classes,), from the suffixes.

    ``down`` and ``up`` are the most steps that they can give back and take, ``give`` and ``take``
    the least loss for each step of it, and ``nearest`` the least loss of any of their options.
    """

    down: IntArray
    up: IntArray
    give: FloatArray
    take: FloatArray
    nearest: FloatArray

    @classmethod
    def of(cls, classes: Sequence[ItemClass], price: float) -> "Rest":
        down, up = np.zeros((2, len(classes)), dtype=np.int64)
        give, take, nearest = np.full((3, len(classes)), np.inf)
        for k in range(len(classes) - 1, 0, -1):
            moves, losses = classes[k].moves, classes[k].losses(price)
            rates = losses[1:] / np.abs(moves[1:])
            down[k - 1] = down[k] + max(0, -int(moves.min()))
            up[k - 1] = up[k] + max(0, int(moves.max()))
            give[k - 1] = min(give[k], rates[moves[1:] < 0].min(initial=np.inf))
            take[k - 1] = min(take[k], rates[moves[1:] > 0].min(initial=np.inf))
            nearest[k - 1] = min(nearest[k], losses[1:].min(initial=np.inf))
        return cls(down, up, give, take, nearest)


def best_changes(
    classes: Sequence[ItemClass],
    spare: int,
    price: float,
    limit: float,
    slack: float,
    reach: int,
    allowance: Allowance,
) -> list[int] | None:
    """The option of each class that loses least in all, with at most ``spare`` steps more.

    A choice loses the losses of its options, and ``price`` for each of the ``spare`` steps that it
    leaves unused. Only choices that lose less than ``limit`` matter, and only sums of moves from
    -``reach`` to ``reach``. A state is dropped if, with the least that the classes after it must
    lose, it exceeds the best choice so far by more than ``slack``, the rounding. Returns the index
    of each class's option, or None if no choice loses less than ``limit``. When ``allowance`` is
    spent the answer is the best so far.
    """
    rest, best = Rest.of(classes, price), limit
    low, value = 0, np.zeros(1)  # value[t - low]: the least change of the cost with t steps more
    lows, picks, answer = [], [], None
    for k, item in enumerate(classes):
        high = low + len(value) - 1
        # t below `floor` leaves too many steps unused, whatever follows
        floor = spare - int(min((best + slack) / price, 2.0**62)) - int(rest.up[k]) - 1
        new_low = max(low + int(item.moves.min()), -reach, floor)
        new_high = min(high + int(item.moves.max()), reach, spare + int(rest.down[k]))
        if new_high < new_low:
            break
        width = new_high - new_low + 1
        allowance.additions -= width * (len(item.moves) + 3)
        allowance.bytes -= width * (1 if len(item.moves) <= 255 else 2)
        if allowance.spent:
            break
        new = np.full(width, np.inf)
        pick = np.zeros(width, dtype=np.uint8 if len(item.moves) <= 255 else np.uint16)
        for option, (move, change) in enumerate(zip(item.moves.tolist(), item.changes.tolist())):
            first, last = max(low + move, new_low), min(high + move, new_high)
            if first > last:
                continue
            source = value[first - move - low : last - move - low + 1]
            target = slice(first - new_low, last - new_low + 1)
            total = source + change
            better = total < new[target]
            np.copyto(new[target], total, where=better)
            np.copyto(pick[target], option, where=better)
        over = np.arange(new_low - spare, new_high - spare + 1, dtype=np.float64)
        bound = new + price * over + price * spare  # the losses so far
        within = len(over) - max(0, new_high - spare)  # states that keep the budget
        if within > 0:
            index = int(new[:within].argmin())
            if (loss := float(new[index] + price * spare)) < best:
                best, answer = loss, (k, new_low + index)
        cheapest_unused = min(price, float(rest.take[k]))
        with np.errstate(invalid="ignore"):
            bound[:within] -= cheapest_unused * over[:within]
            bound[within:] += float(min(rest.give[k], 1e300)) * over[within:]
        alive = np.flatnonzero(bound <= best + slack)
        lows.append(new_low)
        picks.append(pick)
        if not len(alive) or rest.nearest[k] > best + slack:
            break
        low, value = new_low + int(alive[0]), new[alive[0] : alive[-1] + 1]
    if answer is None:
        return None
    last_class, t = answer
    taken = [0] * len(classes)
    for k in range(last_class, -1, -1):
        taken[k] = int(picks[k][t - lows[k]])
        t -= int(classes[k].moves[taken[k]])
    return taken
