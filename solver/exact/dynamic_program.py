"""Dynamic programming over the item classes of the core, with the states that no bound excludes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.columnar import BoolArray, FloatArray, IntArray

#: States x options that are looked at in one piece.
SMALL = 20_000
#: States of which none is dropped.
FEW_STATES = 200


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
    """What the classes after each one can still do; shape (classes,).

    ``down`` and ``up`` are the most steps that they can give back and take, ``give`` and ``take``
    the least loss for each step of it, and ``nearest`` the least loss of any of their options.
    """

    down: IntArray
    up: IntArray
    give: FloatArray
    take: FloatArray
    nearest: FloatArray

    @classmethod
    def of(cls, moves: IntArray, losses: FloatArray, kept: BoolArray, member: IntArray) -> "Rest":
        """``moves``, ``losses`` and ``kept`` options of users, shape (users, options).

        ``member``, shape (classes,), is the user of each class.
        """
        losses = np.where(kept, losses, np.inf)
        rates = losses / np.maximum(np.abs(moves), 1)
        return cls(
            down=_sum_after(np.where(kept, -moves, 0).max(axis=1, initial=0)[member]),
            up=_sum_after(np.where(kept, moves, 0).max(axis=1, initial=0)[member]),
            give=_least_after(np.where(moves < 0, rates, np.inf).min(axis=1)[member]),
            take=_least_after(np.where(moves > 0, rates, np.inf).min(axis=1)[member]),
            nearest=_least_after(losses.min(axis=1)[member]),
        )


def _sum_after(values: IntArray) -> IntArray:
    return values.sum() - np.cumsum(values)


def _least_after(values: FloatArray) -> FloatArray:
    return np.append(np.minimum.accumulate(values[:0:-1])[::-1], np.inf)


def _with_class(
    value: FloatArray, low: int, item: ItemClass, new_low: int, new_high: int
) -> tuple[FloatArray, NDArray[np.unsignedinteger]]:
    """The least change for ``new_low`` to ``new_high`` steps more, and the option that gives it.

    ``value`` holds that from ``low`` on, without the class; of equally good options the first.
    """
    width, kind = new_high - new_low + 1, np.min_scalar_type(len(item.moves) - 1)
    if (
        width * len(item.moves) <= SMALL
    ):  # all options at once, as a call takes longer than the sums
        source = np.arange(new_low - low, new_high - low + 1) - item.moves[:, None]
        before, after = max(0, -int(source.min())), max(0, int(source.max()) + 1 - len(value))
        padded = np.full(before + len(value) + after, np.inf)
        padded[before : before + len(value)] = value
        total = padded[source + before] + item.changes[:, None]
        best = total.argmin(axis=0)
        return total[best, np.arange(width)], best.astype(kind)
    new, pick = np.full(width, np.inf), np.zeros(width, dtype=kind)
    for option, (move, change) in enumerate(zip(item.moves.tolist(), item.changes.tolist())):
        first, last = max(low + move, new_low), min(low + len(value) - 1 + move, new_high)
        if first <= last:
            total = value[first - move - low : last - move - low + 1] + change
            target = slice(first - new_low, last - new_low + 1)
            better = total < new[target]
            np.copyto(new[target], total, where=better)
            np.copyto(pick[target], option, where=better)
    return new, pick


def best_changes(
    classes: Sequence[ItemClass],
    rest: Rest,
    spare: int,
    price: float,
    limit: float,
    enough: float,
    slack: float,
    reach: int,
    allowance: Allowance,
) -> list[int] | None:
    """The option of each class that loses least in all, with at most ``spare`` steps more.

    A choice loses the losses of its options, and ``price`` for each of the ``spare`` steps that it
    leaves unused. Only choices that lose less than ``limit`` matter, and only sums of moves from
    -``reach`` to ``reach``. A state is dropped if, with the least that the classes after it must
    lose, it exceeds the best choice so far by more than ``slack``, the rounding; and a choice that
    loses ``enough`` or less is not improved. Returns the index
    of each class's option, or None if no choice loses less than ``limit``. When ``allowance`` is
    spent the answer is the best so far.
    """
    best, low, value = (
        limit,
        0,
        np.zeros(1),
    )  # value[t - low]: the least change of the cost with t steps more
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
        allowance.bytes -= width * np.min_scalar_type(len(item.moves) - 1).itemsize
        if allowance.spent:
            break
        new, pick = _with_class(value, low, item, new_low, new_high)
        lows.append(new_low)
        picks.append(pick)
        low, value = new_low, new
        if width < FEW_STATES and k < len(classes) - 1:
            continue  # looking for states to drop takes longer than keeping them
        over = np.arange(low - spare, low + width - spare, dtype=np.float64)
        bound = value + price * over + price * spare  # the losses so far
        within = width - min(width, max(0, low + width - 1 - spare))  # states that keep the budget
        if within > 0:
            index = int(value[:within].argmin())
            if (loss := float(value[index] + price * spare)) < best:
                best, answer = loss, (k, low + index)
        bound[:within] -= min(price, float(rest.take[k])) * over[:within]
        bound[within:] += min(float(rest.give[k]), 1e300) * over[within:]
        alive = np.flatnonzero(bound <= best + slack)
        if not len(alive) or rest.nearest[k] > best + slack or best <= enough:
            break
        low, value = low + int(alive[0]), value[alive[0] : alive[-1] + 1]
    if answer is None:
        return None
    last_class, t = answer
    taken = [0] * len(classes)
    for k in range(last_class, -1, -1):
        taken[k] = int(picks[k][t - lows[k]])
        t -= int(classes[k].moves[taken[k]])
    return taken
