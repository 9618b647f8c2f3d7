"""The proof that an allocation is optimal, from the problem alone: its maker is not trusted."""

import math
from collections.abc import Iterator

import numpy as np

from solver.allocation import OPTIMAL, Allocation, evaluate
from solver.columnar import FloatArray
from solver.inputs import InputError
from solver.problem import PLACES, Problem

#: Additions that the dynamic program of the proof may take: a few seconds.
MOST_WORK = 1_000_000_000


def certify(problem: Problem, allocation: Allocation) -> float:
    """How far, at most, the objective is from the optimum: a proven bound.

    Everything in ``allocation`` is computed again from ``problem``, ``offload`` and ``steps``;
    InputError if the choice is not feasible or a number differs. First weak duality, for any delta
    >= 0: optimum >= sum_n min_{r,s} [R~_{n,r}(s) + delta s (r = edge)] - delta S_e^max. Where that
    leaves a gap, a better choice can only use options that lose less than it, and leave less budget
    unused; dynamic programming over these options tries them all. Infinite without an
    ``edge_price`` delta. Where there are too many such options (thousands of equal users and no
    even share), the gap of weak duality is what is proven.
    """
    again = evaluate(
        problem, allocation.offload, allocation.steps, lower_bound=allocation.lower_bound
    )
    for name in ("objective", "gap", "edge_steps_used", "time", "error", "energy", "utility"):
        claimed, value = getattr(allocation, name), getattr(again, name)
        if claimed != value and not (
            claimed is not None and value is not None and math.isclose(claimed, value, rel_tol=1e-9)
        ):
            raise InputError(
                f"allocation: {name}: found {claimed}; allowed: {value}, which the choices give"
            )
    price = allocation.edge_price
    if price is None:
        return math.inf
    best = np.concatenate([losses.min(axis=1) for losses in _priced(problem, price)])
    gap = again.objective - float(best.sum() - price * problem.edge_budget)
    if gap <= OPTIMAL * abs(again.objective):
        return gap
    return gap - _least_excess(problem, price, best, gap)


def _priced(problem: Problem, price: float, size: int = 10_000) -> Iterator[FloatArray]:
    """R~ + delta s of ``size`` users at a time, shape (size, 1 + steps).

    The first column is the best local option, then come s = 1, 2, ... on the edge.
    """
    for at in range(0, problem.users, size):
        part = problem.part(slice(at, at + size))
        local, edge = (part.cost(place, problem.steps(place)) for place in PLACES)
        yield np.column_stack(
            [local.min(axis=1, initial=np.inf), edge + price * problem.steps("edge")]
        )


def _least_excess(problem: Problem, price: float, best: FloatArray, gap: float) -> float:
    """The least distance of any choice from the bound, at most ``gap``.

    0 if it would take too long to try them all.
    """
    options, fixed, at = [], 0, 0  # options: (steps, losses) of each user that has several
    for priced in _priced(problem, price):
        loss = priced - best[at : at + len(priced), None]
        at, kept = at + len(priced), loss <= gap
        single = kept.sum(axis=1) == 1
        fixed += int(kept[single].argmax(axis=1).sum())
        options += [
            (np.flatnonzero(row), losses[row])
            for row, losses in zip(kept[~single], loss[~single], strict=True)
        ]
        if (
            sum(steps[-1] for steps, _ in options) * sum(len(steps) for steps, _ in options)
            > MOST_WORK
        ):
            return 0.0
    left = problem.edge_budget - fixed
    if left < 0:
        return gap  # the options that lose less than the gap do not fit at all
    least = np.zeros(1)  # the least loss for each number of steps used
    for steps, losses in options:
        new = np.full(min(len(least) + int(steps[-1]), left + 1), np.inf)
        for step, loss in zip(steps, losses, strict=True):
            here = least[: max(0, len(new) - step)] + loss
            np.minimum(new[step : step + len(here)], here, out=new[step : step + len(here)])
        least = new
    return min(gap, float((least + price * (left - np.arange(len(least)))).min()))
