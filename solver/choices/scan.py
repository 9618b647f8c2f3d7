"""One pass over all users: what each chooses at some prices of an edge step."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from solver.choices.convex import ROUNDING, ConvexPlace, is_convex
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.knapsack import Axis
from solver.limits import PIECE, in_pieces
from solver.problem import Problem
from solver.problem.curves import Rows
from solver.relaxation import cheapest

#: Options of a table that are looked at together: about what the cache of a processor core holds.
CHUNK = 100_000
#: Options up to which a whole table is made and kept, and those up to which convex users have one.
KEPT, SMALL = 4_000_000, 32_768


class Local(NamedTuple):
    """The best local options, shape (users,): ``steps``, and ``cost``, inf where there is none.

    ``rounding`` is what a cost may be off from that of a table. Of convex users ``edge`` is the
    edge place, where it is at hand.
    """

    steps: IntArray
    cost: FloatArray
    rounding: FloatArray
    edge: ConvexPlace | None = None

    def part(self, rows: Rows) -> "Local":
        """Those of the users ``rows``."""
        edge = None if self.edge is None else self.edge.part(rows)
        return Local(self.steps[rows], self.cost[rows], self.rounding[rows], edge)


class Choices(NamedTuple):
    """The cheapest options at falling prices, shape (prices, users), and what they cost unpriced.

    Of equally good options that of the fewest steps; inf where a user has none. Of convex users
    ``edge`` are the cheapest steps on the edge. ``local`` are the best options that weigh nothing;
    in a problem that is not plain their steps are of no use.
    """

    weight: IntArray
    cost: FloatArray
    edge: IntArray
    local: Local

    @classmethod
    def of_table(cls, cost: FloatArray, options: IntArray, prices: Sequence[float]) -> "Choices":
        """Those of :meth:`solver.knapsack.Axis.table`."""
        weight = np.array([cheapest(cost, price) for price in prices])
        steps = options if options.ndim == 1 else np.ones(len(cost), dtype=np.int64)
        local = Local(steps, cost[:, 0], np.zeros(len(cost)))
        return cls(weight, cost[np.arange(len(cost)), weight], weight, local)

    def at(self, prices: slice | int | IntArray) -> "Choices":
        """Those at some of the prices."""
        return self._replace(
            weight=self.weight[prices], cost=self.cost[prices], edge=self.edge[prices]
        )

    def part(self, rows: IntArray) -> "Choices":
        """Those of the users ``rows``, without their edge place."""
        return Choices(
            self.weight.take(rows, axis=1),
            self.cost.take(rows, axis=1),
            self.edge.take(rows, axis=1),
            self.local._replace(edge=None).part(rows),
        )

    def copy(self) -> "Choices":
        """The same, to be changed."""
        return self._replace(
            weight=self.weight.copy(), cost=self.cost.copy(), edge=self.edge.copy()
        )

    def put(self, rows: Rows, own: "Choices", price: int | slice = slice(None)) -> None:
        """Set those of the users ``rows``, at all prices or one of them."""
        for column, values in zip(self[:3], own[:3], strict=True):
            column[price, rows] = values


def choices(
    problem: Problem, axis: Axis, prices: Sequence[float], local: Local | None = None
) -> Choices:
    """What the users of ``problem`` choose at ``prices``, which fall and may begin with infinity.

    In pieces that fit a cache, on all processor cores. ``problem`` may be a part of that of
    ``axis``; ``local`` may be given from earlier ones.
    """
    convex = is_convex(problem)
    size = PIECE if convex else max(1, CHUNK // options_of(problem))
    shape = len(prices), problem.users
    steps, best = np.empty(problem.users, dtype=np.int64), np.empty((2, problem.users))
    weight = np.empty(shape, dtype=np.int64)
    edge = np.empty_like(weight) if convex else weight
    whole = Choices(weight, np.empty(shape), edge, Local(steps, *best))

    def piece(rows: slice) -> Local | None:
        part = problem.part(rows)
        own = Choices(weight[:, rows], whole.cost[:, rows], edge[:, rows], whole.local.part(rows))
        if convex:
            own_local = _convex(part, axis, prices, local and local.part(rows), own)
        else:
            table = Choices.of_table(*axis.table(part), prices)
            own.put(slice(None), table)
            own_local = table.local
        for column, values in zip(own.local[:3], own_local[:3], strict=True):
            column[:] = values
        return own_local if part is problem else None  # of many the edge places take much memory

    local_of_all = in_pieces(piece, problem.users, size)[0]
    return whole if local_of_all is None else whole._replace(local=local_of_all)


def whole_table(problem: Problem, axis: Axis) -> tuple[FloatArray, IntArray]:
    """:meth:`solver.knapsack.Axis.table` of all users, in such pieces."""
    size = max(1, CHUNK // options_of(problem))
    pieces = in_pieces(lambda rows: axis.table(problem, rows), problem.users, size)
    cost, options = zip(*pieces)
    return pieces[0] if len(pieces) == 1 else (np.concatenate(cost), np.concatenate(options))


def options_of(problem: Problem) -> int:
    """How many options a user has at most."""
    return max(1, sum(len(problem.steps(name)) for name in problem.names))


def _convex(
    part: Problem, axis: Axis, prices: Sequence[float], local: Local | None, own: Choices
) -> Local:
    """Sets ``own`` by Newton's method, and by the table where that is not sure."""
    local = local or best_local(part, axis)
    edge = local.edge or ConvexPlace.of(part, part.names[1])
    local = local._replace(edge=edge)
    weight, cost, steps = own[:3]
    weight[:], cost[:] = 0, local.cost
    served, sure = edge.least <= edge.most, edge.sure
    states = edge.cheapest(price for price in prices if price < np.inf)
    for index, price in enumerate(prices):
        with np.errstate(all="ignore"):  # what is not finite is not sure, or not served
            if price == np.inf:
                better, steps[index] = np.isinf(local.cost), edge.least
                if not better.any():
                    continue
                state = edge.state(edge.least)
                own_cost = edge.cost(state)
            else:
                state, certain = next(states)
                own_cost = edge.cost(state)
                more = own_cost + price * state.at - local.cost
                better = more < 0
                rounding = local.rounding + ROUNDING * (edge.size + price * edge.most)
                sure = sure & certain & ((np.abs(more) > rounding) | ~served)
        steps[index] = state.at
        better &= served
        np.copyto(weight[index], steps[index], where=better)
        np.copyto(cost[index], own_cost, where=better)
    for rows in _chunks(part, ~sure):
        table, options = axis.table(part, rows)
        own.put(rows, Choices.of_table(table, options, prices))
        table[:, 0] = np.inf
        steps[:, rows] = [cheapest(table, price) for price in prices]
    return local


def best_local(part: Problem, axis: Axis) -> Local:
    """Of users of convex costs, with their edge place."""
    place = ConvexPlace.of(part, "local")
    ((state, sure),) = place.cheapest([0.0])
    served = place.least <= place.most
    steps = np.where(served, state.at, 1).astype(np.int64)
    cost = np.where(served, place.cost(state), np.inf)
    for rows in _chunks(part, ~sure):
        table, steps[rows] = axis.table(part, rows)
        cost[rows] = table[:, 0]
    return Local(steps, cost, ROUNDING * place.size, ConvexPlace.of(part, part.names[1]))


def _chunks(part: Problem, chosen: BoolArray) -> Iterator[IntArray]:
    """The ``chosen`` users, so many at a time as a table may have."""
    rows, size = np.flatnonzero(chosen), max(1, CHUNK // options_of(part))
    for at in range(0, len(rows), size):
        yield rows[at : at + size]
