"""P1 as a mixed-integer linear program, solved by HiGHS.

An exact method that shares nothing with :mod:`solver.exact`.
"""

from typing import Any

import numpy as np

from solver.allocation import Allocation
from solver.certificate import prove
from solver.exact.prices import priced
from solver.inputs import InputError
from solver.knapsack import Knapsack, evaluated
from solver.limits import check_memory
from solver.options import Menu, Options
from solver.problem import Problem
from solver.problem.refusal import check_served


def milp(problem: Problem, time_limit: float | None = None) -> Allocation:
    """The allocation that HiGHS calls optimal, to its tolerance of about 1e-7 of the cost range.

    HiGHS is not believed: ``lower_bound`` is what our own certificate proves of its choice, and the
    choice is "feasible" if that is not enough. After ``time_limit`` seconds it stops with its best
    choice so far, and with its own bound if that is the lower. Raises InputError if the problem is
    infeasible or HiGHS has no choice in time, RuntimeError if HiGHS gives up.
    """
    from scipy import optimize, sparse  # half a second to import: only when asked for

    if problem.is_plain:
        Knapsack.of(problem)  # refuses what is infeasible
    options = Options.of(problem)
    spans = [
        (load.makespan, np.where(options.edges(problem) == name, options.edge_steps, 0))
        for name, load in problem.loads.items()
        if load.makespan and load.makespan.per_longest_step
    ]
    menu = Menu.of(np.column_stack([options.weight, *(steps for _, steps in spans)]))
    check_memory(problem.where, problem.users * (len(options.place) + 2 * len(menu.weight)))
    cost, option = menu.cheapest(options.cost(problem))
    check_served(problem, np.asarray(np.isfinite(cost).any(axis=1)))
    user, entry = np.nonzero(np.isfinite(cost))
    # HiGHS's tolerances are absolute: costs are taken above each user's least, in a common unit
    base = cost.min(axis=1)
    above = cost[user, entry] - base[user]
    unit = above.max() / 1e4 or 1.0
    count, at = len(user), np.arange(len(user))
    # one variable for each option, and the longest of each batch
    limits: list[tuple[Any, Any, Any]] = [
        (sparse.csr_array((np.ones(count), (user, at)), (problem.users, count)), 1, 1)
    ]
    if len(options.capacity):
        weight = sparse.csr_array(menu.weight[entry, : len(options.capacity)].T.astype(float))
        limits.append((weight, -np.inf, options.capacity))
    rows = [
        sparse.hstack([row, sparse.csr_array((row.shape[0], len(spans)))]) for row, *_ in limits
    ]
    constraints = [
        optimize.LinearConstraint(row, low, high)
        for row, (_, low, high) in zip(rows, limits, strict=True)
    ]
    for index, (span, _) in enumerate(spans):
        steps = menu.weight[entry, len(options.capacity) + index].astype(float)
        longest = sparse.csr_array(([-1.0], ([0], [index])), (1, len(spans)))
        own = sparse.csr_array((steps, (user, at)), (problem.users, count))
        below = sparse.hstack([own, sparse.vstack([longest] * problem.users)])
        seconds = sparse.hstack([span.per_step * steps[None], -span.per_longest_step * longest])
        constraints.append(optimize.LinearConstraint(below, -np.inf, 0))
        constraints.append(optimize.LinearConstraint(seconds, -np.inf, span.limit * (1 + 1e-9)))
    result = optimize.milp(
        np.append(above / unit, np.zeros(len(spans))),
        integrality=np.append(np.ones(count), np.zeros(len(spans))),
        bounds=optimize.Bounds(0, np.append(np.ones(count), np.full(len(spans), np.inf))),
        constraints=constraints,
        options={"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit}),
    )
    out_of_time = result.status == 1
    if out_of_time and result.x is None:
        raise InputError(
            f"{problem.where}: milp: found no choice within the time limit of {time_limit:g} s"
        )
    if result.status == 2:
        raise InputError(f"{problem.where}: milp: no choice keeps all limits together")
    if result.status and not out_of_time:
        raise RuntimeError(f"HiGHS: {result.message}")
    taken = result.x[:count] > 0.5
    chosen = np.zeros(problem.users, dtype=np.int64)
    chosen[user[taken]] = option[user[taken], entry[taken]]
    choice = options.chosen(chosen)
    allocation = priced(problem, choice, "milp")
    excess = prove(problem, allocation).excess
    prices = allocation.edge_price if problem.is_plain else allocation.prices
    proven = evaluated(problem, choice, "milp", prices, excess)
    if not out_of_time or proven.lower_bound is None:
        return proven
    return proven.bounded(min(proven.lower_bound, result.mip_dual_bound * unit + base.sum()))
