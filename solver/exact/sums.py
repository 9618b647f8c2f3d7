"""Dynamic programming over vectors of sums: the weights of several limits."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solver import limits
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.exact.losses import Losses

#: What a new state costs, in additions: it is hashed and sorted.
STATE = 30


@dataclass(frozen=True, eq=False)
class Program:
    """Users with open entries: ``moves`` of the sums from the start, shape (entries, limits).

    ``losses`` has shape (entries,); ``spare`` is what the start leaves of each limit, at ``price``.
    """

    entries: list[IntArray]
    moves: list[IntArray]
    losses: list[FloatArray]
    own: FloatArray
    spare: IntArray
    price: FloatArray

    @classmethod
    def of(cls, losses: Losses, core: IntArray, is_open: BoolArray) -> "Program":
        """The program of the users ``core`` with their open entries."""
        entries = [np.flatnonzero(is_open[user]) for user in core]
        return cls(
            entries,
            [
                losses.weight[kept] - losses.weight[losses.start[user]]
                for user, kept in zip(core, entries, strict=True)
            ],
            [losses.loss[user, kept] for user, kept in zip(core, entries, strict=True)],
            losses.own[core],
            losses.spare,
            losses.price,
        )


class Answer(NamedTuple):
    """The best entry of each user, or None if no choice loses less than the limit.

    No choice of what was dropped loses less than ``floor``; inf: nothing that matters was dropped.
    """

    entries: IntArray | None
    floor: float
    additions: int


def best_sums(program: Program, limit: float, additions: int) -> Answer:
    """The choice that loses least in all, with sums of moves within ``spare``.

    It loses the losses of its entries, and ``price`` for what it leaves unused. Only choices that
    lose less than ``limit`` matter. A state is dropped if what is certain to follow takes it above:
    what of a limit the later users must give back, or take or leave unused. At most
    :data:`~solver.limits.SEARCH_STATES` states are kept, those with the lowest bounds.
    """
    count, size = len(program.moves), len(program.spare)
    down, up = np.zeros((2, count + 1, size), dtype=np.int64)
    give, take = np.full((2, count + 1, size), np.inf)
    later = np.zeros(count + 1)  # what the users after lose at the start
    for k in range(count - 1, -1, -1):
        moves, losses = program.moves[k], program.losses[k][:, None]
        down[k] = down[k + 1] + np.minimum(moves.min(axis=0), 0)
        up[k] = up[k + 1] + np.maximum(moves.max(axis=0), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = losses / np.abs(moves)
        give[k] = np.minimum(give[k + 1], np.where(moves < 0, rates, np.inf).min(axis=0))
        take[k] = np.minimum(take[k + 1], np.where(moves > 0, rates, np.inf).min(axis=0))
        later[k] = later[k + 1] + program.own[k]
    give, take = np.minimum(give, 1e300), np.minimum(take, program.price)
    sums, value = np.zeros((1, size), dtype=np.int64), np.zeros(1)
    history: list[tuple[IntArray, IntArray]] = []
    taken: tuple[int, int] | None = None
    spent, floor = 0, np.inf
    for k in range(count):
        moves, losses = program.moves[k], program.losses[k]
        spent += STATE * len(value) * len(moves)
        if spent > additions:
            floor = min(floor, 0.0)
            break
        new = (sums[:, None] + moves).reshape(-1, size)
        total = (value[:, None] + losses).ravel()
        left = program.spare - new
        bound = total + np.maximum(left - up[k + 1], 0) @ program.price
        if size:
            rate = np.where(left < 0, -give[k + 1], take[k + 1])
            bound = np.maximum(bound, total + (left * rate).max(axis=1))
        kept = np.flatnonzero((bound < limit) & (left >= down[k + 1]).all(axis=1))
        kept = kept[first_of_each(new[kept], total[kept])]
        if len(kept) > limits.SEARCH_STATES:
            order = bound[kept].argpartition(limits.SEARCH_STATES)
            floor = min(floor, float(bound[kept[order[limits.SEARCH_STATES :]]].min()))
            kept = np.sort(kept[order[: limits.SEARCH_STATES]])
        if not len(kept):
            break
        history.append((kept // len(moves), kept % len(moves)))
        sums, value = new[kept], total[kept]
        # with the users after at the start
        now = value + later[k + 1] + (program.spare - sums) @ program.price
        now[((program.spare - sums) < 0).any(axis=1)] = np.inf
        if now.min() < limit:
            limit, taken = float(now.min()), (k, int(now.argmin()))
    if taken is None:
        return Answer(None, floor, spent)
    last, state = taken
    picks = [int((moves == 0).all(axis=1).argmax()) for moves in program.moves]  # the start
    for k in range(last, -1, -1):
        before, option = history[k]
        picks[k], state = int(option[state]), int(before[state])
    entries = np.array([kept[pick] for kept, pick in zip(program.entries, picks, strict=True)])
    return Answer(entries, floor, spent)


def first_of_each(sums: IntArray, value: FloatArray) -> IntArray:
    """Of equal ``sums``, shape (states, limits), the index of the least ``value``; ascending."""
    if not len(sums):
        return np.empty(0, dtype=np.int64)
    low = sums.min(axis=0, initial=0)
    spans = (sums.max(axis=0, initial=0) - low + 1).astype(float)
    if spans.prod() < 2.0**62:
        key = np.zeros(len(sums), dtype=np.int64)
        for column, span in zip((sums - low).T, spans.astype(np.int64)):
            key = key * span + column
    else:
        key = np.unique(sums, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((value, key))
    first = np.flatnonzero(np.diff(key[order], prepend=key[order][:1] - 1))
    return np.sort(order[first])
