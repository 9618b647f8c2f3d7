"""P1 with one limit as a multiple-choice knapsack problem, with one item class for each user.

In a plain problem the best local option weighs 0, and the edge option of s steps weighs s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from solver.allocation import Allocation, evaluate
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.inputs import InputError
from solver.limits import check_memory
from solver.options import Choice, Menu, Options
from solver.problem import Problem
from solver.problem.curves import Rows
from solver.problem.refusal import check_served
from solver.relaxation import fewest_steps, relax

#: Weights of a table with a column for each, at most.
MAX_WIDTH = 100_000


@dataclass(frozen=True, eq=False)
class Axis:
    """The one limit of a problem: an option weighs 0 to ``width``, all together at most ``budget``.

    ``budget`` is cut to what all users could use together. ``options`` are None where the problem
    is plain: the best local option weighs 0, and the edge option of s steps weighs s.
    """

    budget: int
    width: int
    options: Options | None = None

    @classmethod
    def of(cls, problem: Problem, options: Options | None = None) -> "Axis | None":
        """The limit of a problem, or of its ``options``; None where several can bind."""
        if problem.is_plain:
            width = problem.edge.columns
            return cls(min(problem.edge_budget, problem.users * width), width)
        options = Options.of(problem) if options is None else options
        if len(options.capacity) > 1:
            return None
        if not len(options.capacity):
            return cls(0, 0, options)
        width = int(options.weight.max())
        return None if width > MAX_WIDTH else cls(int(options.capacity[0]), width, options)

    def table(self, problem: Problem, rows: Rows = slice(None)) -> tuple[FloatArray, IntArray]:
        """Of the users ``rows``: the least cost of each weight, shape (users, 1 + width).

        And the steps of the best local option, shape (users,); or, if the problem is not plain, the
        option that costs so little, shape (users, 1 + width).
        """
        part = problem.part(rows)
        if self.options is None:
            local, edge = (part.cost(place) for place in problem.names)
            best = local.argmin(axis=1) if local.shape[1] else np.zeros(part.users, dtype=np.int64)
            return np.column_stack([local.min(axis=1, initial=np.inf), edge]), best + 1
        weight = self.options.weight
        menu = Menu.of(weight if weight.shape[1] else np.zeros((len(weight), 1), dtype=np.int64))
        least, option = menu.cheapest(self.options.cost(part))
        cost = np.full((part.users, 1 + self.width), np.inf)
        options = np.zeros(cost.shape, dtype=np.int64)
        cost[:, menu.weight[:, 0]], options[:, menu.weight[:, 0]] = least, option
        return cost, options

    def prices(self, price: float) -> float | dict[str, float]:
        """The price of one weight, as :func:`named` takes it."""
        if self.options is None:
            return price
        return self.options.prices(np.full(len(self.options.capacity), price))

    def decoded(self, problem: Problem, weight: IntArray, local_steps: IntArray) -> Choice:
        """The cheapest options of that ``weight``, shape (users,); local ones with their steps."""
        if self.options is None:
            on_edge = weight > 0
            return Choice(on_edge.astype(int), np.where(on_edge, weight, local_steps), weight)
        chosen, size = np.empty(problem.users, dtype=np.int64), max(1, 10**6 // (1 + self.width))
        for at in range(0, problem.users, size):
            rows = slice(at, at + size)
            _, option = self.table(problem, rows)
            chosen[rows] = np.take_along_axis(option, weight[rows, None], axis=1)[:, 0]
        return self.options.chosen(chosen)


@dataclass(frozen=True, eq=False)
class Knapsack:
    """The cost table of a problem with one limit.

    ``cost``, shape (users, 1 + steps), is R~ of eq. (8): column 0 for the best option that weighs
    nothing, column s for the best that weighs s, +inf where an option is not allowed; in a plain
    problem s are the steps on the edge. ``local_steps`` is the second of :meth:`Axis.table`, and
    ``budget`` that of the ``axis``.
    """

    problem: Problem
    axis: Axis
    cost: FloatArray
    local_steps: IntArray
    budget: int

    @classmethod
    def of(cls, problem: Problem) -> "Knapsack":
        """The table of all users.

        Raises InputError if no choice is feasible: which limit fails, and by how much; and if the
        table needs more memory than there is.
        """
        axis = Axis.of(problem)
        assert axis is not None, "several limits"
        check_memory(problem.where, problem.users * (1 + problem.local.columns + axis.width))
        cost, local_steps = axis.table(problem)
        check_feasible(problem, axis, *fewest_steps(cost))
        return cls(problem, axis, cost, local_steps, axis.budget)

    def allocation(
        self,
        weight: ArrayLike,
        solver: str,
        local_steps: ArrayLike | None = None,
        edge_price: float | None = None,
    ) -> Allocation:
        """The allocation of ``weight``, shape (users,); in a plain problem 0 stays local.

        Local users take ``local_steps``, or the best count. The price is the problem's if not
        given, whichever method made the choice.
        """
        steps = self.local_steps if local_steps is None else np.asarray(local_steps)
        if edge_price is None:
            edge_price = relax(self.cost, self.budget).price
        choice = self.axis.decoded(self.problem, np.asarray(weight), steps)
        return evaluated(self.problem, choice, solver, self.axis.prices(edge_price))


def evaluated(
    problem: Problem,
    choice: Choice,
    solver: str,
    prices: float | Mapping[str, float] | None,
    excess: float | None = None,
    where: str = "allocation",
) -> Allocation:
    """The allocation of a choice, with the price of a plain problem's budget, or all by name."""
    named = prices if isinstance(prices, Mapping) else None
    return evaluate(
        problem,
        choice.offload,
        choice.steps,
        solver,
        edge_price=None if isinstance(prices, Mapping) else prices,
        where=where,
        excess=excess,
        edge_steps=None if problem.is_plain else choice.edge_steps,
        prices=named,
    )


def has_makespan(problem: Problem) -> bool:
    """Whether a limit depends on the longest of a batch, so that it is not linear."""
    return any(load.makespan and load.makespan.per_longest_step for load in problem.loads.values())


def cost_table(problem: Problem, rows: Rows = slice(None)) -> tuple[FloatArray, IntArray]:
    """``cost`` and ``local_steps`` of :class:`Knapsack` for the users ``rows``."""
    axis = Axis.of(problem)
    assert axis is not None, "several limits"
    return axis.table(problem, rows)


def check_feasible(problem: Problem, axis: Axis, fewest: IntArray, served: BoolArray) -> None:
    """Raise InputError if no choice is feasible: which limit fails, and by how much.

    ``fewest`` and ``served`` are those of :func:`fewest_steps`.
    """
    check_served(problem, served)
    need, edge_only = int(fewest.sum()), int((fewest > 0).sum())
    if need > axis.budget and axis.options is not None:
        axis.options.refuse(0, need, edge_only, problem.where)
    if need > axis.budget:
        who = (
            "the 1 user that only the edge can serve needs"
            if edge_only == 1
            else f"the {edge_only} users that only the edge can serve need"
        )
        raise InputError(
            f"{problem.where}: edge_budget: {problem.edge_budget} is too small: "
            f"{who} at least {need} steps"
        )
