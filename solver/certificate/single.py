"""The proof for a plain problem: one edge place and one budget of its steps."""

import math
from collections.abc import Iterator

import numpy as np

from solver import limits
from solver.allocation import EPS, OPTIMAL, Allocation
from solver.certificate.proof import Proof
from solver.columnar import FloatArray, IntArray
from solver.exact.lattice import common_divisor, quantum
from solver.inputs import InputError
from solver.knapsack import Axis
from solver.problem import Problem

#: Additions that take as long as what is done once for each user.
CALL = 10_000
#: A loss that no choice can have.
HUGE = 1e290


def prove_plain(problem: Problem, allocation: Allocation) -> Proof:
    """The proof for ``offload``, ``steps`` and ``edge_price`` of an allocation of the problem.

    Raises InputError if ``edge_price`` is no dual price of (1).
    """
    price, axis = allocation.edge_price, Axis.of(problem)
    assert price is not None and axis is not None
    budget, width = axis.budget, axis.width
    # an option's loss is off by this much for its step price, and each user's least by its own size
    margin = 4 * EPS * price * width
    unused = budget - allocation.edge_steps_used
    fewest, most, least = 0, 0, []
    for priced, _, own in _priced(problem, allocation):
        lowest = priced.min(axis=1)
        # a price is only as exact as the costs that it was computed from
        near = priced <= (lowest + 1e-9 * price * width + 16 * EPS * np.abs(own))[:, None]
        fewest += int(near.argmax(axis=1).sum())
        most += int((width - near[:, ::-1].argmax(axis=1)).sum())
        least.append(lowest)
    if fewest > budget or (price > 0 and most < budget):
        raise InputError(
            f"allocation: edge_price: found {price}; allowed: one at which the steps that users "
            f"choose for themselves, here {fewest} to {most}, meet the budget, {budget}"
        )
    best = np.concatenate(least)
    loss = math.fsum(-best)
    gap = loss + price * unused + len(best) * margin + 4 * EPS * (loss + price * unused)
    gap = max(gap, 0.0)
    if gap <= OPTIMAL * abs(allocation.objective):
        return Proof(gap, True)
    return _beyond_duality(problem, allocation, best, gap, margin)


