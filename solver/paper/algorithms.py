"""The paper's method (Wang, Liu, Zhao, VTC 2024), to compare with: Algorithms 1 and 3 around P2,
and what makes steps whole.

Algorithm 2 is in :mod:`solver.paper.p2`. Where the method departs from the paper, and why:

- R~ is shifted by w2 at both places: it may be negative, but (10) needs R~ > 0 and P2 needs R~^2 convex. No argmin changes.
- u, v, z are taken at a_n no nearer than ``FLOOR`` to 0 and 1, where (10), (11) are 0/0. Algorithm 1 descends up to this.
- Steps are positive, so s_n has a lower limit. The limits are the first and the last step that ``problem/1`` allows at each
  place, deadline and error heard; a_n is fixed where only one place can serve.
- s_n is rounded, so that (1) and (2) hold.
- A table becomes its smoothed lower convex envelope, as P2 is convex only if the curves are. Rounding hears the table.
"""

import heapq
from typing import NamedTuple

import numpy as np

from solver.knapsack import Choices
from solver.paper.p2 import algorithm_2
from solver.paper.relaxation import Relaxation
from solver.problem import PLACES

#: tau of each round for a continuation, in units of the problem's largest cost: from no penalty to
#: one that decides.
GROWN = (0.0, *np.geomspace(0.01, 10, 10))


class Iterate(NamedTuple):
    """One pass of Algorithm 2, or the start: ``a``, ``s`` of shape (users,), ``surrogate`` the
    optimum of P2 and ``objective`` eq. (8) there, both un-shifted; pass ``inner`` of round
    ``outer``, at ``tau``; ``delta`` the price of an edge step.
    """

    outer: int
    inner: int
    tau: float
    a: np.ndarray
    s: np.ndarray
    delta: float
    surrogate: float
    objective: float

    @property
    def edge_steps(self):
        """The left side of (1)."""
        return float(self.a @ self.s)

    @property
    def fraction(self):
        """The largest distance of an a_n from 0 and 1."""
        return float(np.minimum(self.a, 1 - self.a).max())


def algorithm_1(relaxation, a, s, tau, delta=0.0, passes=50, tolerance=1e-3):
    """Algorithm 1, intra-sub-problem: solve P2, renew u, v, z, until nothing moves by ``tolerance``
    or for ``passes``.

    ``a`` is a^(i), around which (12) is linearised all the while; ``delta`` a guess. Yields the
    :class:`~solver.paper.p2.KKTPoint` of each pass; none if P2 has no point, as with a budget below
    what ``FLOOR`` spends.
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


def algorithm_3(problem, start=0.5, seed=0, tau=1e5, rounds=20, passes=50, tolerance=1e-3):
    """Algorithm 3, inter-sub-problem (SCA): Algorithm 1, then linearise the penalty at the new
    a^(i), until nothing moves.

    ``tau`` is the paper's number, or one for each round, the last for all that follow, or None for
    :data:`GROWN`. ``start`` and ``seed`` as in :meth:`~solver.paper.relaxation.Relaxation.start`.
    The problem must be feasible. Returns the trace, a list of :class:`Iterate`: first the start,
    last the answer.
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


def rounded(problem, a, s):
    """(edge steps, 0 for a local UE; steps at the local place), integers of shape (users,), that
    keep (1) and (2).

    a_n >= 1/2 is the edge, and s_n goes to the nearest step that is allowed there. While (1) fails,
    the UE that loses least for each step gives up steps, or the edge.
    """
    cost = [problem.cost(place) for place in PLACES]
    local_steps, weight = (_nearest(table, s) for table in cost)
    local = np.take_along_axis(
        np.column_stack([cost[0], np.full(problem.users, np.inf)]), local_steps[:, None] - 1, axis=1
    )
    weight = np.where(a >= 0.5, weight, 0)
    excess = int(weight.sum()) - problem.edge_budget

    def cheapest_cut(user):
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


def paper(problem, start=0.5, seed=0, tau=1e5):
    """The paper's method as published, tau = 1e5. The paper does not publish its start: here every
    a_n = 1/2, undecided.

    The settings are those of :func:`algorithm_3`. Raises InputError if the problem is infeasible.
    """
    choices = Choices.of(problem)
    answer = algorithm_3(problem, start, seed, tau)[-1]
    weight, local_steps = rounded(problem, answer.a, answer.s)
    return choices.allocation(weight, "paper" if tau is not None else "paper_grown", local_steps)


def paper_grown(problem, start="random", seed=0):
    """The paper's method with tau grown from 0, so that the penalty decides late: a continuation
    that the paper does not have.

    Its answer hardly depends on the start, but from equal a_n equal UEs would stay equal: hence a
    random one.
    """
    return paper(problem, start, seed, tau=None)


def _nearest(cost, s):
    """The allowed step nearest to s_n, 1 where none is, shape (users,); of two the lower."""
    distance = np.where(
        np.isfinite(cost), np.abs(np.arange(1, cost.shape[1] + 1) - s[:, None]), np.inf
    )
    return 1 + distance.argmin(axis=1) if cost.shape[1] else np.ones(len(s), dtype=np.int64)


def _moved(a, s, new_a, new_s):
    """The largest change of an a_n, or of an s_n relative to 1 + s_n."""
    return max(np.abs(new_a - a).max(), (np.abs(new_s - s) / (1 + s)).max())
