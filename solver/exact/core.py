"""The core of P1: dynamic programming over the users whose choice the relaxation leaves open.

Pisinger's expanding core, for curves of any shape. A row of ``cost`` is R~ of the options of a
user; a *group* is a number of users that share a row of it and start with the same choice. What an
option costs at the price of an edge step beyond the user's start is its *loss*: it is lost for
good, and an unused step loses the price. So no option that alone loses more than some known choice
does in all can be part of a better one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from solver import limits
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.exact.duplicates import hashes
from solver.exact.dynamic_program import Allowance, ItemClasses, Rest, best_changes
from solver.exact.lattice import common_divisor, quantum

EPS = float(np.finfo(np.float64).eps)
#: Groups that are looked at together: about what a cache holds.
CHUNK = 2048
#: Groups, and moves, that are tried in pairs.
MOST_PAIRED = 64


class Changes(NamedTuple):
    """One user of ``group[i]`` takes ``shift[i]`` steps more than at the start, for every i.

    ``gap`` is the distance of that choice from the relaxation, and ``proven`` the largest distance
    that it can have from the optimum, rounding included. ``stopped``: for want of additions.
    """

    group: IntArray
    shift: IntArray
    gap: float
    proven: float
    stopped: bool = False


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of the core at a price; arrays of shape (groups,) but for ``cost`` and ``steps``.

    Those have shape (rows, options): ``steps`` are the edge steps of each option, if not 0, 1, ...
    A group starts with the option ``start`` of its ``row``.
    """

    cost: FloatArray
    price: float
    row: IntArray
    start: IntArray
    steps: IntArray | None = None

    def part(self, index: IntArray) -> "Groups":
        """The groups ``index``."""
        return Groups(self.cost, self.price, self.row[index], self.start[index], self.steps)

    @cached_property
    def _all(self) -> tuple[IntArray, FloatArray, FloatArray]:
        return self._options(self.row, self.start)

    def options(self, index: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Move in steps, change of the cost, and loss of every option of the groups ``index``.

        Shape (index, options). Differences are taken first, so that a large cost that all options
        share rounds nothing away.
        """
        if len(self.row) > CHUNK:
            return self._options(self.row[index], self.start[index])
        move, change, loss = self._all
        return move[index], change[index], loss[index]

    def _options(self, row: IntArray, start: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
        cost, at = self.cost[row], np.arange(len(row))
        if self.steps is None:
            move = np.arange(cost.shape[1]) - start[:, None]
        else:
            move = self.steps[row]
            move = move - move[at, start][:, None]
        change = cost - cost[at, start][:, None]
        return move, change, change + self.price * move

    def least_loss(self, index: IntArray, moves: Callable[[IntArray], BoolArray]) -> FloatArray:
        """The least loss of the ``moves`` of the groups ``index``; inf where there are none."""
        least = [np.empty(0)]
        for at in range(0, len(index), CHUNK):
            move, _, loss = self.options(index[at : at + CHUNK])
            least.append(np.where(moves(move), loss, np.inf).min(axis=1, initial=np.inf))
        return np.concatenate(least)

    def alternating(self, index: IntArray) -> IntArray:
        """The order in which the groups ``index`` join: by least loss, one that goes up, then one
        that goes down.
        """
        turn = np.empty((2, len(index)), dtype=np.int64)
        for first, moves in enumerate((lambda move: move > 0, lambda move: move < 0)):
            order = self.least_loss(index, moves).argsort(kind="stable")
            turn[first, order] = np.arange(first, 2 * len(index), 2)
        return turn.min(axis=0).argsort()

    def open_options(
        self, index: IntArray, within: float
    ) -> tuple[IntArray, FloatArray, FloatArray, BoolArray]:
        """As :meth:`options`, and which of them lose at most ``within`` and are not dominated."""
        move, change, loss = self.options(index)
        kept = (move != 0) & (loss <= within)
        # more steps only for less cost
        kept[:, 1:] &= change[:, 1:] < np.minimum.accumulate(change, axis=1)[:, :-1]
        return move, change, loss, kept

    def divisors(self, index: IntArray, within: float) -> tuple[int, float]:
        """Of the options that lose at most ``within``: common divisor of moves, and of changes."""
        steps, costs = [0], [np.inf]
        for at in range(0, len(index), CHUNK):
            move, change, loss = self.options(index[at : at + CHUNK])
            kept = (loss <= within) & (move != 0)
            steps.append(common_divisor(move[kept]))
            costs.append(quantum(change[kept]))
        finite = np.array([value for value in costs if value < np.inf])
        return common_divisor(np.array(steps)), quantum(finite) if finite.all() else 0.0


def search(
    groups: Groups,
    copies: IntArray,
    spare: int,
    width: int,
    negligible: float,
    additions: int | None = None,
) -> Changes:
    """The best changes to the start, which is optimal at the price and leaves ``spare`` edge steps.

    ``copies``, shape (groups,), are the users of each, ``width`` how many options a user has at
    most, if not all are here. A gap of at most ``negligible`` is not closed, but counts as
    unproven. Changes of one or two users are tried first. Then dynamic programming over a few
    users, those that lose least by taking fewer steps and those that lose least by taking more,
    gives a choice that closes most options. This is repeated with more users, until all that are
    open fit in, or the programs would take more than :data:`~solver.limits.SEARCH_ADDITIONS`, or
    fewer ``additions``, or :data:`~solver.limits.SEARCH_BYTES`; then ``proven`` is what the
    relaxation proves.
    """
    members, price = np.flatnonzero(copies > 0), groups.price
    groups, copies = groups.part(members), copies[members]
    nearest = groups.least_loss(np.arange(len(copies)), lambda move: move != 0)
    # what the start loses itself, as it is optimal only up to rounding
    deficit = float((copies * np.maximum(-nearest, 0)).sum())
    none = np.empty(0, dtype=np.int64)
    best = Changes(none, none, price * spare + deficit, 0.0)
    margin = 16 * EPS * price * width  # rounding of a loss
    most_groups = limits.SEARCH_BYTES // (40 * width)  # five tables of their options
    rounding = 1e-12 * (np.abs(groups.cost[groups.row, groups.start]) + price * width)
    size = min(32, most_groups)
    additions = min(limits.SEARCH_ADDITIONS, additions or limits.SEARCH_ADDITIONS)
    if len(nearest) and best.gap > max(margin, negligible):
        pair = _of_two(groups, nearest.argsort()[:MOST_PAIRED], spare, best.gap)
        if pair is not None and pair.gap + deficit < best.gap:
            best = pair._replace(group=members[pair.group], gap=pair.gap + deficit)
    while True:
        noise = margin * (1 + len(best.shift))
        core = np.flatnonzero(nearest <= best.gap + margin)
        floor = 0.0  # the least gap that any choice can have
        if size > 32:
            divisor, step = groups.divisors(core, best.gap + margin)
            floor = price * (spare % divisor if divisor else spare)
            if best.gap - floor + 4 * noise < step * (1 - 1e-6):
                # a better choice has fewer than 2 x width + spare changes, each off by rounding
                return best._replace(proven=2 * noise + margin * (2 * width + spare))
        enough = max(noise, negligible)
        if best.gap - floor <= enough or not len(core) or not size:
            return best._replace(proven=max(best.gap - floor, 0.0) + 2 * noise)
        if len(core) <= size:  # all fit in: by least loss alone
            order = (nearest[core] - rounding[core]).argsort(kind="stable")
        else:
            order = groups.alternating(core)
        pool = core[order[: min(2 * size, most_groups)]]
        moves, changes, losses, open_options = groups.open_options(pool, best.gap + margin)
        # Of the optima take one that differs from the start in the fewest users. No set of its
        # changes sums to 0 steps, as undoing them would cost nothing. So, ordered to alternate
        # around 0 (Steinitz), the running sums of the changes all differ, and
        # -far < sum <= max(far, spare): there are fewer than `most` changes, and of equal users no
        # more matter. The increases and the decreases sum to less than most x far, and nearly
        # cancel: either is below `reach`.
        far = int(np.abs(moves[open_options]).max(initial=0))
        most = far + max(far, spare)
        number = np.where(open_options.any(axis=1), np.minimum(copies[pool], most), 0)
        tolerance = margin + float(rounding[pool].max())
        in_order, cut = np.sort(nearest[pool]), number
        if most < len(pool) and (in_order[most:] - in_order[:-most] <= 4 * tolerance).any():
            # equal users lose equally: only now can more than `most` be alike
            cut = _at_most_alike(moves, changes, open_options, number, most, tolerance)
        alike = 2 * tolerance * most if (cut < number).any() else 0.0
        member = np.repeat(np.arange(len(pool)), cut)
        whole = len(pool) == len(core) and len(member) <= size
        taking = member[:size]
        classes = ItemClasses.of(moves[taking], changes[taking], open_options[taking])
        reach = (most * far + spare) // 2 + 1
        allowance = Allowance(additions, limits.SEARCH_BYTES)
        taken = best_changes(
            classes,
            partial(Rest.of, moves[taking], losses[taking], open_options[taking]),
            spare,
            price,
            limit=best.gap - deficit,
            enough=enough - deficit,
            slack=deficit + margin,
            reach=reach,
            allowance=allowance,
        )
        additions, improved = allowance.additions, False
        if taken is not None:
            shift = classes.moves[taken]
            loss = (classes.changes[taken] + price * shift).sum()
            gap = float(loss + price * (spare - shift.sum())) + deficit
            improved = gap < best.gap - noise
            if gap < best.gap:
                moved = shift != 0
                group = members[pool[member[: len(shift)][moved]]]
                best = Changes(group, shift[moved], gap, 0.0)
        if allowance.spent:
            return best._replace(proven=best.gap - floor + 2 * noise, stopped=True)
        if whole and best.gap > enough:
            error = EPS * (len(taking) + 2) * (best.gap + 2 * price * min(reach, far * size))
            error += alike + margin * (1 + len(best.shift))
            return best._replace(proven=min(error, best.gap + noise))
        if size == most_groups:
            return best._replace(proven=best.gap - floor + 2 * noise)
        size = min(size * (4 if improved else 16), most_groups)


def _of_two(groups: Groups, index: IntArray, spare: int, within: float) -> Changes | None:
    """The best changes of one or two of the groups ``index`` by options that lose ``within``.

    Dynamic programming then has little left to try.
    """
    move, _, loss = groups.options(index)
    left, moved = spare - move, move != 0
    alone = np.where((left >= 0) & moved, loss + groups.price * left, np.inf)
    at, option = np.nonzero((loss <= min(within, alone.min(initial=np.inf))) & moved)
    moves, losses = move[at, option], loss[at, option]
    order = np.lexsort((losses, moves))
    ranked = moves[order]
    first = order[np.concatenate([ranked[:1] == ranked[:1], ranked[1:] > ranked[:-1]])]  # of each
    first = first[losses[first].argsort()[:MOST_PAIRED]]
    # and no change
    group = np.concatenate([index[at[first]], [-1]])
    moves, losses = np.concatenate([moves[first], [0]]), np.concatenate([losses[first], [0.0]])
    total = moves[:, None] + moves
    gap = losses[:, None] + losses + groups.price * (spare - total)
    gap[(total > spare) | (group[:, None] == group)] = np.inf
    pair = np.array(np.unravel_index(gap.argmin(), gap.shape))
    pair = pair[group[pair] >= 0]
    return Changes(group[pair], moves[pair], float(gap.min()), 0.0) if len(pair) else None


def _at_most_alike(
    moves: IntArray,
    changes: FloatArray,
    kept: BoolArray,
    copies: IntArray,
    most: int,
    tolerance: float,
) -> IntArray:
    """``copies``, cut so that those with the same open options, up to rounding, are ``most``."""
    unit = np.exp2(np.ceil(np.log2(max(tolerance, 1e-300))))
    table = np.where(kept, np.rint(changes / unit) * unit, np.inf)
    alike = hashes([np.where(kept, moves, 0), table])
    order = np.argsort(alike, kind="stable")
    before = np.cumsum(copies[order]) - copies[order]
    first = np.flatnonzero(np.diff(alike[order], prepend=alike[order][:1] + 1))
    before -= np.repeat(before[first], np.diff(first, append=len(order)))
    cut = np.empty_like(copies)
    cut[order] = np.clip(most - before, 0, copies[order])
    return cut
