"""Two prices that enclose that of an edge step, and what every user chooses at both."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.choices.convex import is_convex, price_near
from solver.choices.scan import KEPT, Choices, Local, best_local, choices
from solver.columnar import FloatArray, IntArray
from solver.knapsack import Axis
from solver.limits import check_memory
from solver.problem import Problem


@dataclass(frozen=True, eq=False)
class Bracket:
    """What all users choose at the price ``high``, and at ``low``.

    Who chooses alike at both does so at every price between; the others, ``rows``, are *open*, and
    ``ends`` are their choices at the two. ``weight`` and ``cost``, shape (users,), are those at
    ``high``, until a narrower bracket is made of this: it shares them, and sets those of the open.
    ``local`` are the best local options.
    """

    low: float
    high: float
    weight: IntArray
    cost: FloatArray
    local: Local
    rows: IntArray
    ends: Choices

    @classmethod
    def of(cls, low: float, high: float, own: Choices) -> Self:
        """Of choices at ``high`` and last at ``low``."""
        ends = own.at(slice(-2, None))
        rows = _open(ends)
        return cls(low, high, ends.weight[0], ends.cost[0], own.local, rows, ends.part(rows))

    def _inside(self, low: float, high: float, rows: IntArray, ends: Choices) -> "Bracket":
        """The bracket of ``ends`` at ``high`` and ``low``, of ``rows`` that are open here."""
        self.weight[rows], self.cost[rows] = ends.weight[0], ends.cost[0]
        still = _open(ends)
        return replace(self, low=low, high=high, rows=rows[still], ends=ends.part(still))

    def more_steps(self, count: IntArray) -> int:
        """The edge steps that are taken more at ``low``; ``count`` is how many users each is."""
        return int(count[self.rows] @ (self.ends.weight[1] - self.ends.weight[0]))

    def holds(self, price: float, room: float) -> bool:
        """Whether all prices from ``price`` - ``room`` to ``price`` + ``room`` lie inside."""
        return (not self.low or self.low <= price - room) and price + room <= self.high

    def around(self, problem: Problem, axis: Axis, price: float, room: float) -> "Bracket":
        """The prices ``price`` - ``room`` and ``price`` + ``room``."""
        low, high = max(0.0, price - room), price + room
        if not self.holds(price, room):
            return Bracket.of(low, high, choices(problem, axis, [high, low], self.local))
        ends = choices(problem.part(self.rows), axis, [high, low], self.ends.local)
        return self._inside(low, high, self.rows, ends)

    def narrowed(
        self, problem: Problem, axis: Axis, budget: float, count: IntArray, spread: float
    ) -> "Bracket":
        """About the price of ``budget`` times 1 - ``spread`` and 1 + ``spread``.

        Where this is no narrower, the prices as they are. ``count``, shape (users,), is how many
        users each is. If all can have ``many`` for nothing, they have.
        """
        low, high, rows, ends = self.low, self.high, self.rows, self.ends
        left, steps = budget - int(count @ self.weight), self.more_steps(count)
        if not self.low and steps <= left:
            return self._inside(low, high, rows, ends.at(np.array([1, 1])))
        if self.high < np.inf and self.high - self.low <= 2 * spread * self.high:
            return self
        bracket, even, width = self, True, np.inf
        while width > spread or not even:
            rows, ends = bracket.rows, bracket.ends.copy()
            steps = bracket.more_steps(count)
            if even and low and high < np.inf:
                # the steps of many users fall evenly in the logarithm of the price
                price = high * (low / high) ** (left / steps)
            else:  # the secant: few and many cost the same
                gain = count[rows] @ (ends.cost[0] - ends.cost[1])
                price = float(gain / steps)
            if not low < price < high:
                break
            width = spread
            if high < np.inf:
                width = max(spread, (high - low) / (16 * price))
            tried = [min(high, price * (1 + width)), max(low, price * (1 - width))]
            own = choices(problem.part(rows), axis, tried, ends.local)
            more = (own.weight - ends.weight[0]) @ count[rows]
            first, second = (more <= left).tolist()  # the first does, if the second does
            even = first and not second
            if first:
                at = int(second)
                ends.put(slice(None), own.at(at), 0)
                high, left = tried[at], left - int(more[at])
            if not second:
                at = int(first)
                ends.put(slice(None), own.at(at), 1)
                low = tried[at]
            bracket = bracket._inside(low, high, rows, ends)
        return bracket

    def options(self, problem: Problem, axis: Axis) -> tuple[FloatArray, IntArray | None]:
        """What the options of the open users cost, and how many edge steps each is.

        Shape (open users, options), inf: not allowed. None: 0, 1, 2, ... Of convex users these are
        the best local option, in the first column, and the edge's from the best at ``high`` to that
        at ``low``: any other loses more than the price is from both.
        """
        rows = self.rows
        if not is_convex(problem):
            if len(rows) * (1 + axis.width) > KEPT:
                check_memory(problem.where, len(rows) * (1 + axis.width))
            return axis.table(problem, rows)[0], None
        (first, last), part = self.ends.edge, problem.part(rows)
        steps = first[:, None] + np.arange(1 + int((last - first).max(initial=0)))
        local, edge = part.names
        cost = np.column_stack(
            [
                part.cost(local, self.ends.local.steps[:, None]),
                part.cost(edge, np.minimum(steps, last[:, None])),
            ]
        )
        cost[:, 1:][steps > last[:, None]] = np.inf
        return cost, np.column_stack([np.zeros_like(first), steps])


def _open(ends: Choices) -> IntArray:
    return np.flatnonzero(ends.weight[0] < ends.weight[1])


def sample_of(count: IntArray) -> slice | None:
    """A sample of the distinct users, evenly spread; None where they are too few for one."""
    # least work for the sample and for what it leaves open, together
    size = int(4 * int(count.sum()) ** (2 / 3))
    return slice(None, None, len(count) // size) if len(count) >= 4 * size else None


def sampled_prices(
    problem: Problem,
    axis: Axis,
    count: IntArray,
    local: Local | None = None,
    spread: float = 0.0,
) -> tuple[float, float]:
    """Two prices that very likely enclose that of an edge step: 0 and infinity if none are near.

    From a sample of the users; from all of few, if they are convex, with their best ``local``
    options, ``spread`` around that of a step, relative. ``count``, shape (users,), is how many
    users each is.
    """
    rows, share = sample_of(count), float(axis.budget)
    if rows is not None:
        share *= len(count[rows]) / len(count)
        problem, count, local = problem.part(rows), count[rows], None
        spread = 0.003
    if is_convex(problem) and (local, rows) != (None, None):
        local = local or best_local(problem, axis)
        assert local.edge is not None
        price, taken, slope = price_near(local.edge, local.cost, share, count, spread)
        if not price:
            return 0.0, np.inf
        if rows is not None:  # what these users take varies by chance from sample to sample
            spread += float(3 * np.std(taken) * np.sqrt(len(count))) / -slope
        return max(price * (1 - spread), 0.0), price * (1 + spread)
    if rows is None:
        return 0.0, np.inf
    own = choices(problem, axis, [np.inf, 0.0])
    bracket = Bracket.of(0.0, np.inf, own)
    if not (
        np.isfinite(own.cost).all()
        and 0 < share - count @ bracket.weight < bracket.more_steps(count)
    ):
        return 0.0, np.inf
    bracket = bracket.narrowed(problem, axis, share, count, 0.05)
    # what these users take varies by chance from sample to sample
    margin = float(3 * np.std(count * bracket.weight) * np.sqrt(len(count)))

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
