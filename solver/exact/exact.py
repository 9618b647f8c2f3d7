"""P1 to proven optimality at any size.

With one limit: relax it, narrow to the users whose choice is open, and solve these by dynamic
programming. Curves may have any shape, and identical users are solved once
(:mod:`solver.exact.duplicates`). What users choose at a price is in :mod:`solver.choices`, several
limits in :mod:`solver.exact.several`, makespans in :mod:`solver.exact.batches`.
"""

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from solver import limits
from solver.allocation import Allocation
from solver.baselines.simple import greedy
from solver.choices.bracket import Bracket, sample_of, sampled_prices
from solver.choices.convex import is_convex
from solver.choices.scan import (
    KEPT,
    SMALL,
    Choices,
    Local,
    best_local,
    choices,
    options_of,
    whole_table,
)
from solver.columnar import FloatArray, IntArray
from solver.exact.batches import least_batches
from solver.exact.core import EPS, Changes, Groups, search
from solver.exact.duplicates import DistinctUsers
from solver.exact.dynamic_program import Allowance
from solver.exact.several import several_limits
from solver.inputs import InputError
from solver.knapsack import Axis, check_feasible, evaluated, has_makespan
from solver.options import Choice, Options
from solver.problem import Problem
from solver.problem.servers import Servers
from solver.relaxation import relax, steps_of

#: How far from the price of an edge step, over it and times the users, users are first left open.
#: Their number is then about twice that, which mostly does.
SPREAD = 96
#: Additions of the search among these: what needs more has too few of them.
FIRST_ADDITIONS = 1_000_000


def exact(problem: Problem) -> Allocation:
    """The optimal allocation, with a proven ``lower_bound``.

    With one limit, time is linear in users, or in users x steps where a curve is a table, and
    memory in users, for the few whose choice is open in users x steps; several take a table of all
    options. Should the dynamic programming be too large (:mod:`solver.limits`), the bound is that
    of the relaxation, and ``status`` may be "feasible". Raises InputError if the problem is
    infeasible or needs more memory than there is.
    """
    servers = Servers.of(problem)
    if servers is not None and (packed := _of_servers(servers)) is not None:
        return packed
    allowance = Allowance(limits.SEARCH_ADDITIONS, limits.SEARCH_BYTES)
    if has_makespan(problem):
        try:
            start = greedy(problem)
        except InputError:
            start = None
        return least_batches(problem, partial(_linear, allowance=allowance), start, allowance)
    return _linear(problem, allowance)


def _of_servers(servers: Servers) -> Allocation | None:
    """The optimum of edges that are alike, by that of the place that they are together.

    None if its users do not fit into them, or it is infeasible.
    """
    try:
        whole = exact(servers.merged)
    except InputError:
        return None  # the problem itself says why, in terms of its own limits
    steps = np.array(whole.steps)
    on_edge = np.array(whole.edge_steps or np.multiply(whole.offload, whole.steps))
    offload = servers.spread(np.array(whole.offload), on_edge)
    if offload is None or whole.lower_bound is None:
        return None
    prices = dict(whole.prices or dict.fromkeys(servers.merged.budgets, whole.edge_price or 0.0))
    for first, members in servers.groups.items():
        prices |= dict.fromkeys(members, prices[first])
    excess = whole.objective - whole.lower_bound
    return evaluated(servers.problem, Choice(offload, steps, on_edge), "exact", prices, excess)


def _linear(problem: Problem, allowance: Allowance) -> Allocation:
    """The optimum of a problem whose makespans do not depend on the longest."""
    options = None if problem.is_plain else Options.of(problem)
    axis = Axis.of(problem, options)
    if axis is None:
        assert options is not None
        return several_limits(problem, options, allowance)
    _keep_freed_memory()
    distinct = DistinctUsers.of(problem)
    users, local = distinct.problem, None
    try:
        if is_convex(users) and not _is_small(users) and sample_of(distinct.count) is None:
            local = best_local(users, axis)
        prices = sampled_prices(users, axis, distinct.count, local, SPREAD / users.users)
        allocation = _solve(problem, axis, distinct, *prices, local)
        if allocation is None:  # the sample misled
            allocation = _solve(problem, axis, distinct, 0.0, np.inf)
    except InputError:
        for place in problem.names:
            # where a cost is too large, this error names the user of the whole problem
            problem.cost(place)
        raise
    assert allocation is not None  # every price lies between 0 and infinity
    return allocation


@cache
def _keep_freed_memory() -> None:
    """glibc gives freed memory back above a threshold, and clearing it again takes as long as the
    arithmetic here; freeing one large block, never touched, raises that threshold for good.
    """
    np.empty(2_000_000)


def _is_small(users: Problem) -> bool:
    """Whether a table of all options is made and kept."""
    return users.users * options_of(users) <= (SMALL if is_convex(users) else KEPT)


