"""P1 as a multiple-choice knapsack problem, with one item class for each user.

The best local option weighs 0, and the edge option of s steps weighs s.
"""

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from solver.allocation import Allocation, evaluate
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.inputs import InputError
from solver.limits import check_memory
from solver.problem import PLACES, Problem
from solver.problem.curves import Rows
from solver.problem.problem import is_met


@dataclass(frozen=True, eq=False)
class Knapsack:
    """The cost table of a problem.

    ``cost``, shape (users, 1 + steps), is R~ of eq. (8): column 0 for the best local option, column
    s for s steps on the edge, +inf where an option is not allowed. ``local_steps``, shape (users,),
    is the best local step count. ``budget`` is S_e^max, cut to what all users could use together.
    """

    problem: Problem
    cost: FloatArray
    local_steps: IntArray
    budget: int

    @classmethod
    def of(cls, problem: Problem) -> "Knapsack":
        """The table of all users.

        Raises InputError if no choice is feasible: which limit fails, and by how much; and if the
        table needs more memory than there is.
        """
        steps = sum(len(problem.steps(place)) for place in PLACES)
        check_memory(problem.where, problem.users * (1 + steps))
        cost, local_steps = cost_table(problem)
        check_feasible(problem, *fewest_steps(cost))
        return cls(problem, cost, local_steps, usable_budget(problem))

    def allocation(
        self,
        weight: ArrayLike,
        solver: str,
        local_steps: ArrayLike | None = None,
        edge_price: float | None = None,
    ) -> Allocation:
        """The allocation of ``weight`` edge steps, shape (users,); a user with 0 stays local.

        Local users take ``local_steps``, or the best count. The edge price is the problem's if not
        given, whichever method made the choice.
        """
        weight = np.asarray(weight)
        local_steps = self.local_steps if local_steps is None else local_steps
        if edge_price is None:
            edge_price = relax(self.cost, self.budget).price
        steps = np.where(weight > 0, weight, local_steps)
        offload = (weight > 0).astype(int)
        return evaluate(self.problem, offload, steps, solver, edge_price=edge_price)


def usable_budget(problem: Problem) -> int:
    """S_e^max of (1), cut to what all users could use together."""
    return min(problem.edge_budget, problem.users * len(problem.steps("edge")))


def cost_table(problem: Problem, rows: Rows = slice(None)) -> tuple[FloatArray, IntArray]:
    """``cost`` and ``local_steps`` of :class:`Knapsack` for the users ``rows``."""
    part = problem.part(rows)
    local, edge = (part.cost(place, problem.steps(place)) for place in PLACES)
    best = local.argmin(axis=1) if local.shape[1] else np.zeros(part.users, dtype=np.int64)
    return np.column_stack([local.min(axis=1, initial=np.inf), edge]), best + 1


def cheapest(cost: FloatArray, price: float) -> IntArray:
    """The edge steps, shape (users,), that each user chooses for itself at ``price``.

    Of equally good options it takes the one with the fewest steps; ``price`` may be infinite.
    """
    if price == np.inf:
        return np.isfinite(cost).argmax(axis=1)
    return (cost + price * np.arange(cost.shape[1]) if price else cost).argmin(axis=1)


def fewest_steps(cost: FloatArray) -> tuple[IntArray, BoolArray]:
    """The fewest edge steps that serve each user, and whether any option does; shape (users,)."""
    fewest, edge_only = np.zeros(len(cost), dtype=np.int64), np.flatnonzero(np.isinf(cost[:, 0]))
    fewest[edge_only] = cheapest(cost[edge_only], np.inf)
    return fewest, np.isfinite(cost[np.arange(len(cost)), fewest])


class Split(NamedTuple):
    """The relaxed optimum: at ``price`` two choices, ``few`` <= ``many``, are optimal.

    With ``many`` for ``moved`` users of each row and ``few`` for the others the budget holds, and
    one more would break it. Arrays have shape (rows,).
    """

    price: float
    few: IntArray
    many: IntArray
    moved: IntArray


