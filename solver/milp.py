"""P1 as a mixed-integer linear program, solved by HiGHS: an exact method that shares nothing with
:mod:`solver.exact.exact`.
"""

import numpy as np

from solver.inputs import InputError
from solver.knapsack import Choices


def milp(problem, time_limit=None):
    """The :class:`~solver.allocation.Allocation` that HiGHS proves optimal, to its tolerance of
    about 1e-7 of the cost range.

    ``lower_bound`` is HiGHS's own. After ``time_limit`` seconds it stops with its best choice so
    far, as ``feasible``. Raises InputError if the problem is infeasible or nothing is found in
    time, RuntimeError if HiGHS gives up.
    """
    from scipy import optimize, sparse  # half a second to import: only when asked for

    choices = Choices.of(problem)
    user, step = np.nonzero(np.isfinite(choices.cost))
    cost = choices.cost[user, step]
    base = np.minimum.reduceat(
        cost, np.flatnonzero(np.diff(user, prepend=-1))
    )  # each UE's least: HiGHS's tolerances are absolute
    excess = cost - base[user]
    unit = excess.max() / 1e4 or 1.0
    one_each = sparse.csr_array((np.ones(len(user)), (user, np.arange(len(user)))))
    result = optimize.milp(
        excess / unit,
        integrality=np.ones(len(user)),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(one_each, 1, 1),
            optimize.LinearConstraint(
                sparse.csr_array(step[None].astype(float)), -np.inf, choices.budget
            ),
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
    found = choices.allocation(weight, "milp")
    return found.bounded(min(found.objective, result.mip_dual_bound * unit + base.sum()))