def _solve(
    problem: Problem,
    axis: Axis,
    distinct: DistinctUsers,
    low: float,
    high: float,
    local: Local | None = None,
) -> Allocation | None:
    """The allocation if the price of an edge step lies between ``low`` and ``high``, with room.

    None otherwise. ``local`` are the best local options, if at hand.
    """
    users, table = distinct.problem, None
    prices = [np.inf, low] if high == np.inf else [np.inf, high, low]
    if _is_small(users):
        table, local_steps = whole_table(users, axis)
        own = Choices.of_table(table, local_steps, prices)
    else:
        own = choices(users, axis, prices, local)
    served = np.isfinite(own.cost[0])
    check_feasible(problem, axis, distinct.repeated(own.weight[0]), distinct.repeated(served))
    wide = Bracket.of(low, high, own)
    left = axis.budget - int(distinct.count @ wide.weight)
    if left < 0 or (low > 0 and wide.more_steps(distinct.count) <= left):
        return None
    if table is None:
        narrow = wide.narrowed(users, axis, axis.budget, distinct.count, SPREAD / users.users)
        core = _Core.of(problem, axis, distinct, narrow, additions=FIRST_ADDITIONS)
        if not core.changes.stopped and narrow.holds(core.price, core.room):
            return core.allocation(problem, axis, distinct, narrow)
        # as many open users as the gap needs
        narrow = wide.around(users, axis, core.price, 2 * core.room)
        core = _Core.of(problem, axis, distinct, narrow)
        if narrow.holds(core.price, core.room):
            return core.allocation(problem, axis, distinct, narrow)
        if low > 0 or high < np.inf:
            return None
    core = _Core.of(problem, axis, distinct, wide, table)
    if not wide.holds(core.price, core.room):
        return None
    return core.allocation(problem, axis, distinct, wide)


class _Core(NamedTuple):
    """The best choice of the users who are open at the prices of a bracket.

    Shape (open users,): ``many`` steps for ``moved`` of the users that each is, ``few`` for the
    others. Of these groups, in this order, ``changes`` take other steps. No user who is not open is
    part of a better choice, if all prices less than ``room`` from ``price`` are in the bracket.
    """

    price: float
    few: IntArray
    many: IntArray
    moved: IntArray
    changes: Changes
    room: float

    @classmethod
    def of(
        cls,
        problem: Problem,
        axis: Axis,
        distinct: DistinctUsers,
        bracket: Bracket,
        table: FloatArray | None = None,
        additions: int | None = None,
    ) -> "_Core":
        """Relaxed and searched; ``table`` is that of all distinct users, if there is one.

        ``additions`` are those of the search, if fewer than it may take.
        """
        rows, count, width = bracket.rows, distinct.count, 1 + axis.width
        number, (few, many), steps = count[rows], bracket.ends.weight, None
        left = axis.budget - int(count @ bracket.weight - number @ bracket.weight[rows])
        if not len(rows):
            cost = np.empty((0, width))
        elif table is not None:
            cost = table[rows]
        else:
            cost, steps = bracket.options(distinct.problem, axis)
            if steps is not None:  # as columns
                few = np.where(few > 0, few - steps[:, 1] + 1, 0)
                many = many - steps[:, 1] + 1
        price, few, many, moved = relax(cost, left, few, many, number, steps)
        # identical users that start alike are one group: those that keep `few`, then the others
        row, start, copies = (
            np.concatenate(pair)
            for pair in ([np.arange(len(rows))] * 2, (few, many), (number - moved, moved))
        )
        few, many = steps_of(few, steps), steps_of(many, steps)
        fixed = count @ bracket.cost - number @ bracket.cost[rows]
        objective = float(fixed + copies @ cost[row, start])
        spare = left - int((number - moved) @ few + moved @ many)
        core = Groups(cost, price, row, start, steps)
        changes = search(core, copies, spare, width, 1e-15 * abs(objective), additions)
        # of a user that chooses alike at both prices, what it does not choose may be part of a
        # better choice, unless it loses more than the gap; costs compare only up to rounding
        largest = max(-float(bracket.cost.min()), float(bracket.cost.max()))
        rounding = 8 * EPS * (largest + price * width)
        return cls(price, few, many, moved, changes, changes.gap + rounding)

    def allocation(
        self, problem: Problem, axis: Axis, distinct: DistinctUsers, bracket: Bracket
    ) -> Allocation:
        """That of all users."""
        rows, count = bracket.rows, distinct.count
        last = np.cumsum(count)
        # of each group, in distinct.order
        first = np.concatenate([(last - count)[rows], last[rows] - self.moved])
        copies = np.concatenate([count[rows] - self.moved, self.moved])
        weight = np.repeat(bracket.weight, count)
        weight[_runs(first, copies)] = np.repeat(np.concatenate([self.few, self.many]), copies)
        group, shift, _, proven, _ = self.changes
        changed = _runs(first, np.bincount(group, minlength=len(first)))
        weight[changed] += shift[np.argsort(group, kind="stable")]
        choice = axis.decoded(
            problem, distinct.in_problem_order(weight), distinct.repeated(bracket.local.steps)
        )
        return evaluated(problem, choice, "exact", axis.prices(self.price), proven)


def _runs(first: IntArray, length: IntArray) -> IntArray:
    """first[0], first[0] + 1, ..., so many as ``length[0]``, then those of first[1], ..."""
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())
