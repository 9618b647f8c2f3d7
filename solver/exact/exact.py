"""P1 to proven optimality at any size.

With one limit: relax it, narrow to the users whose choice is open, and solve these by dynamic
programming. Curves may have any shape, and identical users are solved once
(:mod:`solver.exact.duplicates`). Several limits are in :mod:`solver.exact.several`, makespans in
:mod:`solver.exact.batches`.
"""

import numpy as np

from solver.allocation import Allocation
from solver.columnar import IntArray
from solver.exact.batches import least_batches
from solver.exact.core import EPS, search
from solver.exact.duplicates import DistinctUsers
from solver.exact.scan import Scan
from solver.exact.several import several_limits
from solver.inputs import InputError
from solver.knapsack import Axis, check_feasible, evaluated, has_makespan, relax
from solver.limits import check_memory
from solver.options import Options
from solver.problem import Problem


def exact(problem: Problem) -> Allocation:
    """The optimal allocation, with a proven ``lower_bound``.

    With one limit, time is linear in users x steps, and memory in users, for the few whose choice
    is open in users x steps; several take a table of all options. Should the dynamic programming be
    too large (:mod:`solver.limits`), the bound is that of the relaxation, and ``status`` may be
    "feasible". Raises InputError if the problem is infeasible or needs more memory than there is.
    """
    if has_makespan(problem):
        return least_batches(problem, _linear)
    return _linear(problem)


def _linear(problem: Problem) -> Allocation:
    """The optimum of a problem whose makespans do not depend on the longest."""
    options = None if problem.is_plain else Options.of(problem)
    axis = Axis.of(problem, options)
    if axis is None:
        assert options is not None
        return several_limits(problem, options)
    # glibc gives freed memory back above a threshold, and clearing it again takes as long as the
    # arithmetic here; freeing one large block, never touched, raises that threshold for good
    np.empty(2_000_000)
    distinct = DistinctUsers.of(problem)
    try:
        allocation = _solve(problem, axis, distinct, *_bracket(axis, distinct))
        if allocation is None:  # the sample misled
            check_memory(problem.where, len(distinct.count) * (1 + axis.width))
            allocation = _solve(problem, axis, distinct, 0.0, np.inf)
    except InputError:
        for place in problem.names:
            # where a cost is too large, this error names the user of the whole problem
            problem.cost(place)
        raise
    assert allocation is not None  # every price lies between 0 and infinity
    return allocation


def _bracket(axis: Axis, distinct: DistinctUsers) -> tuple[float, float]:
    """Two prices that very likely enclose that of an edge step, from a sample of the users."""
    # least work for the sample and for what it leaves open, together
    size = int(10 * len(distinct.order) ** (2 / 3))
    if len(distinct.count) < 4 * size:
        return 0.0, np.inf
    rows = slice(None, None, len(distinct.count) // size)
    scan, count = Scan.of(distinct.problem.part(rows), axis, 0.0, np.inf), distinct.count[rows]
    still = scan.few < scan.many
    share = axis.budget * len(count) / len(distinct.count) - int(count[~still] @ scan.few[~still])
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


def _solve(
    problem: Problem, axis: Axis, distinct: DistinctUsers, low: float, high: float
) -> Allocation | None:
    """The allocation if the price of an edge step lies between ``low`` and ``high``, with room.

    None otherwise.
    """
    scan, budget = Scan.of(distinct.problem, axis, low, high), axis.budget
    check_feasible(problem, axis, distinct.repeated(scan.fewest), distinct.repeated(scan.served))
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
    steps = scan.local_steps if axis.options is not None else distinct.repeated(scan.local_steps)
    choice = axis.decoded(problem, weight, steps)
    return evaluated(problem, choice, "exact", axis.prices(price), proven)


def _runs(first: IntArray, length: IntArray) -> IntArray:
    """first[0], first[0] + 1, ..., so many as ``length[0]``, then those of first[1], ..."""
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())
