"""The proof for a problem with several places, limits, splits or makespans.

For any prices p >= 0 of the limits, optimum >= sum_n min_j [R~_nj + p weight_j] - p capacity. Where
that leaves a gap, a better choice can only use options that lose less than it at p, and dynamic
programming over the sums of their weights tries them all. A makespan alpha sum(s) + beta max(s) <=
D is linear where max(s) is known: the proof goes through intervals of it, halved until each is
closed. Prices are found anew, and those of the allocation only held against them.
"""

import math
from collections.abc import Iterator

import numpy as np

from solver import limits
from solver.allocation import EPS, OPTIMAL, Allocation
from solver.certificate.proof import Proof
from solver.certificate.single import prove_plain
from solver.columnar import FloatArray, IntArray
from solver.exact.batches import Box, boxed, boxes_of, longest_of
from solver.exact.dual import solve_dual
from solver.exact.lattice import quantum
from solver.exact.prices import priced
from solver.exact.sums import STATE, first_of_each
from solver.inputs import InputError
from solver.limits import check_memory
from solver.options import Choice, Menu, Options
from solver.problem import Problem
from solver.problem.servers import Servers

#: By how much of the objective the bound at an allocation's prices may miss the best bound.
NEAR = 1e-6
#: Intervals of the longest of a batch that are looked at, at most.
MOST_BOXES = 2000


def prove_several(problem: Problem, allocation: Allocation) -> Proof:
    """The proof for the choice and the ``prices`` of an allocation of the problem.

    Raises InputError if these are no dual prices of the limits; under makespans, of those with the
    longest that the batches have.
    """
    assert allocation.prices is not None and allocation.edge_steps is not None
    options = Options.of(problem)
    check_memory(problem.where, 2 * problem.users * len(options.place))
    own = _own_costs(problem, options, allocation)
    longest = {name: (most, most) for name, most in longest_of(problem, allocation).items()}
    here = _Bound(boxed(problem, longest), own)
    claimed = here.gap(here.options.from_prices(allocation.prices))
    if claimed > here.gap() + NEAR * (abs(allocation.objective) + float(np.abs(own).max())):
        raise InputError(
            f"allocation: prices: found a bound {claimed:.3g} below the objective at them; "
            f"allowed: dual prices, whose bound is {here.gap():.3g} below"
        )
    tolerance = OPTIMAL * abs(allocation.objective)
    if (servers := Servers.of(problem)) is not None:
        proof = _prove_merged(servers, allocation)
        if proof.excess <= tolerance:
            return proof
    excess, sure, complete, looked = 0.0, 0.0, True, 0
    boxes: list[Box] = [boxes_of(problem)]
    while boxes:
        box, looked = boxes.pop(), looked + 1
        bound = here if box == longest else _Bound(boxed(problem, box), own)
        gap = bound.better(bound.options.from_prices(allocation.prices))
        wide = [name for name, (low, high) in box.items() if low < high]
        if gap <= max(tolerance, excess):
            excess = max(excess, gap)
        elif wide and looked < MOST_BOXES:
            name = max(wide, key=lambda name: box[name][1] - box[name][0])
            low, high = box[name]
            middle = (low + high) // 2
            boxes += [{**box, name: (low, middle)}, {**box, name: (middle + 1, high)}]
        else:
            proof = bound.closed() if not wide else Proof(gap, False)
            excess, complete = max(excess, proof.excess), complete and proof.complete
            sure = max(sure, proof.excess - proof.rounding)
    return Proof(excess, complete or excess <= tolerance, excess - sure)


def _prove_merged(servers: Servers, allocation: Allocation) -> Proof:
    """The proof for one place with the budgets of edges that are alike: it allows more choices."""
    offload = servers.joined(np.array(allocation.offload))
    choice = Choice(offload, np.array(allocation.steps), np.array(allocation.edge_steps))
    merged = priced(servers.merged, choice, allocation.solver)
    prove = prove_plain if servers.merged.is_plain else prove_several
    return prove(servers.merged, merged)


def _own_costs(problem: Problem, options: Options, allocation: Allocation) -> FloatArray:
    """What the allocation costs each user, shape (users,)."""
    assert allocation.edge_steps is not None
    number = {
        key: index
        for index, key in enumerate(
            zip(options.place.tolist(), options.steps.tolist(), options.edge_steps.tolist())
        )
    }
    chosen = zip(allocation.offload, allocation.steps, allocation.edge_steps, strict=True)
    index = np.array([number[key] for key in chosen])
    return np.take_along_axis(options.cost(problem), index[:, None], axis=1)[:, 0]


