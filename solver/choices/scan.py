"""One pass over all users: what each chooses at some prices of an edge step."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from solver.choices.convex import ROUNDING, ConvexPlace, is_convex
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.knapsack import Axis, cheapest
from solver.limits import PIECE, in_pieces
from solver.problem import Problem
from solver.problem.curves import Rows

#: Options of a table that are looked at together: about what the cache of a processor core holds.
CHUNK = 100_000
#: Options up to which a whole table is made and kept, and those up to which convex users have one.
KEPT, SMALL = 4_000_000, 32_768


class Local(NamedTuple):
    """The best local options, shape (users,): ``steps``, and ``cost``, inf where there is none.

    ``rounding`` is what a cost may be off from that of a table.
    """

    steps: IntArray
    cost: FloatArray
    rounding: FloatArray

    def part(self, rows: Rows) -> "Local":
        """Those of the users ``rows``."""
        return Local(self.steps[rows], self.cost[rows], self.rounding[rows])


class Choices(NamedTuple):
    """The cheapest options at falling prices, shape (prices, users), and what they cost unpriced.

    Of equally good options that of the fewest steps; inf where a user has none. ``local`` are the
    best that weigh nothing; in a problem that is not plain their steps are of no use.
    """

    weight: IntArray
    cost: FloatArray
    local: Local

    @classmethod
    def of_table(cls, cost: FloatArray, options: IntArray, prices: Sequence[float]) -> "Choices":
        """Those of :meth:`solver.knapsack.Axis.table`."""
        weight = np.array([cheapest(cost, price) for price in prices])
        steps = options if options.ndim == 1 else np.ones(len(cost), dtype=np.int64)
        local = Local(steps, cost[:, 0], np.zeros(len(cost)))
        return cls(weight, cost[np.arange(len(cost)), weight], local)


def choices(
    problem: Problem, axis: Axis, prices: Sequence[float], local: Local | None = None
) -> Choices:
    """What the users of ``problem`` choose at ``prices``, which fall and may begin with infinity.

    In pieces that fit a cache, on all processor cores. ``problem`` may be a part of that of
    ``axis``; ``local`` may be given from earlier ones.
    """
    convex = is_convex(problem)
    size = PIECE if convex else max(1, CHUNK // options_of(problem))

    def piece(rows: slice) -> Choices:
        part = problem.part(rows)
        if convex:
            return _convex(part, axis, prices, None if local is None else local.part(rows))
        return Choices.of_table(*axis.table(part), prices)

    pieces = in_pieces(piece, problem.users, size)
    if len(pieces) == 1:
        return pieces[0]
    weight, cost, best_local = zip(*pieces)
    return Choices(
        np.concatenate(weight, axis=1),
        np.concatenate(cost, axis=1),
        Local(*map(np.concatenate, zip(*best_local))),
    )


def whole_table(problem: Problem, axis: Axis) -> tuple[FloatArray, IntArray]:
    """:meth:`solver.knapsack.Axis.table` of all users, in such pieces."""
    size = max(1, CHUNK // options_of(problem))
    pieces = in_pieces(lambda rows: axis.table(problem, rows), problem.users, size)
    cost, options = zip(*pieces)
    return pieces[0] if len(pieces) == 1 else (np.concatenate(cost), np.concatenate(options))


def options_of(problem: Problem) -> int:
    """How many options a user has at most."""
    return max(1, sum(len(problem.steps(name)) for name in problem.names))


def _convex(part: Problem, axis: Axis, prices: Sequence[float], local: Local | None) -> Choices:
    """By Newton's method, and by the table where that is not sure."""
    name = part.names[1]
    local = _best_local(part, axis) if local is None else local
    edge = ConvexPlace.of(part, name)
    weight = np.zeros((len(prices), part.users), dtype=np.int64)
    cost = np.tile(local.cost, (len(prices), 1))
    sure = np.ones(part.users, dtype=bool)
    at, at_cost = np.zeros(part.users, dtype=np.int64), np.full(part.users, np.inf)
    for index, (price, (steps, certain)) in enumerate(zip(prices, edge.cheapest(prices))):
        sure &= certain
        moved = steps != at
        if price == np.inf:
            moved &= np.isinf(local.cost)  # for the others it is local
        if moved.any():
            rows: Rows = slice(None) if moved.all() else np.flatnonzero(moved)
            at[rows] = steps[rows]
            at_cost[rows] = part.part(rows).cost(name, at[rows, None])[:, 0]
        if price == np.inf:
            better = np.isfinite(at_cost) & moved
        else:
            with np.errstate(invalid="ignore"):  # inf - inf: neither place serves
                more = at_cost + price * steps - local.cost
            better = more < 0
            sure &= np.abs(more) > local.rounding + ROUNDING * (edge.size + price * edge.most)
        np.copyto(weight[index], steps, where=better)
        np.copyto(cost[index], at_cost, where=better)
    for rows in _chunks(part, ~sure):
        weight[:, rows], cost[:, rows], _ = Choices.of_table(*axis.table(part, rows), prices)
    return Choices(weight, cost, local)


def _best_local(part: Problem, axis: Axis) -> Local:
    """Of users of convex costs."""
    place = ConvexPlace.of(part, "local")
    ((steps, sure),) = place.cheapest([0.0])
    cost = part.cost("local", steps[:, None])[:, 0]
    for rows in _chunks(part, ~sure):
        table, steps[rows] = axis.table(part, rows)
        cost[rows] = table[:, 0]
    return Local(steps, cost, ROUNDING * place.size)


def _chunks(part: Problem, chosen: BoolArray) -> Iterator[IntArray]:
    """The ``chosen`` users, so many at a time as a table may have."""
    rows, size = np.flatnonzero(chosen), max(1, CHUNK // options_of(part))
    for at in range(0, len(rows), size):
        yield rows[at : at + size]
