"""Dynamic programming over the item classes of the core, with the states that no bound excludes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.columnar import BoolArray, FloatArray, IntArray

#: States x options that are looked at in one piece.
SMALL = 20_000
#: Options that are looked at each by itself.
FEW_OPTIONS = 3
#: States of which none is dropped.
FEW_STATES = 200


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
    def of(cls, moves: IntArray, losses: FloatArray, kept: BoolArray, member: IntArray) -> "Rest":
        """``moves``, ``losses`` and ``kept`` options of users, shape (users, options).

        ``member``, shape (classes,), is the user of each class.
        """
        losses, moves = np.where(kept, losses, np.inf), np.where(kept, moves, 0)
        rates = losses / np.maximum(np.abs(moves), 1)
        fall, rise = -moves.min(axis=1, initial=0)[member], moves.max(axis=1, initial=0)[member]
        return cls(
            fall.tolist(),
            rise.tolist(),
            (fall.sum() - np.cumsum(fall)).tolist(),
            (rise.sum() - np.cumsum(rise)).tolist(),
            _least_after(np.where(moves < 0, rates, np.inf).min(axis=1)[member]),
            _least_after(np.where(moves > 0, rates, np.inf).min(axis=1)[member]),
            _least_after(losses.min(axis=1)[member]),
        )


def _least_after(values: FloatArray) -> list[float]:
    return [*np.minimum.accumulate(values[:0:-1])[::-1].tolist(), np.inf]


def _with_class(
    value: FloatArray,
    low: int,
    moves: IntArray,
    changes: FloatArray,
    span: tuple[int, int],
    new_span: tuple[int, int],
) -> tuple[FloatArray, NDArray[np.unsignedinteger]]:
    """The least change for each of ``new_span`` steps more, and the option that gives it.

    ``value`` holds that from ``low`` on, without the class, whose ``moves`` have the ``span``; of
    equally good options the first.
    """
    new_low, new_high = new_span
    width, kind = new_high - new_low + 1, np.min_scalar_type(len(moves) - 1)
    if len(moves) > FEW_OPTIONS and width * len(moves) <= SMALL:
        # all options at once, as a call takes longer than the sums
        before = max(0, low + span[1] - new_low)
        after = max(0, new_high - span[0] - (low + len(value) - 1))
        padded = np.full(before + len(value) + after, np.inf)
        padded[before : before + len(value)] = value
        source = np.arange(new_low - low + before, new_high - low + before + 1)
        total = padded[source - moves[:, None]]
        total += changes[:, None]
        return total.min(axis=0), total.argmin(axis=0).astype(kind)
    new, pick = np.full(width, np.inf), np.zeros(width, dtype=kind)
    for option, (move, change) in enumerate(zip(moves.tolist(), changes.tolist())):
        first, last = max(low + move, new_low), min(low + len(value) - 1 + move, new_high)
        if first <= last:
            total = value[first - move - low : last - move - low + 1] + change
            target = slice(first - new_low, last - new_low + 1)
            if not option:  # the first
                new[target] = total
                continue
            better = total < new[target]
            np.copyto(new[target], total, where=better)
            np.copyto(pick[target], option, where=better)
    return new, pick


def best_changes(
    classes: ItemClasses,
    member: IntArray,
    rest: Rest,
    spare: int,
    price: float,
    limit: float,
    enough: float,
    slack: float,
    reach: int,
    allowance: Allowance,
) -> IntArray | None:
    """The option of each class that loses least in all, with at most ``spare`` steps more.

    There is a class for each of the users ``member``. A choice loses the losses of its options,
    and ``price`` for each of the ``spare`` steps that it leaves unused. Only choices that lose less
    than ``limit`` matter, and only sums of moves from -``reach`` to ``reach``. A state is dropped
    if, with the least that the classes after it must lose, it exceeds the best choice so far by
    more than ``slack``, the rounding; and a choice that loses ``enough`` or less is not improved.
    Returns the index in ``classes`` of the option of each class, of those after none, or None if no
    choice loses less than ``limit``. When ``allowance`` is spent the answer is the best so far.
    """
    # value[t - low]: the least change of the cost with t steps more
    best, low, value = limit, 0, np.zeros(1)
    firsts, lasts = classes.first[member].tolist(), classes.first[member + 1].tolist()
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
        allowance.bytes -= width * np.min_scalar_type(number - 1).itemsize
        if allowance.spent:
            break
        value, pick = _with_class(
            value,
            low,
            classes.moves[first:last],
            classes.changes[first:last],
            (-rest.fall[k], rest.rise[k]),
            (new_low, new_high),
        )
        low = new_low
        lows.append(low)
        picks.append(pick)
        if width < FEW_STATES and k < len(firsts) - 1:
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
