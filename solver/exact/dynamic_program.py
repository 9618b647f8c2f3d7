"""Dynamic programming over the item classes of the core, with the states that no bound excludes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray

#: States, of all classes together, of which none is dropped.
FEW_STATES = 100_000
#: States after one class of which none is dropped.
FEW = 200
#: Options that are looked at each by itself.
FEW_OPTIONS = 4


class ItemClasses(NamedTuple):
    """The options of users: ``moves`` in steps and ``changes`` of the cost, user after user.

    Those of user n are at ``first[n]`` to ``first[n + 1]``, and the first of them is (0, 0).
    """

    moves: IntArray
    changes: FloatArray
    first: IntArray

    @classmethod
    def of(cls, moves: IntArray, changes: FloatArray, kept: BoolArray) -> "ItemClasses":
        """The ``kept`` ones of ``moves`` and ``changes``, shape (users, options)."""
        row, column = np.nonzero(kept)
        at = np.arange(1, len(row) + 1) + row
        flat_moves = np.zeros(len(row) + len(kept), dtype=np.int64)
        flat_changes = np.zeros(len(flat_moves))
        flat_moves[at], flat_changes[at] = moves[row, column], changes[row, column]
        first = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum(np.count_nonzero(kept, axis=1) + 1, out=first[1:])
        return cls(flat_moves, flat_changes, first)


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
    """What each class and those after it can do; lists with one number for each class.

    ``fall`` and ``rise`` are the most steps that it can give back and take, ``down`` and ``up``
    what those after it can, ``give`` and ``take`` their least loss for each step of it, and
    ``nearest`` the least loss of any of their options.
    """

    fall: list[int]
    rise: list[int]
    down: list[int]
    up: list[int]
    give: list[float]
    take: list[float]
    nearest: list[float]

    @classmethod
    def of(cls, moves: IntArray, losses: FloatArray, kept: BoolArray) -> "Rest":
        """Of the ``kept`` options of classes, shape (classes, options)."""
        losses, moves = np.where(kept, losses, np.inf), np.where(kept, moves, 0)
        rates = losses / np.maximum(np.abs(moves), 1)
        fall, rise = -moves.min(axis=1, initial=0), moves.max(axis=1, initial=0)
        return cls(
            fall.tolist(),
            rise.tolist(),
            (fall.sum() - np.cumsum(fall)).tolist(),
            (rise.sum() - np.cumsum(rise)).tolist(),
            _least_after(np.where(moves < 0, rates, np.inf).min(axis=1)),
            _least_after(np.where(moves > 0, rates, np.inf).min(axis=1)),
            _least_after(losses.min(axis=1)),
        )


def _least_after(values: FloatArray) -> list[float]:
    return [*np.minimum.accumulate(values[:0:-1])[::-1].tolist(), np.inf]


def best_changes(
    classes: ItemClasses,
    rest: Callable[[], Rest],
    spare: int,
    price: float,
    limit: float,
    enough: float,
    slack: float,
    reach: int,
    allowance: Allowance,
) -> IntArray | None:
    """The option of each class that loses least in all, with at most ``spare`` steps more.

    A choice loses the losses of its options, and ``price`` for each of the ``spare`` steps that it
    leaves unused. Only choices that lose less than ``limit`` matter, and only sums of moves from
    -``reach`` to ``reach``. Of many states one is dropped if, with the least that the classes after
    it must lose, which ``rest`` says, it exceeds the best choice so far by more than ``slack``, the
    rounding; and a choice that loses ``enough`` or less is then not improved. Returns the index in
    ``classes`` of the option of each class, of those after none, or None if no choice loses less
    than ``limit``. When ``allowance`` is spent the answer is the best so far.
    """
    if len(classes.first) == 1:
        return None
    # what each class and those before it can give back and take, so that those after it can fit
    fall = np.minimum.reduceat(classes.moves, classes.first[:-1]).cumsum()
    rise = np.maximum.reduceat(classes.moves, classes.first[:-1]).cumsum()
    low = np.maximum(fall, -reach)
    high = np.minimum(np.minimum(rise, reach), spare + fall - fall[-1])
    width = int(high.max() - low[-1]) + 1
    states, additions = len(classes.first) * width, width * len(classes.moves)
    if states <= FEW_STATES and additions <= allowance.additions and 8 * states <= allowance.bytes:
        allowance.additions -= additions
        return _of_all_states(classes, low, high, limit - price * spare)
    return _of_few_states(classes, rest(), spare, price, limit, enough, slack, reach, allowance)


def _of_all_states(
    classes: ItemClasses, low: IntArray, high: IntArray, limit: float
) -> IntArray | None:
    """The options that change the cost least in all, and by less than ``limit``.

    After class k the sums of moves are ``low[k]`` to ``high[k]``.
    """
    moves, costs, firsts = (column.tolist() for column in classes)
    shift, change = classes.moves[:, None], classes.changes[:, None]
    count, zero = len(low), int(-low[-1] + max(-classes.moves.min(), classes.moves.max()))
    # value[k, zero + t]: the least change of the cost with t steps more by k classes
    value = np.full((count + 1, 2 * zero + int(high.max()) + 1), np.inf)
    value[0, zero] = 0.0
    spans = zip((zero + low).tolist(), (zero + high + 1).tolist(), strict=True)
    for old, new, first, last, (start, end) in zip(value, value[1:], firsts, firsts[1:], spans):
        if start >= end:
            return None
        new = new[start:end]
        if last - first > FEW_OPTIONS:  # at once, as a call takes longer than the sums
            total = old[np.arange(start, end) - shift[first:last]]
            total += change[first:last]
            np.minimum.reduce(total, axis=0, out=new)
            continue
        least = old[start:end]  # the first option is none
        for move, cost in zip(moves[first + 1 : last], costs[first + 1 : last], strict=True):
            least = np.minimum(least, old[start - move : end - move] + cost, out=new)
        if last - first == 1:
            new[:] = least
    at = int(value[count].argmin())
    if not value[count, at] < limit:
        return None
    taken = []
    for k in range(count - 1, -1, -1):
        option = firsts[k]
        while value[k, at - moves[option]] + costs[option] != value[k + 1, at]:
            option += 1
        taken.append(option)
        at -= moves[option]
    return np.array(taken[::-1])


def _of_few_states(
    classes: ItemClasses,
    rest: Rest,
    spare: int,
    price: float,
    limit: float,
    enough: float,
    slack: float,
    reach: int,
    allowance: Allowance,
) -> IntArray | None:
    """:func:`best_changes` of many states, most of which are dropped."""
    # value[t - low]: the least change of the cost with t steps more
    best, low, value = limit, 0, np.zeros(1)
    firsts, lasts = classes.first[:-1].tolist(), classes.first[1:].tolist()
    moves, changes = classes.moves.tolist(), classes.changes.tolist()
    lows, picks, answer = [], [], None
    for k, (first, last) in enumerate(zip(firsts, lasts)):
        number, high = last - first, low + len(value) - 1
        # t below `floor` leaves too many steps unused, whatever follows
        floor = spare - int(min((best + slack) / price, 2.0**62)) - rest.up[k] - 1
        new_low = max(low - rest.fall[k], -reach, floor)
        new_high = min(high + rest.rise[k], reach, spare + rest.down[k])
        if new_high < new_low:
            break
        width = new_high - new_low + 1
        allowance.additions -= width * (number + 3)
        kind = np.min_scalar_type(number - 1)
        allowance.bytes -= width * kind.itemsize
        if allowance.spent:
            break
        new, pick = np.full(width, np.inf), np.zeros(width, dtype=kind)
        for option in range(number):
            move = moves[first + option]
            start, end = max(low + move, new_low), min(high + move, new_high) + 1
            if start < end:
                total = value[start - move - low : end - move - low] + changes[first + option]
                target = slice(start - new_low, end - new_low)
                better = total < new[target]
                np.copyto(new[target], total, where=better)
                np.copyto(pick[target], option, where=better)
        value = new
        low = new_low
        lows.append(low)
        picks.append(pick)
        if width < FEW and k < len(firsts) - 1:
            continue  # looking for states to drop takes longer than keeping them
        over = np.arange(low - spare, low + width - spare, dtype=np.float64)
        bound = value + price * over + price * spare  # the losses so far
        within = width - min(width, max(0, low + width - 1 - spare))  # states that keep the budget
        if within > 0:
            index = int(value[:within].argmin())
            if (loss := float(value[index] + price * spare)) < best:
                best, answer = loss, (k, low + index)
        bound[:within] -= min(price, rest.take[k]) * over[:within]
        bound[within:] += min(rest.give[k], 1e300) * over[within:]
        alive = np.flatnonzero(bound <= best + slack)
        if not len(alive) or rest.nearest[k] > best + slack or best <= enough:
            break
        low, value = low + int(alive[0]), value[alive[0] : alive[-1] + 1]
    if answer is None:
        return None
    last_class, t = answer
    taken = np.empty(last_class + 1, dtype=np.int64)
    for k in range(last_class, -1, -1):
        taken[k] = firsts[k] + int(picks[k][t - lows[k]])
        t -= int(classes.moves[taken[k]])
    return taken
