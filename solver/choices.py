"""P1 as a multiple-choice knapsack: one class for each UE, its best local option weighs 0, an edge option of s steps s."""

from dataclasses import dataclass

import numpy as np

from solver.allocation import evaluate
from solver.inputs import InputError
from solver.problem import PLACES, Problem


@dataclass(frozen=True, eq=False)
class Choices:
    """``cost``, shape (users, 1 + steps), is R~ of eq. (8): column 0 for the best local option, column s for s steps on
    the edge; +inf where not allowed. ``local_steps``, shape (users,), is the best local step count. ``budget`` is S_e^max,
    cut to what all UEs together could use.
    """

    problem: Problem
    cost: np.ndarray
    local_steps: np.ndarray
    budget: int

    @classmethod
    def of(cls, problem):
        """Raises InputError if no choice is feasible: which limit, and by how much."""
        local, edge = problem.cost("local"), problem.cost("edge")
        best = local.argmin(axis=1) if local.shape[1] else np.zeros(problem.users, dtype=np.int64)
        cost = np.column_stack([local.min(axis=1, initial=np.inf), edge])
        _check_users(problem, np.isfinite(cost).any(axis=1))
        fewest = np.isfinite(cost).argmax(axis=1)
        need, bound = int(fewest.sum()), int((fewest > 0).sum())
        if need > problem.edge_budget:
            who = "the 1 user that only the edge can serve needs" if bound == 1 else f"the {bound} users that only the edge can serve need"
            raise InputError(f"{problem.where}: edge_budget: {problem.edge_budget} is too small: {who} at least {need} steps")
        return cls(problem, cost, best + 1, min(problem.edge_budget, edge.size))

    def allocation(self, weight, solver, local_steps=None, **facts):
        """The :class:`~solver.allocation.Allocation` that gives UE n ``weight[n]`` edge steps, or with 0 ``local_steps[n]``,
        its best if not given. The edge price is the problem's, whichever method made the choice.
        """
        weight = np.asarray(weight)
        steps = np.where(weight > 0, weight, self.local_steps if local_steps is None else local_steps)
        facts = {"edge_price": relax(self.cost, self.budget)[0]} | facts
        return evaluate(self.problem, (weight > 0).astype(int), steps, solver, **facts)


def relax(cost, budget):
    """The price delta of an edge step, the dual of (1), and a choice of steps, shape (users,), that is optimal at that price.

    delta >= 0 is the slope, to the right of S_e^max and with its sign turned, of the lower convex envelope of the optimal
    objective as a function of S_e^max: what a further edge step saves, averaged over the next stretch of the envelope; 0
    where the budget is slack. That envelope is the value of the relaxation, so delta needs no integer solution: it is
    where the steps that every UE chooses for itself at price delta cross the budget. The choice keeps within the budget.
    """
    steps, rows = np.arange(cost.shape[1]), np.arange(len(cost))
    many = cost.argmin(axis=1)  # at price 0; of equals the fewest steps
    few = np.isfinite(cost).argmax(axis=1)  # at price infinity
    if many.sum() <= budget:
        return 0.0, many
    while True:  # the two choices cost the same at the secant's price; at the right delta nothing lies below both
        price = (cost[rows, few] - cost[rows, many]).sum() / (many - few).sum()
        between, undecided = few.copy(), np.flatnonzero(few < many)
        between[undecided] = (cost[undecided] + price * steps).argmin(axis=1)
        if not few.sum() < between.sum() < many.sum():
            break
        if between.sum() <= budget:
            few = between
        else:
            many = between
    # at delta both choices are optimal for each UE: move UEs from one to the other while they fit
    more = np.maximum(many - few, 0)
    return float(price), few + np.where(np.cumsum(more) <= budget - few.sum(), more, 0)


def _check_users(problem, served):
    """Raise InputError for the first UE without any option, with the limit that it fails and by how much."""
    if served.all():
        return
    user, more = int(served.argmin()), int((~served).sum()) - 1
    who = f"user {user}" + (f" (and {more} more)" if more else "")
    least = {}  # name -> the smallest value of it that any step count gives
    for name, quantity in (("deadline", problem.time), ("max_error", problem.error)):
        values = [quantity(place)[user][_in_range(problem, place, user)] for place in PLACES]
        least[name] = np.concatenate(values).min(initial=np.inf)
    if least["deadline"] == np.inf:
        ranges = " and ".join("{} {}..{}".format(place, *_range(problem, place, user)) for place in PLACES)
        raise InputError(f"{problem.where}: max_steps: {who}: no step count is allowed: min_steps..max_steps is {ranges}")
    for name, unit in (("deadline", " s"), ("max_error", "")):
        limit = getattr(problem, name)
        if limit is not None and least[name] > _of(limit, user):
            raise InputError(
                f"{problem.where}: {name}: {who}: no step count satisfies {name} {_of(limit, user):g}{unit}: "
                f"at least {least[name]:g}{unit} is needed, {least[name] - _of(limit, user):.3g}{unit} more"
            )
    # each limit can be met, but not both
    deadline, most = _of(problem.deadline, user), _of(problem.max_error, user)
    errors = [problem.error(p)[user][_in_range(problem, p, user) & (problem.time(p)[user] <= deadline)] for p in PLACES]
    reach = np.concatenate(errors).min()
    raise InputError(
        f"{problem.where}: max_error: {who}: no step count satisfies max_error {most:g} within deadline {deadline:g} s: "
        f"the error there is at least {reach:g}, {reach - most:.3g} more"
    )


def _of(limit, user):
    return float(limit if limit.ndim == 0 else limit[user])


def _range(problem, place, user):
    here = getattr(problem, place)
    return int(_of(here.min_steps, user)), int(_of(here.max_steps, user))


def _in_range(problem, place, user):
    low, high = _range(problem, place, user)
    return (problem.steps(place) >= low) & (problem.steps(place) <= high)