def _priced(
    problem: Problem, allocation: Allocation, size: int = 10_000
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Of ``size`` users at a time: what each option costs more than the allocation, priced and not.

    Shape (size, 1 + steps): the first column is the best local option, then come s = 1, 2, ... on
    the edge. Last the allocation's own cost, shape (size,). Differences are taken before the price
    is added, so that a large cost that all options share rounds nothing away.
    """
    price = allocation.edge_price
    offload, chosen = np.array(allocation.offload), np.array(allocation.steps)[:, None]
    steps = np.arange(1 + problem.edge.columns)
    for at in range(0, problem.users, size):
        rows = slice(at, at + size)
        part = problem.part(rows)
        local, edge = (part.cost(place, problem.steps(place)) for place in problem.names)
        costs = [
            np.take_along_axis(cost, np.minimum(chosen[rows], max(1, cost.shape[1])) - 1, axis=1)
            if cost.shape[1]
            else np.zeros((part.users, 1))
            for cost in (local, edge)
        ]
        own = np.where(offload[rows, None] == 1, costs[1], costs[0])
        change = np.column_stack([local.min(axis=1, initial=np.inf), edge]) - own
        yield change + price * (steps - offload[rows, None] * chosen[rows]), change, own[:, 0]


def _beyond_duality(
    problem: Problem, allocation: Allocation, best: FloatArray, gap: float, margin: float
) -> Proof:
    """The proof where weak duality leaves ``gap``.

    ``best``, shape (users,), is the least that each user's options cost more than its own.
    """
    price, axis = allocation.edge_price, Axis.of(problem)
    assert price is not None and axis is not None
    # of each user whose choice is open: its options, and their losses
    options: list[tuple[IntArray, FloatArray]] = []
    ties: list[tuple[int, int]] = []  # the fewest and the most steps of its best options
    spare, at, divisor, costs = axis.budget, 0, 0, []
    steps = np.arange(1 + axis.width)
    for priced, change, _ in _priced(problem, allocation):
        loss = priced - best[at : at + len(priced), None]
        at, kept = at + len(priced), loss <= gap + margin
        costs.append(quantum(change[kept]))
        start = loss.argmin(axis=1)
        divisor = math.gcd(divisor, common_divisor((steps - start[:, None])[kept]))
        # more steps only for less cost
        kept[:, 1:] &= change[:, 1:] < np.minimum.accumulate(change, axis=1)[:, :-1]
        kept[np.arange(len(start)), start] = True
        spare -= int(start.sum())
        for user in np.flatnonzero(kept.sum(axis=1) > 1):
            if len(options) * CALL > limits.PROOF_ADDITIONS:
                break
            own = np.flatnonzero(kept[user])
            options.append((own, loss[user, own]))
            ties.append((int(start[user]), int(own[loss[user, own] <= margin].max(initial=0))))
    # the least that any choice loses: the steps that no sum of the options can use
    floor = price * (spare % divisor if divisor else max(spare, 0))
    finite = np.array([value for value in costs if value < np.inf])
    if gap - floor + 4 * margin < (quantum(finite) if finite.all() else 0.0) * (1 - 1e-6):
        return Proof(0.0, True)
    moves = []
    for (own, losses), (fewest, most) in zip(options, ties, strict=True):
        taken = most if fewest < most <= fewest + spare else fewest  # so that little is spare
        spare -= taken - fewest
        moves.append((own[own != taken] - taken, losses[own != taken]))
    least, complete = 0.0, False
    if len(moves) * CALL <= limits.PROOF_ADDITIONS:  # else some users are left out
        least, complete = _least_loss(moves, spare, price, gap)
    excess = max(gap - max(least, floor), 0.0) + 2 * EPS * len(options) * gap
    return Proof(excess, complete or excess <= OPTIMAL * abs(allocation.objective))


def _least_loss(
    users: list[tuple[IntArray, FloatArray]], spare: int, price: float, limit: float
) -> tuple[float, bool]:
    """The least loss of a choice, with ``price`` for each of ``spare`` steps that it leaves unused.

    ``limit`` if none is below it; and whether it was found: where that takes more than
    :data:`~solver.limits.PROOF_ADDITIONS`, no choice loses less than the number that is returned.
    By the number of steps more, ``value`` is the least loss of the users so far; a state is dropped
    if what is certain to follow takes it to the least loss of a whole choice that is known.
    """
    users = sorted(users, key=lambda user: float(user[1].min()))
    down, give, take = _after(users)
    value, low, spent = np.zeros(1), 0, 0
    least, reached = min(limit, price * spare) if spare >= 0 else limit, 0.0
    for k, (moves, losses) in enumerate(users):
        if value.min() + losses.min() >= least:
            break  # this user and those after it stay where they are
        spent += max(len(value) * (len(moves) + 6), CALL)
        if spent > limits.PROOF_ADDITIONS:
            return min(least, reached), False
        first = min(int(moves.min()), 0)
        new = np.full(len(value) + max(int(moves.max()), 0) - first, np.inf)
        new[-first : len(value) - first] = value
        for move, loss in zip((moves - first).tolist(), losses.tolist()):
            here = new[move : move + len(value)]
            np.minimum(here, value + loss, out=here)
        low += first
        over = np.arange(low - spare, low - spare + len(new))
        fits = min(max(spare - low + 1, 0), len(new))
        bound = new.copy()
        if fits:
            least = min(least, float((new[:fits] - price * over[:fits]).min()))
            bound[:fits] -= min(price, take[k]) * over[:fits]
        bound[fits:] += give[k] * over[fits:]
        bound[over > down[k]] = np.inf
        alive = np.flatnonzero(bound < least)
        if not len(alive):
            break
        reached = float(bound[alive].min())
        value, low = new[alive[0] : alive[-1] + 1], low + int(alive[0])
    return least, True


def _after(
    users: list[tuple[IntArray, FloatArray]],
) -> tuple[list[int], list[float], list[float]]:
    """What the users after each one can give back in all, and the least loss of a step that they
    give back, and take.
    """
    down, give, take = [0], [HUGE], [HUGE]
    for moves, losses in reversed(users[1:]):
        rate = losses / np.abs(moves)
        down.append(down[-1] + max(-int(moves.min()), 0))
        give.append(min(give[-1], float(rate[moves < 0].min(initial=HUGE))))
        take.append(min(take[-1], float(rate[moves > 0].min(initial=HUGE))))
    return down[::-1], give[::-1], take[::-1]
