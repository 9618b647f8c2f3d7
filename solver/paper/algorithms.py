"""The paper's method (Wang, Liu, Zhao, VTC 2024), to compare with: Algorithms 1 and 3 around P2.

Algorithm 2 is in :mod:`solver.paper.p2`, and eqs. (10)-(23) are solved as printed. Where the method
departs from the paper, and why:

- **Shift.** R~ is shifted by w2 at both places, and by more where a table has a utility above 1: R~
  may be negative, but (10) needs R~ > 0 and P2 needs R~^2 convex. No argmin changes. u and v take
  R~ no smaller than ``SMALLEST`` of the largest.
- **Unit.** Costs are divided by the largest R~, and tau with them, so that tolerances are relative.
- **Floor.** u, v, z are taken at a_n no nearer than ``FLOOR`` to 0 and 1, where (10), (11) are 0/0.
  Algorithm 1 descends up to this.
- **Time** has intercepts, T = overhead + s step_time, and an offloaded image's transfer_time and
  transfer_energy; the paper is the case of 0.
- **One edge.** Problems with more than one edge place and one budget of its steps are refused.
- **Step limits.** Steps are positive, so s_n has a lower limit too. The limits are the first and
  the last step that ``problem/1`` allows at each place, deadline and error included; a_n is fixed
  where only one place can serve.
- **Budget.** (16b) holds with min(S_e^max, sum of S_{n,1}^max), the same problem without a vast
  number.
- **Root of (23).** Algorithm 2 finds delta by Newton steps inside the bracket that the paper
  bisects, from the last pass's delta; the root is the same.
- **Start and stop.** The paper publishes neither. Each round of Algorithm 3 starts from the last
  iterate of the round before. Both loops stop when no a_n moves by 1e-3 and no s_n by 1e-3 (1 +
  s_n), or after K = 50 passes and I = 20 rounds.
- **Rounding.** s_n is rounded, so that (1) and (2) hold.
- **Tables.** A table becomes its smoothed lower convex envelope, as P2 is convex only if the curves
  are. Rounding uses the table itself.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from solver.allocation import Allocation
from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError
from solver.knapsack import Knapsack
from solver.paper.p2 import KKTPoint, algorithm_2
from solver.paper.relaxation import Relaxation
from solver.problem import Problem

#: tau of each round of the continuation, in units of the problem's largest cost: it grows from no
#: penalty to one that decides.
GROWN = (0.0, *np.geomspace(0.01, 10, 10))


class Iterate(NamedTuple):
    """One pass of Algorithm 2, or the start.

    ``outer`` counts the rounds of Algorithm 3, at penalty weight ``tau``, and ``inner`` the passes
    of Algorithm 1; ``a`` and ``s`` have shape (users,). ``delta`` is the price of an edge step,
    ``surrogate`` the optimum of P2 and ``objective`` eq. (8) at (a, s), both un-shifted.
    """

    outer: int
    inner: int
    tau: float
    a: FloatArray
    s: FloatArray
    delta: float
    surrogate: float
    objective: float

    @property
    def edge_steps(self) -> float:
        """The left side of (1)."""
        return float(self.a @ self.s)

    @property
    def fraction(self) -> float:
        """The largest distance of an a_n from 0 and 1."""
        return float(np.minimum(self.a, 1 - self.a).max())


def algorithm_1(
    relaxation: Relaxation,
    a: FloatArray,
    s: FloatArray,
    tau: float,
    delta: float = 0.0,
    passes: int = 50,
    tolerance: float = 1e-3,
) -> Iterator[KKTPoint]:
    """Algorithm 1, intra sub-problem: solve P2 and renew u, v, z, and yield the point of each pass.

    It stops when nothing moves by ``tolerance``, or after ``passes``, K in the paper. ``a`` is
    a^(i), around which (12) is linearised all the while, and ``delta`` is a guess. It yields
    nothing if P2 has no point, as with a budget below what ``FLOOR`` spends.
    """
    around = a
    for _ in range(passes):
        p2 = relaxation.p2(a, s, around, tau)
        if not p2.feasible():
            return
        point = algorithm_2(p2, delta)
        yield point
        if _moved(a, s, point.a, point.s) <= tolerance:
            return
        a, s, delta = point.a, point.s, point.delta


def algorithm_3(
    problem: Problem,
    start: ArrayLike = 0.5,
    seed: int = 0,
    tau: ArrayLike | None = 1e5,
    rounds: int = 20,
    passes: int = 50,
    tolerance: float = 1e-3,
) -> list[Iterate]:
    """Algorithm 3, inter sub-problem (SCA): Algorithm 1, then linearise the penalty at its a.

    It stops when nothing moves by ``tolerance``, or after ``rounds``, I in the paper. ``tau`` is
    the paper's number, or one for each round, the last for all that follow, or None for
    :data:`GROWN`. ``start`` and ``seed`` are those of
    :meth:`~solver.paper.relaxation.Relaxation.start`. The problem must be feasible. Returns the
    trace: first the start, last the answer.
    """
    relaxation = Relaxation.of(problem)
    taus = np.atleast_1d(relaxation.unit * np.array(GROWN) if tau is None else tau)
    a, s = relaxation.start(start, seed)
    objective = relaxation.objective(a, s)
    trace = [Iterate(0, 0, float(taus[0]), a, s, 0.0, objective, objective)]
    for outer in range(rounds):
        before, weight = trace[-1], float(taus[min(outer, len(taus) - 1)])
        a, s, guess = before.a, before.s, before.delta / relaxation.unit
        for inner, point in enumerate(
            algorithm_1(relaxation, a, s, weight, guess, passes, tolerance), start=1
        ):
            a, s, delta = point.a, point.s, relaxation.unit * point.delta
            surrogate = relaxation.unit * point.objective - relaxation.shift.sum()
            trace.append(
                Iterate(outer, inner, weight, a, s, delta, surrogate, relaxation.objective(a, s))
            )
        if _moved(before.a, before.s, a, s) <= tolerance and outer >= len(taus) - 1:
            break
    return trace


def rounded(problem: Problem, a: FloatArray, s: FloatArray) -> tuple[IntArray, IntArray]:
    """Whole steps that keep (1) and (2): edge steps, 0 for a local user, and local steps.

    Both have shape (users,). a_n >= 1/2 is the edge, and s_n goes to the nearest step that is
    allowed there. While (1) fails, the user that loses least for each step gives up steps, or the
    edge.
    """
    cost = [problem.cost(place) for place in problem.names]
    local_steps, weight = (_nearest(table, s) for table in cost)
    local = np.take_along_axis(
        np.column_stack([cost[0], np.full(problem.users, np.inf)]), local_steps[:, None] - 1, axis=1
    )
    weight = np.where(a >= 0.5, weight, 0)
    excess = int(weight.sum()) - problem.edge_budget

    def cheapest_cut(user: np.int64) -> tuple[float, np.int64, int]:
        """(loss for each step, user, edge steps left), infinite where nothing less is allowed."""
        now, edge = weight[user], cost[1][user]
        rate = (np.append(local[user], edge[: now - 1]) - edge[now - 1]) / (now - np.arange(now))
        return rate.min(), user, int(rate.argmin())

    cuts = [cheapest_cut(user) for user in np.flatnonzero(weight)] if excess > 0 else []
    heapq.heapify(cuts)
    while excess > 0:
        _, user, left = heapq.heappop(cuts)
        excess -= weight[user] - left
        weight[user] = left
        if left:
            heapq.heappush(cuts, cheapest_cut(user))
    return weight, local_steps


def paper(
    problem: Problem, start: ArrayLike = 0.5, seed: int = 0, tau: ArrayLike | None = 1e5
) -> Allocation:
    """The paper's method as published, tau = 1e5, from every a_n = 1/2, undecided.

    The paper does not publish its start. The settings are those of :func:`algorithm_3`. Raises
    InputError if the problem is infeasible, or has more than one edge with one budget.
    """
    if not problem.is_plain:
        raise InputError(
            f"{problem.where}: found {', '.join(problem.names)} with {', '.join(problem.budgets)}; "
            "allowed for the paper's method: one edge place and one budget of its steps"
        )
    knapsack = Knapsack.of(problem)
    answer = algorithm_3(problem, start, seed, tau)[-1]
    weight, local_steps = rounded(problem, answer.a, answer.s)
    return knapsack.allocation(weight, "paper" if tau is not None else "paper_grown", local_steps)


def paper_grown(problem: Problem, start: ArrayLike = "random", seed: int = 0) -> Allocation:
    """The paper's method with tau grown from 0, a continuation that the paper does not have.

    The penalty decides late, so the answer hardly depends on the start; but from equal a_n equal
    users would stay equal, hence a random one.
    """
    return paper(problem, start, seed, tau=None)


def _nearest(cost: FloatArray, s: FloatArray) -> IntArray:
    """The allowed step nearest to s_n, the lower of two, 1 where none is; shape (users,)."""
    distance = np.where(
        np.isfinite(cost), np.abs(np.arange(1, cost.shape[1] + 1) - s[:, None]), np.inf
    )
    return 1 + distance.argmin(axis=1) if cost.shape[1] else np.ones(len(s), dtype=np.int64)


def _moved(a: FloatArray, s: FloatArray, new_a: FloatArray, new_s: FloatArray) -> float:
    """The largest change of an a_n, or of an s_n relative to 1 + s_n."""
    return max(np.abs(new_a - a).max(), (np.abs(new_s - s) / (1 + s)).max())
