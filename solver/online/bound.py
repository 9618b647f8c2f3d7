"""A lower bound on what the optimum in hindsight costs, by weak duality, with its certificate.

Whatever the schedule, a request that the edge serves in batches of b waits for its own calls, each
as long as the batch makes it, and takes up 1/b of each. All shares together fill the edge's time at
most once. With a price for each moment of that time, every request on its own does at best
:func:`solver.online.prices.edge_costs` at the lowest price between its arrival and the latest
moment at which it may be done; the sum of these, less what the edge's whole time is worth, bounds
every schedule's cost from below, at *any* prices >= 0.

The latest moment: in an optimal schedule nobody at the edge pays, energy apart, more than at home,
because a request taken off the edge delays nobody and saves energy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError
from solver.online.calls import Calls
from solver.online.prices import edge_costs
from solver.online.tables import Tables

#: Intervals of the price, at most, and rounds in which the prices are improved.
INTERVALS, ROUNDS = 4000, 200


@dataclass(frozen=True)
class Bound:
    """No schedule costs less than ``value``.

    Proven by the ``prices`` of a busy second, one for each interval between two of the ``edges``
    (s), and 0 outside.
    """

    value: float
    edges: tuple[float, ...]
    prices: tuple[float, ...]


def lower_bound(
    tables: Tables, calls: Calls, kind: ArrayLike, arrival: ArrayLike, rounds: int = ROUNDS
) -> Bound:
    """The bound for requests of ``kind`` that come at ``arrival`` s, both of shape (n,).

    The best constant price, improved by ``rounds`` of ascent on a price for each interval.
    """
    kinds, arrivals = np.asarray(kind), np.asarray(arrival, float)
    dual = _Dual.of(tables, calls, kinds, arrivals)
    prices = np.full(len(dual.edges) - 1, _constant(dual))
    best, best_prices = -np.inf, prices
    moved, scale = np.zeros(len(prices)), max(float(prices.max()), _scale(tables, calls) * 1e-2)
    for _ in range(rounds + 1):
        value, slope = dual.value(prices)
        if value > best:
            best, best_prices = value, prices
        slope = slope / np.diff(dual.edges)  # by how much the interval is overfull
        moved = moved + slope**2
        step = 0.5 * scale * slope / np.sqrt(np.maximum(moved, 1e-12))
        prices = np.maximum(prices + step, 0.0)
    return Bound(best, tuple(dual.edges.tolist()), tuple(best_prices.tolist()))


def evaluate(
    tables: Tables,
    calls: Calls,
    kind: ArrayLike,
    arrival: ArrayLike,
    edges: ArrayLike,
    prices: ArrayLike,
) -> float:
    """The bound that these prices prove, rounded down.

    Raises InputError for edges that do not rise, and for prices below 0 or of another number.
    """
    try:
        ends, price = np.asarray(edges, float), np.asarray(prices, float)
    except ValueError:
        raise InputError("bound: found edges or prices that are no numbers") from None
    if ends.ndim != 1 or price.ndim != 1:
        raise InputError("bound: found edges or prices that are no lists; allowed: lists")
    if len(ends) != len(price) + 1 or not (np.diff(ends) > 0).all():
        raise InputError(
            f"bound: edges: found {len(ends)} for {len(price)} prices; allowed: one more, rising"
        )
    if not (np.isfinite(price) & (price >= 0)).all():
        raise InputError("bound: prices: found one that is no price; allowed: numbers >= 0")
    kinds, arrivals = np.asarray(kind), np.asarray(arrival, float)
    value, _ = _Dual(tables, calls, kinds, arrivals, ends).value(price)
    return value


@dataclass(eq=False)
class _Dual:
    """The dual function of one trace, for prices on the intervals between ``edges``."""

    tables: Tables
    calls: Calls
    kind: IntArray
    arrival: FloatArray
    edges: FloatArray

    @classmethod
    def of(cls, tables: Tables, calls: Calls, kind: IntArray, arrival: FloatArray) -> "_Dual":
        """With intervals of a third of the shortest time in which a request may be done."""
        wait = _longest(tables)[kind]
        wait = wait[np.isfinite(wait)]
        width = max(float(wait.min(initial=1.0)) / 3, 1e-9)
        start = float(arrival.min())
        end = max(float(arrival.max() + wait.max(initial=0.0)), start + width)
        count = int(min(np.ceil((end - start) / width), INTERVALS))
        return cls(tables, calls, kind, arrival, np.linspace(start, end, count + 1))

    def __post_init__(self) -> None:
        tables = self.tables
        self.home = tables.best_at_home()
        # per request, the intervals in which it may be served on time, and at all
        longest = _longest(tables)[self.kind]
        due = np.minimum(longest, tables.deadline[self.kind])
        self.timed = bool(np.isfinite(tables.deadline).any())
        self.windows = [_windows(self.edges, self.arrival, wait) for wait in (due, longest)]
        alone = self.calls.alone(np.arange(1 + tables.most_steps))
        self.on_time = (alone + tables.transfer[:, None] <= tables.deadline[:, None] * (1 + 1e-9))[
            self.kind
        ]

    def value(self, prices: FloatArray) -> tuple[float, FloatArray]:
        """The dual function and a supergradient, shape of ``prices``."""
        padded = np.append(prices, [0.0, np.inf])
        total = self.home[self.kind].copy()
        taken = np.full(len(total), -1)  # the interval that an edge request fills
        paid = np.zeros(len(total))
        for late, window in enumerate(self.windows[: 1 + self.timed]):
            lowest = padded[window].argmin(axis=1)
            where = window[np.arange(len(window)), lowest]
            price = padded[where]
            cost = edge_costs(self.tables, self.calls, self.kind, price)
            cost = cost + self.tables.late if late else np.where(self.on_time, cost, np.inf)
            least = cost.min(axis=1)
            better = least < total
            total = np.where(better, least, total)
            taken, paid = np.where(better, where, taken), np.where(better, price, paid)
        worth = float(prices @ np.diff(self.edges))
        value = float(total.sum()) - worth
        # the sums are off by this much at most
        value -= 1e-12 * (float(np.abs(total).sum()) + worth)
        return value, self._slope(prices, total, taken, paid)

    def _slope(
        self, prices: FloatArray, total: FloatArray, taken: IntArray, paid: FloatArray
    ) -> FloatArray:
        """Busy seconds that the requests want in each interval, less those there are."""
        inside = np.flatnonzero((taken >= 0) & (taken < len(prices)))
        slope = -np.diff(self.edges)
        if len(inside):
            change = np.maximum(paid[inside] * 1e-6, 1e-9)
            kind, at = self.kind[inside], paid[inside] + change
            cost = edge_costs(self.tables, self.calls, kind, at)
            low = edge_costs(self.tables, self.calls, kind, paid[inside])
            steps = low.argmin(axis=1)
            rows = np.arange(len(inside))
            busy = (cost[rows, steps] - low[rows, steps]) / change
            slope = slope + np.bincount(taken[inside], busy, len(prices))
        return slope


def _longest(tables: Tables) -> FloatArray:
    """Seconds after which a request of each kind is done at the latest, in an optimal schedule."""
    home, energy = tables.best_at_home(), tables.energy_weight
    if np.ptp(energy) > 1e-12 * energy.max(initial=0.0):
        return np.full(tables.kinds, np.inf)  # then a saving of one may be a loss of another
    with np.errstate(divide="ignore", invalid="ignore"):
        longest = (home - tables.fixed.min(axis=1)) / tables.time_weight
    return np.where(np.isnan(longest), np.inf, np.maximum(longest, 0.0))


def _windows(edges: FloatArray, arrival: FloatArray, wait: FloatArray) -> IntArray:
    """The intervals that each window meets, shape (n, widest), filled up with one of no price.

    Interval ``len(edges) - 1`` stands for all time outside, where the price is 0; the next for
    none, where it is infinite.
    """
    outside = len(edges) - 1
    first = np.searchsorted(edges, arrival, side="right") - 1
    last = np.searchsorted(edges, arrival + wait, side="left") - 1
    beyond = (first < 0) | (last >= outside)
    first, last = np.clip(first, 0, outside - 1), np.clip(last, 0, outside - 1)
    last = np.maximum(first, last)
    widest = int((last - first).max()) + 1
    window = first[:, None] + np.arange(widest)
    window = np.where(window <= last[:, None], window, outside + 1)
    return np.column_stack([window, np.where(beyond, outside, outside + 1)])


def _scale(tables: Tables, calls: Calls) -> float:
    """A price at which few come: what the most eager saves, over the least that it takes up."""
    home = tables.best_at_home()
    saved = home - tables.fixed.min(axis=1)
    saved = saved[np.isfinite(saved)]
    return max(float(saved.max(initial=0.0)) / float(calls.least_share(1)), 1e-9)


def _constant(dual: _Dual) -> float:
    """The best price that is the same at all times, by golden section: the dual is concave."""
    ones = np.ones(len(dual.edges) - 1)
    low, high = 0.0, _scale(dual.tables, dual.calls)
    ratio = (np.sqrt(5) - 1) / 2
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [dual.value(price * ones)[0] for price in inner]
    for _ in range(40):
        if values[0] >= values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - ratio * (high - low)
            values[0] = dual.value(inner[0] * ones)[0]
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + ratio * (high - low)
            values[1] = dual.value(inner[1] * ones)[0]
    return float((low + high) / 2)
