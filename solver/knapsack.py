"""P1 as a multiple-choice knapsack: one class for each UE, its best local option weighs 0, an edge
option of s steps s.
"""

from dataclasses import dataclass

import numpy as np

from solver.allocation import evaluate
from solver.inputs import InputError
from solver.problem import PLACES, Problem


@dataclass(frozen=True, eq=False)
class Choices:
    """``cost``, shape (users, 1 + steps), is R~ of eq. (8): column 0 for the best local option,
    column s for s steps on the edge; +inf where not allowed. ``local_steps``, shape (users,), is
    the best local step count. ``budget`` is S_e^max, cut to what all UEs together could use.
    """

    problem: Problem
    cost: np.ndarray
    local_steps: np.ndarray
    budget: int

    @classmethod
    def of(cls, problem):
        """Raises InputError if no choice is feasible: which limit, and by how much."""
        cost, local_steps = options(problem)
        check_feasible(problem, *least_use(cost))
        return cls(problem, cost, local_steps, min(problem.edge_budget, cost.size))

    def allocation(self, weight, solver, local_steps=None, **facts):
        """The :class:`~solver.allocation.Allocation` that gives UE n ``weight[n]`` edge steps, or
        with 0 ``local_steps[n]``, its best if not given. The edge price is the problem's, whichever
        method made the choice.
        """
        weight = np.asarray(weight)
        steps = np.where(
            weight > 0, weight, self.local_steps if local_steps is None else local_steps
        )
        facts = {"edge_price": relax(self.cost, self.budget)[0]} | facts
        return evaluate(self.problem, (weight > 0).astype(int), steps, solver, **facts)


def options(problem, rows=slice(None)):
    """``cost`` and ``local_steps`` of :class:`Choices`, for the UEs ``rows``, an index array or a
    slice.
    """
    part = problem.part(rows)
    local, edge = (part.cost(place, problem.steps(place)) for place in PLACES)
    best = local.argmin(axis=1) if local.shape[1] else np.zeros(part.users, dtype=np.int64)
    return np.column_stack([local.min(axis=1, initial=np.inf), edge]), best + 1


def cheapest(cost, price):
    """The edge steps, shape (users,), that each UE chooses for itself at ``price``, inf included;
    of equally good ones the fewest.
    """
    if price == np.inf:
        return np.isfinite(cost).argmax(axis=1)
    return (cost + price * np.arange(cost.shape[1]) if price else cost).argmin(axis=1)


def least_use(cost):
    """The fewest edge steps that each UE can do with, and whether it has any option at all; shape
    (users,) each.
    """
    fewest, bound = np.zeros(len(cost), dtype=np.int64), np.flatnonzero(np.isinf(cost[:, 0]))
    fewest[bound] = cheapest(cost[bound], np.inf)
    return fewest, np.isfinite(cost[np.arange(len(cost)), fewest])


def relax(cost, budget, few=None, many=None, count=1):
    """The price delta of an edge step, the dual of (1): ``(price, few, many, moved)``.

    delta >= 0 is the slope, to the right of S_e^max and with its sign turned, of the lower convex
    envelope of the optimal objective as a function of S_e^max: what a further edge step saves,
    averaged over the next stretch of the envelope; 0 where the budget is slack. That envelope is
    the value of the relaxation, so delta needs no integer solution: it is where the steps that
    every UE chooses for itself at price delta cross the budget. ``few`` <= ``many``, shape
    (users,), are two choices, both optimal at that price; with ``many`` for ``moved`` UEs of each
    row, ``few`` for the others, the budget holds, and one more would break it. ``count``, one
    number or shape (users,): how many UEs each row stands for. ``few`` and ``many`` may come as the
    choices at two prices that enclose delta.
    """
    few = cheapest(cost, np.inf) if few is None else few.copy()
    many = cheapest(cost, 0.0) if many is None else many.copy()
    count = np.broadcast_to(count, len(cost))
    if (count * many).sum() <= budget:
        return 0.0, few, many, count.copy()
    rows = np.flatnonzero(few < many)  # for the others the choice is made
    cost = cost[rows]
    # few and many cost the same at the secant's price; at the right delta nothing lies below both
    while True:
        at, least, most = np.arange(len(rows)), few[rows], many[rows]
        gain, steps = (
            (count[rows] * (cost[at, least] - cost[at, most])).sum(),
            count[rows] * (most - least),
        )
        price = float(gain / steps.sum())
        between = cheapest(cost, price)
        taken = (count[rows] * (between - least)).sum()
        if not 0 < taken < steps.sum():
            break
        if (count * few).sum() + taken <= budget:
            few[rows] = between
        else:
            many[rows] = between
        still = few[rows] < many[rows]
        rows, cost = rows[still], cost[still]
    # at delta both choices are optimal for each UE: move UEs from one to the other while they fit
    step, left = np.maximum(many - few, 0), budget - int((count * few).sum())
    before = np.cumsum(count * step) - count * step
    moved = np.clip((left - before) // np.maximum(step, 1), 0, count)
    if len(over := np.flatnonzero((moved < count) & (step > 0))):
        moved[over[0] + 1 :] = 0
    return price, few, many, np.where(step > 0, moved, 0)


def check_feasible(problem, fewest, served):
    """Raise InputError if no choice is feasible: which limit, and by how much. ``fewest``,
    ``served``: as of :func:`least_use`.
    """
    if not served.all():
        _refuse(problem, int(served.argmin()), int((~served).sum()) - 1)
    need, bound = int(fewest.sum()), int((fewest > 0).sum())
    if need > problem.edge_budget:
        who = (
            "the 1 user that only the edge can serve needs"
            if bound == 1
            else f"the {bound} users that only the edge can serve need"
        )
        raise InputError(
            f"{problem.where}: edge_budget: {problem.edge_budget} is too small: {who} at least {need} steps"
        )


def _refuse(problem, user, more):
    """Raise InputError for a UE without any option: the limit that it fails, and by how much."""
    who = f"user {user}" + (f" (and {more} more)" if more else "")
    one, ranges, time, error = problem.part([user]), [], [], []
    for place in PLACES:
        steps = problem.steps(place)
        low, high = (
            int(getattr(getattr(one, place), name).max()) for name in ("min_steps", "max_steps")
        )
        ranges.append(f"{place} {low}..{high}")
        time.append(one.time(place, steps)[0, low - 1 : high])
        error.append(one.error(place, steps)[0, low - 1 : high])
    time, error = np.concatenate(time), np.concatenate(error)
    if not len(time):
        raise InputError(
            f"{problem.where}: max_steps: {who}: no step count is allowed: min_steps..max_steps is {' and '.join(ranges)}"
        )
    for name, unit, values in (("deadline", " s", time), ("max_error", "", error)):
        limit = getattr(one, name)
        if limit is not None and values.min() > (limit := limit.max()):
            raise InputError(
                f"{problem.where}: {name}: {who}: no step count satisfies {name} {limit:g}{unit}: "
                f"at least {values.min():g}{unit} is needed, {values.min() - limit:.3g}{unit} more"
            )
    # each limit can be met, but not both
    deadline, most = one.deadline.max(), one.max_error.max()
    reach = error[time <= deadline].min()
    raise InputError(
        f"{problem.where}: max_error: {who}: no step count satisfies max_error {most:g} within deadline {deadline:g} s: "
        f"the error there is at least {reach:g}, {reach - most:.3g} more"
    )