class _Bound:
    """A problem without makespans that depend on the longest, and the costs that are held to it."""

    def __init__(self, problem: Problem, own: FloatArray) -> None:
        self.options, self.own = Options.of(problem), own
        self.menu = Menu.of(self.options.weight)
        cost, _ = self.menu.cheapest(self.options.cost(problem))
        # differences first, so that a large cost that all options share rounds nothing away
        self.change = cost - own[:, None]
        served = np.isfinite(cost).any(axis=1).all() and (self.options.capacity >= 0).all()
        self.empty = not bool(served)
        self.step = quantum(self.change[np.isfinite(self.change)]) * (1 - 1e-6)
        self.price = np.zeros(len(self.options.capacity))
        if not self.empty:
            dual = solve_dual(cost, self.menu.weight, self.options.capacity)
            self.price, self.empty = dual.price, dual.infeasible

    def gap(self, price: FloatArray | None = None) -> float:
        """How far the choice is above the bound at ``price``, or the best; rounding included."""
        if self.empty:
            return 0.0  # nothing is in it
        price = self.price if price is None else price
        least = (self.change + self.menu.weight @ price).min(axis=1)
        paid = float(price @ self.options.capacity)
        rounding = 8 * EPS * (math.fsum(np.abs(least)) + paid)
        gap = max(math.fsum(-least) + paid + rounding, 0.0)
        return 0.0 if gap < self.step else gap  # no objective lies less than a step below

    def better(self, price: FloatArray) -> float:
        """The gap at the better of two prices, which is kept: of many best, one rounds least."""
        gap, other = self.gap(), self.gap(price)
        if other < gap:
            self.price = price
        return min(gap, other)

    def closed(self) -> Proof:
        """The proof by dynamic programming over all options that lose less than the gap."""
        gap, weight, price = self.gap(), self.menu.weight, self.price
        least = (self.change + weight @ price).argmin(axis=1)
        # differences first, as above
        rows = np.arange(len(least))
        loss = self.change - self.change[rows, least][:, None]
        loss += weight @ price - (weight[least] @ price)[:, None]
        loss = np.maximum(loss, 0.0)
        margin = 32 * EPS * float(price @ weight.max(axis=0, initial=0)) + 4 * EPS * gap
        kept = loss <= gap + margin
        base = np.zeros(weight.shape[1], dtype=np.int64)
        users: list[tuple[IntArray, FloatArray]] = []
        for user in np.flatnonzero(kept.sum(axis=1) > 1):
            users.append((weight[kept[user]], loss[user, kept[user]]))
        only = kept.argmax(axis=1)[kept.sum(axis=1) == 1]
        base = weight[only].sum(axis=0)
        users.sort(key=lambda user: float(np.sort(user[1])[1]))
        least = _least_loss(users, self.options.capacity - base, price, gap + margin)
        if least is None:
            return Proof(gap, False)
        rounding = margin * (1 + len(users))
        excess = max(gap - least + rounding, 0.0)
        return Proof(0.0, True) if excess < self.step else Proof(excess, True, rounding)


def _least_loss(
    users: list[tuple[IntArray, FloatArray]], capacity: IntArray, price: FloatArray, limit: float
) -> float | None:
    """The least loss of one option for each user, with ``price`` for what is left of ``capacity``.

    ``limit`` if none is below it. None if it takes more than
    :data:`~solver.limits.PROOF_ADDITIONS`.
    """
    after = list(_sums_after([weight.max(axis=0) for weight, _ in users], len(capacity)))
    need = list(_sums_after([weight.min(axis=0) for weight, _ in users], len(capacity)))
    sums, value, spent = np.zeros((1, len(capacity)), dtype=np.int64), np.zeros(1), 0
    for (weight, losses), most, fewest in zip(users, after, need, strict=True):
        spent += STATE * len(value) * len(losses)
        if spent > limits.PROOF_ADDITIONS:
            return None
        sums = (sums[:, None] + weight).reshape(-1, len(capacity))
        value = (value[:, None] + losses).ravel()
        left = capacity - sums
        bound = value + np.maximum(left - most, 0) @ price
        kept = np.flatnonzero((bound < limit) & (left >= fewest).all(axis=1))
        if not len(kept):
            return limit
        kept = kept[first_of_each(sums[kept], value[kept])]
        sums, value = sums[kept], value[kept]
    left = capacity - sums
    total = np.where((left >= 0).all(axis=1), value + left @ price, limit)
    return min(limit, float(total.min()))


def _sums_after(values: list[IntArray], size: int) -> Iterator[IntArray]:
    """Of each of ``values`` the sum of those after it."""
    total = np.sum(values, axis=0) if values else np.zeros(size, dtype=np.int64)
    for value in values:
        total = total - value
        yield total