def relax(
    cost: FloatArray,
    budget: float,
    few: IntArray | None = None,
    many: IntArray | None = None,
    count: int | IntArray = 1,
) -> Split:
    """The price delta of an edge step, the dual of (1), and the relaxed optimum at that price.

    delta >= 0 is the slope, to the right of S_e^max and with its sign turned, of the lower convex
    envelope of the optimal objective as a function of S_e^max: what a further edge step saves,
    averaged over the next stretch of the envelope; 0 where the budget is slack. That envelope is
    the value of the relaxation, so delta needs no integer solution: it is where the steps that
    all users choose for themselves at price delta cross the budget. ``count``, one number or shape
    (rows,), is how many users each row stands for. ``few`` and ``many`` may be given as the choices
    at two prices that enclose delta.
    """
    few = cheapest(cost, np.inf) if few is None else few.copy()
    many = cheapest(cost, 0.0) if many is None else many.copy()
    count = np.broadcast_to(count, len(cost))
    if (count * many).sum() <= budget:
        return Split(0.0, few, many, count.copy())
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
    # at delta both choices are optimal for each user: move users from few to many while they fit
    step, left = np.maximum(many - few, 0), budget - int((count * few).sum())
    before = np.cumsum(count * step) - count * step
    moved = np.clip((left - before) // np.maximum(step, 1), 0, count)
    if len(over := np.flatnonzero((moved < count) & (step > 0))):
        moved[over[0] + 1 :] = 0
    return Split(price, few, many, np.where(step > 0, moved, 0))


def check_feasible(problem: Problem, fewest: IntArray, served: BoolArray) -> None:
    """Raise InputError if no choice is feasible: which limit fails, and by how much.

    ``fewest`` and ``served`` are those of :func:`fewest_steps`.
    """
    if not served.all():
        _refuse(problem, int(served.argmin()), int((~served).sum()) - 1)
    need, edge_only = int(fewest.sum()), int((fewest > 0).sum())
    if need > problem.edge_budget:
        who = (
            "the 1 user that only the edge can serve needs"
            if edge_only == 1
            else f"the {edge_only} users that only the edge can serve need"
        )
        raise InputError(
            f"{problem.where}: edge_budget: {problem.edge_budget} is too small: "
            f"{who} at least {need} steps"
        )


def _refuse(problem: Problem, index: int, more: int) -> NoReturn:
    """Raise InputError for a user without any option: the limit that fails, and by how much."""
    who = f"user {index}" + (f" (and {more} more)" if more else "")
    user, ranges, times, errors = problem.part([index]), [], [], []
    for place in PLACES:
        steps, here = problem.steps(place), user.place(place)
        low, high = int(here.min_steps.max()), int(here.max_steps.max())
        ranges.append(f"{place} {low}..{high}")
        times.append(user.time(place, steps)[0, low - 1 : high])
        errors.append(user.error(place, steps)[0, low - 1 : high])
    time, error = np.concatenate(times), np.concatenate(errors)
    if not len(time):
        raise InputError(
            f"{problem.where}: max_steps: {who}: no step count is allowed: "
            f"min_steps..max_steps is {' and '.join(ranges)}"
        )
    limits = [
        ("deadline", " s", time, user.deadline),
        ("max_error", "", error, user.max_error),
    ]
    for name, unit, values, limit in limits:
        if limit is not None and not is_met(values.min(), most := limit.max()):
            raise InputError(
                f"{problem.where}: {name}: {who}: no step count satisfies {name} {most:g}{unit}: "
                f"at least {values.min():g}{unit} is needed, {values.min() - most:.3g}{unit} more"
            )
    assert user.deadline is not None and user.max_error is not None
    # each limit can be met alone, but not both together
    deadline, largest = user.deadline.max(), user.max_error.max()
    reach = error[is_met(time, deadline)].min()
    raise InputError(
        f"{problem.where}: max_error: {who}: no step count satisfies max_error {largest:g} "
        f"within deadline {deadline:g} s: "
        f"the error there is at least {reach:g}, {reach - largest:.3g} more"
    )
