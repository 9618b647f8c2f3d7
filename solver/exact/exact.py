"""P1 to proven optimality at any size.

Relax (1), narrow to the users whose choice is open, and solve these by dynamic programming. Curves
may have any shape, and identical users are solved once (:mod:`solver.exact.duplicates`).
"""

import numpy as np

from solver.allocation import Allocation, evaluate
from solver.columnar import IntArray
from solver.exact.core import EPS, search
from solver.exact.duplicates import DistinctUsers
from solver.exact.scan import Scan
from solver.inputs import InputError
from solver.knapsack import check_feasible, relax, usable_budget
from solver.limits import check_memory
from solver.problem import PLACES, Problem


def exact(problem: Problem) -> Allocation:
    """The optimal allocation, with a proven ``lower_bound``.

    Time is linear in users x steps, and memory in users, for the few whose choice is open in users
    x steps. Should the dynamic programming be too large (:mod:`solver.limits`), the bound is that
    of the relaxation, and ``status`` may be "feasible". Raises InputError if the problem is
    infeasible or needs more memory than there is.
    """
    # glibc gives freed memory back above a threshold, and clearing it again takes as long as the
    # arithmetic here; freeing one large block, never touched, raises that threshold for good
    np.empty(2_000_000)
    distinct = DistinctUsers.of(problem)
    try:
        allocation = _solve(problem, distinct, *_bracket(distinct, usable_budget(problem)))
        if allocation is None:  # the sample misled
            check_memory(problem.where, len(distinct.count) * (1 + len(problem.steps("edge"))))
            allocation = _solve(problem, distinct, 0.0, np.inf)
    except InputError:
        for place in PLACES:
            # where a cost is too large, this error names the user of the whole problem
            problem.cost(place)
        raise
    assert allocation is not None  # every price lies between 0 and infinity
    return allocation


def _bracket(distinct: DistinctUsers, budget: int) -> tuple[float, float]:
    """Two prices that very likely enclose that of an edge step, from a sample of the users."""
    # least work for the sample and for what it leaves open, together
    size = int(10 * len(distinct.order) ** (2 / 3))
    if len(distinct.count) < 4 * size:
        return 0.0, np.inf
    rows = slice(None, None, len(distinct.count) // size)
    scan, count = Scan.of(distinct.problem.part(rows), 0.0, np.inf), distinct.count[rows]
    still = scan.few < scan.many
    share = budget * len(count) / len(distinct.count) - int(count[~still] @ scan.few[~still])
    few, many, count = scan.few[still], scan.many[still], count[still]
    if not len(count) or share <= count @ few:
        return 0.0, np.inf
    chosen = relax(scan.cost, share, few, many, count).few
    # what these users take varies by chance from sample to sample
    margin = float(3 * np.std(count * chosen) * np.sqrt(len(count)))

    def price(steps: float) -> float:
        if steps <= count @ few:
            return np.inf
        return relax(scan.cost, steps, few, many, count).price

    return price(share + margin), price(share - margin)


def _solve(problem: Problem, distinct: DistinctUsers, low: float, high: float) -> Allocation | None:
    """The allocation if the price of an edge step lies between ``low`` and ``high``, with room.

    None otherwise.
    """
    scan, budget = Scan.of(distinct.problem, low, high), usable_budget(problem)
    check_feasible(problem, distinct.repeated(scan.fewest), distinct.repeated(scan.served))
    if distinct.count @ scan.few > budget or (low > 0 and distinct.count @ scan.many <= budget):
        return None
    open_users = np.flatnonzero(scan.few < scan.many)
    few, many, count = (array[open_users] for array in (scan.few, scan.many, distinct.count))
    left = budget - int(distinct.count @ scan.few - count @ few)
    price, few, many, moved = relax(scan.cost, left, few, many, count)
    # identical users that start alike are one group: those that keep `few`, then those that moved
    row, start, copies = (
        np.concatenate(pair)
        for pair in ([np.arange(len(count))] * 2, (few, many), (count - moved, moved))
    )
    chosen = np.delete(distinct.count * scan.chosen, open_users).sum()
    objective = float(chosen + copies @ scan.cost[row, start])
    group, shift, gap, proven = search(
        scan.cost, price, row, start, copies, left - int(copies @ start), 1e-15 * abs(objective)
    )
    # of a user that chooses alike at both prices, what it does not choose may be part of a better
    # choice, unless it loses more than the gap; costs compare only up to their rounding
    room = gap + 8 * EPS * (float(np.abs(scan.chosen).max()) + price * scan.cost.shape[1])
    if (low > 0 and price - room < low) or price + room > high:
        return None

    last = np.cumsum(distinct.count)
    # of each group, in distinct.order
    first = np.concatenate([(last - distinct.count)[open_users], last[open_users] - moved])
    scan.few[open_users] = few
    weight = np.repeat(scan.few, distinct.count)
    weight[_runs(first, copies)] = np.repeat(start, copies)
    changed = _runs(first, np.bincount(group, minlength=len(first)))
    weight[changed] += shift[np.argsort(group, kind="stable")]
    weight = distinct.in_problem_order(weight)
    steps = np.where(weight > 0, weight, distinct.repeated(scan.local_steps))
    offload = (weight > 0).astype(int)
    return evaluate(problem, offload, steps, "exact", excess=proven, edge_price=price)


def _runs(first: IntArray, length: IntArray) -> IntArray:
    """first[0], first[0] + 1, ..., so many as ``length[0]``, then those of first[1], ..."""
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())
