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
    price = allocation.edge_price
    assert price is not None
    options: list[tuple[IntArray, FloatArray]] = []  # steps beyond the fewest, losses
    fixed, at, reach, additions, divisor, costs = 0, 0, 0, 0, 0, []
    axis = Axis.of(problem)
    assert axis is not None
    steps = np.arange(1 + axis.width)
    for priced, change, _ in _priced(problem, allocation):
        loss = priced - best[at : at + len(priced), None]
        at, kept = at + len(priced), loss <= gap + margin
        costs.append(quantum(change[kept]))
        fewest = kept.argmax(axis=1)
        fixed += int(fewest.sum())
        divisor = math.gcd(divisor, common_divisor((steps - fewest[:, None])[kept]))
        for user in np.flatnonzero(kept.sum(axis=1) > 1):
            if additions > limits.PROOF_ADDITIONS:
                break
            more = np.flatnonzero(kept[user])
            options.append((more - fewest[user], loss[user, more]))
            reach = min(reach + int(more[-1] - fewest[user]), problem.edge_budget)
            additions += len(more) * reach
    left = axis.budget - fixed
    if left < 0:
        return Proof(0.0, True)  # the options that lose less than the gap do not fit at all
    # the least that any choice loses: the steps that no sum of the options can use
    floor = price * (left % divisor if divisor else left)
    finite = np.array([value for value in costs if value < np.inf])
    if gap - floor + 4 * margin < (quantum(finite) if finite.all() else 0.0) * (1 - 1e-6):
        return Proof(0.0, True)
    if additions > limits.PROOF_ADDITIONS:
        return Proof(max(gap - floor, 0.0), gap - floor <= OPTIMAL * abs(allocation.objective))
    least = np.zeros(1)  # the least loss for each number of steps used
    for steps, losses in options:
        new = np.full(min(len(least) + int(steps[-1]), left + 1), np.inf)
        for step, loss in zip(steps.tolist(), losses.tolist()):
            here = least[: max(0, len(new) - step)] + loss
            np.minimum(new[step : step + len(here)], here, out=new[step : step + len(here)])
        least = new
    reached = float((least + price * (left - np.arange(len(least)))).min())
    return Proof(max(gap - reached, 0.0) + 2 * EPS * len(options) * gap, True)
