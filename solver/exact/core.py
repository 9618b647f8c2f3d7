"""The core of P1: dynamic programming over the users whose choice the relaxation leaves open.

Pisinger's expanding core, for curves of any shape. ``cost``, shape (rows, 1 + steps), is R~ with s
edge steps in column s; a *group* is a number of users that share a row of it and start with the
same choice. What an option costs at the price of an edge step beyond the user's start is its
*loss*: it is lost for good, and an unused step loses the price. So no option that alone loses more
than some known choice does in all can be part of a better one.
"""

from dataclasses import dataclass
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
    """The groups of the core at a price; arrays of shape (groups,) but for ``cost``."""

    cost: FloatArray
    price: float
    row: IntArray
    start: IntArray

    def options(self, index: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Move in steps, change of the cost, and loss of every option of the groups ``index``.

        Shape (index, 1 + steps). Differences are taken first, so that a large cost that all
        options share rounds nothing away.
        """
        row, start = self.row[index], self.start[index]
        move = np.arange(self.cost.shape[1]) - start[:, None]
        change = self.cost[row] - self.cost[row, start][:, None]
        return move, change, change + self.price * move

    def least_losses(self) -> tuple[FloatArray, FloatArray]:
        """The least loss of fewer and of more steps than at the start; inf where there are none."""
        down, up = np.full((2, len(self.row)), np.inf)
        for at in range(0, len(self.row), CHUNK):
            here = np.arange(at, min(at + CHUNK, len(self.row)))
            move, _, loss = self.options(here)
            down[here] = np.where(move < 0, loss, np.inf).min(axis=1)
            up[here] = np.where(move > 0, loss, np.inf).min(axis=1)
        return down, up

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
    cost: FloatArray,
    price: float,
    row: IntArray,
    start: IntArray,
    copies: IntArray,
    spare: int,
    negligible: float,
    additions: int | None = None,
) -> Changes:
    """The best changes to ``start``, which is optimal at ``price`` and leaves ``spare`` edge steps.

    ``row``, ``start`` and ``copies`` have shape (groups,). A gap of at most ``negligible`` is not
    closed, but counts as unproven. Changes of one or two users are tried first. Then dynamic
    programming over a few users, those that lose least by taking fewer steps and those that lose
    least by taking more, gives a choice that closes most options. This is repeated with more users,
    until all that are open fit in, or the programs would take more than
    :data:`~solver.limits.SEARCH_ADDITIONS`, or fewer ``additions``, or
    :data:`~solver.limits.SEARCH_BYTES`; then ``proven`` is what the relaxation proves.
    """
    members = np.flatnonzero(copies > 0)
    groups, copies = Groups(cost, price, row[members], start[members]), copies[members]
    down, up = groups.least_losses()
    nearest = np.minimum(down, up)
    # what the start loses itself, as it is optimal only up to rounding
    deficit = float((copies * np.maximum(-nearest, 0)).sum())
    none = np.empty(0, dtype=np.int64)
    best = Changes(none, none, price * spare + deficit, 0.0)
    width = cost.shape[1]
    margin = 16 * EPS * price * width  # rounding of a loss
    most_groups = limits.SEARCH_BYTES // (40 * width)  # five tables of their options
    rounding = 1e-12 * (np.abs(cost[groups.row, groups.start]) + price * width)
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
            order = _alternating(down[core], up[core])
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
        if (in_order[most:] - in_order[:-most] <= 4 * tolerance).any():
            # equal users lose equally: only now can more than `most` be alike
            cut = _at_most_alike(moves, changes, open_options, number, most, tolerance)
        alike = 2 * tolerance * most if (cut < number).any() else 0.0
        member = np.repeat(np.arange(len(pool)), cut)
        whole = len(pool) == len(core) and len(member) <= size
        core_member = member[:size]
        used = slice(0, 1 + int(core_member[-1]) if len(core_member) else 0)
        classes = ItemClasses.of(moves[used], changes[used], open_options[used])
        reach = (most * far + spare) // 2 + 1
        allowance = Allowance(additions, limits.SEARCH_BYTES)
        taken = best_changes(
            classes,
            core_member,
            Rest.of(moves[used], losses[used], open_options[used], core_member),
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
            error = EPS * (len(core_member) + 2) * (best.gap + 2 * price * min(reach, far * size))
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
    left = spare - move
    alone = (loss + groups.price * left)[(left >= 0) & (move != 0)]
    kept = (loss <= min(within, alone.min(initial=np.inf))) & (move != 0)
    group, moves, losses = index[np.nonzero(kept)[0]], move[kept], loss[kept]
    order = np.lexsort((losses, moves))
    first = order[np.diff(moves[order], prepend=moves[order][:1] - 1) > 0]  # of each move
    first = first[losses[first].argsort()[:MOST_PAIRED]]
    # and no change
    group = np.append(group[first], -1)
    moves, losses = np.append(moves[first], 0), np.append(losses[first], 0.0)
    total = moves[:, None] + moves
    gap = losses[:, None] + losses + groups.price * (spare - total)
    gap[(total > spare) | (group[:, None] == group)] = np.inf
    pair = np.array(np.unravel_index(gap.argmin(), gap.shape))
    pair = pair[group[pair] >= 0]
    return Changes(group[pair], moves[pair], float(gap.min()), 0.0) if len(pair) else None


def _alternating(down: FloatArray, up: FloatArray) -> IntArray:
    """The order in which groups join: by least loss, one that goes up, then one that goes down."""
    pairs = np.column_stack([up.argsort(kind="stable"), down.argsort(kind="stable")]).ravel()
    first = np.sort(np.unique(pairs, return_index=True)[1])
    return pairs[first]


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
    alike = hashes([(moves == 0).argmax(axis=1), table])
    order = np.argsort(alike, kind="stable")
    before = np.cumsum(copies[order]) - copies[order]
    first = np.flatnonzero(np.diff(alike[order], prepend=alike[order][:1] + 1))
    before -= np.repeat(before[first], np.diff(first, append=len(order)))
    cut = np.empty_like(copies)
    cut[order] = np.clip(most - before, 0, copies[order])
    return cut
