"""P1 as a mixed-integer linear program, solved by HiGHS.

An exact method that shares nothing with :mod:`solver.exact`.
"""

import numpy as np

from solver.allocation import Allocation, evaluate
from solver.certificate import prove
from solver.inputs import InputError
from solver.knapsack import Knapsack
from solver.problem import Problem


def milp(problem: Problem, time_limit: float | None = None) -> Allocation:
    """The allocation that HiGHS calls optimal, to its tolerance of about 1e-7 of the cost range.

    HiGHS is not believed: ``lower_bound`` is what our own certificate proves of its choice, and the
    choice is "feasible" if that is not enough. After ``time_limit`` seconds it stops with its best
    choice so far, and with its own bound if that is the lower. Raises InputError if the problem is
    infeasible or HiGHS has no choice in time, RuntimeError if HiGHS gives up.
    """
    from scipy import optimize, sparse  # half a second to import: only when asked for

    knapsack = Knapsack.of(problem)
    user, step = np.nonzero(np.isfinite(knapsack.cost))
    cost = knapsack.cost[user, step]
    # HiGHS's tolerances are absolute: costs are taken above each user's least, in a common unit
    base = np.minimum.reduceat(cost, np.flatnonzero(np.diff(user, prepend=-1)))
    above = cost - base[user]
    unit = above.max() / 1e4 or 1.0
    one_option_each = sparse.csr_array((np.ones(len(user)), (user, np.arange(len(user)))))
    edge_steps = sparse.csr_array(step[None].astype(float))
    result = optimize.milp(
        above / unit,
        integrality=np.ones(len(user)),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(one_option_each, 1, 1),
            optimize.LinearConstraint(edge_steps, -np.inf, knapsack.budget),
        ],
        options={"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit}),
    )
    out_of_time = result.status == 1
    if out_of_time and result.x is None:
        raise InputError(
            f"{problem.where}: milp: found no choice within the time limit of {time_limit:g} s"
        )
    if result.status and not out_of_time:
        raise RuntimeError(f"HiGHS: {result.message}")
    taken = result.x > 0.5
    weight = np.zeros(problem.users, dtype=np.int64)
    weight[user[taken]] = step[taken]
    allocation = knapsack.allocation(weight, "milp")
    excess = prove(problem, allocation).excess
    choice = allocation.offload, allocation.steps
    price = allocation.edge_price
    proven = evaluate(problem, *choice, "milp", edge_price=price, excess=excess)
    if not out_of_time or proven.lower_bound is None:
        return proven
    return proven.bounded(min(proven.lower_bound, result.mip_dual_bound * unit + base.sum()))
