"""P1 as a mixed-integer linear program, solved by HiGHS: an exact method that shares nothing with :mod:`solver.exact`."""

import numpy as np

from solver.choices import Choices


def milp(problem):
    """The :class:`~solver.allocation.Allocation` that HiGHS proves optimal, to its tolerance of about 1e-7 of the cost range.

    ``lower_bound`` is HiGHS's own.
    Raises InputError if the problem is infeasible, RuntimeError if HiGHS gives up.
    """
    from scipy import optimize, sparse  # half a second to import: only when asked for

    choices = Choices.of(problem)
    user, step = np.nonzero(np.isfinite(choices.cost))
    cost = choices.cost[user, step]
    base = np.minimum.reduceat(cost, np.flatnonzero(np.diff(user, prepend=-1)))  # each UE's least: HiGHS's tolerances are absolute
    excess = cost - base[user]
    unit = excess.max() / 1e4 or 1.0
    one_each = sparse.csr_array((np.ones(len(user)), (user, np.arange(len(user)))))
    result = optimize.milp(
        excess / unit,
        integrality=np.ones(len(user)),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(one_each, 1, 1),
            optimize.LinearConstraint(sparse.csr_array(step[None].astype(float)), -np.inf, choices.budget),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if result.status != 0:
        raise RuntimeError(f"HiGHS: {result.message}")
    taken = result.x > 0.5
    weight = np.zeros(problem.users, dtype=np.int64)
    weight[user[taken]] = step[taken]
    found = choices.allocation(weight, "milp", status="optimal")
    bound = min(found.objective, result.mip_dual_bound * unit + base.sum())
    return choices.allocation(weight, "milp", status="optimal", lower_bound=bound)
