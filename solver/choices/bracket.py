"""Two prices that enclose that of an edge step, and what every user chooses at both."""

from dataclasses import dataclass, replace

import numpy as np

from solver.choices.scan import Choices, Local, choices
from solver.columnar import FloatArray, IntArray
from solver.knapsack import Axis
from solver.problem import Problem


@dataclass(frozen=True, eq=False)
class Bracket:
    """``few`` edge steps at the price ``high``, and ``many`` at ``low``, with their costs.

    Arrays of shape (users,). A user with ``few`` = ``many`` has that one choice at every price
    between; the others are *open*.
    """

    low: float
    high: float
    few: IntArray
    few_cost: FloatArray
    many: IntArray
    many_cost: FloatArray
    local: Local

    @classmethod
    def of(cls, low: float, high: float, own: Choices) -> "Bracket":
        """Of choices at ``high`` and last at ``low``."""
        few, many = own.weight[-2:]
        few_cost, many_cost = own.cost[-2:]
        return cls(low, high, few, few_cost, many, many_cost, own.local)

    @property
    def rows(self) -> IntArray:
        """The open users."""
        return np.flatnonzero(self.few < self.many)

    def holds(self, price: float, room: float) -> bool:
        """Whether all prices from ``price`` - ``room`` to ``price`` + ``room`` lie inside."""
        return (not self.low or self.low <= price - room) and price + room <= self.high

    def around(self, problem: Problem, axis: Axis, price: float, room: float) -> "Bracket":
        """The prices ``price`` - ``room`` and ``price`` + ``room``, where they lie inside."""
        here, rows = self._copy(), self.rows
        high, low = min(self.high, price + room), max(self.low, price - room)
        own = choices(problem.part(rows), axis, [high, low], self.local.part(rows))
        here.few[rows], here.many[rows] = own.weight
        here.few_cost[rows], here.many_cost[rows] = own.cost
        return replace(here, low=low, high=high)

    def narrowed(
        self, problem: Problem, axis: Axis, budget: float, count: IntArray, spread: float
    ) -> "Bracket":
        """About the price of ``budget`` times 1 - ``spread`` and 1 + ``spread``.

        Where this is no narrower, the prices as they are. ``count``, shape (users,), is how many
        users each is. If all can have ``many`` for nothing, they have.
        """
        left, steps = budget - int(count @ self.few), int(count @ (self.many - self.few))
        if not self.low and steps <= left:
            return replace(self, few=self.many, few_cost=self.many_cost)
        here, rows, even, width = self._copy(), self.rows, True, np.inf
        while width > spread or not even:
            steps = int(count[rows] @ (here.many[rows] - here.few[rows]))
            if even and here.low and here.high < np.inf:
                # the steps of many users fall evenly in the logarithm of the price
                price = here.high * (here.low / here.high) ** (left / steps)
            else:  # the secant: few and many cost the same
                gain = count[rows] @ (here.few_cost[rows] - here.many_cost[rows])
                price = float(gain / steps)
            if not here.low < price < here.high:
                break
            width = spread
            if here.high < np.inf:
                width = max(spread, (here.high - here.low) / (16 * price))
            tried = [min(here.high, price * (1 + width)), max(here.low, price * (1 - width))]
            own = choices(problem.part(rows), axis, tried, self.local.part(rows))
            more = (own.weight - here.few[rows]) @ count[rows]
            first, second = (more <= left).tolist()  # the first does, if the second does
            even = first and not second
            if first:
                at = int(second)
                here.few[rows], here.few_cost[rows] = own.weight[at], own.cost[at]
                here, left = replace(here, high=tried[at]), left - int(more[at])
            if not second:
                at = int(first)
                here.many[rows], here.many_cost[rows] = own.weight[at], own.cost[at]
                here = replace(here, low=tried[at])
            rows = rows[here.few[rows] < here.many[rows]]
        return here

    def _copy(self) -> "Bracket":
        return replace(
            self,
            few=self.few.copy(),
            few_cost=self.few_cost.copy(),
            many=self.many.copy(),
            many_cost=self.many_cost.copy(),
        )


def sample_of(count: IntArray) -> slice | None:
    """A sample of the distinct users, evenly spread; None where they are too few for one."""
    # least work for the sample and for what it leaves open, together
    size = int(4 * int(count.sum()) ** (2 / 3))
    return slice(None, None, len(count) // size) if len(count) >= 4 * size else None


def sampled_prices(problem: Problem, axis: Axis, count: IntArray) -> tuple[float, float]:
    """Two prices that very likely enclose that of an edge step, from a sample of the users.

    ``count``, shape (users,), is how many users each is.
    """
    rows = sample_of(count)
    if rows is None:
        return 0.0, np.inf
    share, problem = axis.budget * len(count[rows]) / len(count), problem.part(rows)
    count = count[rows]
    own = choices(problem, axis, [np.inf, 0.0])
    bracket = Bracket.of(0.0, np.inf, own)
    if not (np.isfinite(own.cost).all() and count @ bracket.few < share < count @ bracket.many):
        return 0.0, np.inf
    bracket = bracket.narrowed(problem, axis, share, count, 0.05)
    # what these users take varies by chance from sample to sample
    margin = float(3 * np.std(count * bracket.few) * np.sqrt(len(count)))

    def bound(price: float, sign: int) -> float:
        spread = max(2 * margin / share, 1e-3)
        while spread < 16:
            beyond = price * (1 + spread) ** sign
            used = count @ choices(problem, axis, [beyond], own.local).weight[0]
            if sign * (used - share) <= -margin:
                return beyond
            spread *= 2
        return np.inf if sign > 0 else 0.0

    return bound(bracket.low, -1), bound(bracket.high, 1)
