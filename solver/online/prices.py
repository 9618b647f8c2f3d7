"""The price of a second of the edge's time: the dual of its rate.

:class:`Market` bounds what a price can do, where each request has the batch that is best for it.
:class:`Plan` is what the edge can really do, where all share one batch.

In a market, at price p, a step in a batch of b costs a request of time weight w, and energy weight
e, g(b) (w + (p + e) / b): the larger the batch, the longer its own wait and the smaller its share.
The least over b, and the best step count with it, is its answer to the price, waiting apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.online.calls import Calls
from solver.online.tables import Tables

T = TypeVar("T")
#: The share of the time until its deadline that a request may plan to take; iterations get slower
#: when others come, and nobody may be taken on who makes it late.
KEPT = 0.8
#: How far the machine's pace, its logarithm, may be from that which a price is made for.
CHANGED = 0.1


def edge_costs(tables: Tables, calls: Calls, kind: ArrayLike, price: ArrayLike) -> FloatArray:
    """The least that each step count costs at the edge, shape (n, 1 + steps), for requests of
    ``kind`` at ``price`` a busy second, both of shape (n,). No request can be served for less.
    """
    kinds = np.asarray(kind)
    weight = tables.time_weight[kinds]
    step, rest = calls.prices(weight, np.asarray(price) + tables.energy_weight[kinds])
    steps = np.arange(1 + tables.most_steps)
    once = rest + weight * tables.transfer[kinds]
    return tables.fixed[kinds] + step[:, None] * steps + once[:, None]


@dataclass(frozen=True, eq=False)
class Market:
    """How many busy seconds a request of each kind takes at each of many prices.

    ``prices``, shape (m,), rising; ``busy``, shape (kinds, m), falling.
    """

    prices: FloatArray
    busy: FloatArray

    @classmethod
    def of(cls, tables: Tables, calls: Calls, count: int = 240) -> "Market":
        """The market of all kinds, from price 0 to one at which nobody who need not comes."""
        home = tables.best_at_home()
        free = edge_costs(tables, calls, np.arange(tables.kinds), np.zeros(tables.kinds))
        fewest = free[np.arange(tables.kinds), np.isfinite(free).argmax(axis=1)]
        # whoever has to come may still take the fewest steps
        saved = np.where(np.isfinite(home), home, fewest) - free.min(axis=1)
        none, first = calls.least_share([0, 1])
        highest = max((saved / np.where(np.isfinite(home), first, first - none)).max(), 1e-9)
        prices = np.append(0.0, np.geomspace(highest * 1e-5, highest, count))
        # the slope of the least cost in the price is what the request takes
        more = prices * 1e-6 + highest * 1e-9
        busy = np.empty((tables.kinds, len(prices)))
        for kind in range(tables.kinds):  # with deadlines of their own they may be thousands
            kinds = np.full(len(prices), kind)
            costs = [
                np.minimum(home[kind], edge_costs(tables, calls, kinds, price).min(axis=1))
                for price in (prices, prices + more)
            ]
            busy[kind] = (costs[1] - costs[0]) / more
        return cls(prices, np.minimum.accumulate(busy, axis=1))

    def price(self, rates: FloatArray) -> float:
        """The least price at which so many requests of each kind a second fit the edge."""
        fits = rates @ self.busy <= 1
        return float(self.prices[int(fits.argmax())]) if fits.any() else float(self.prices[-1])


@dataclass(frozen=True, eq=False)
class Plan:
    """Steady states of the edge, in each of which all share batches of one size.

    In a batch of b who take n steps each, b / n begin and as many end in an iteration, which takes
    g(b) and their encodings and decodings. A request takes n / b of it, and stays for n of them and
    half a one in which it waits. The busy seconds of all are to fit the time that there is; the
    price of a second is the dual of that. Small batches are quick, large ones cheap.

    ``sizes`` of batches, shape (b,), which need not be whole; ``prices`` (m,); both rise.
    """

    tables: Tables
    calls: Calls
    sizes: FloatArray
    prices: FloatArray
    _known: dict[int, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, tables: Tables, calls: Calls, sizes: int = 24, prices: int = 120) -> "Plan":
        """Plans with prices from 0 to one at which nobody who need not comes."""
        home, possible = tables.best_at_home(), np.isfinite(tables.fixed)
        most = np.where(possible, tables.fixed, -np.inf).max(axis=1)
        saved = (np.where(np.isfinite(home), home, most) - tables.fixed.min(axis=1)).max()
        highest = max(saved / float(calls.least_share(1)), 1e-9)
        charged = np.append(0.0, np.geomspace(1e-4 * highest, highest, prices))
        return cls(tables, calls, np.geomspace(1, calls.cap, sizes), charged)

    def own(self, kind: ArrayLike, size: float) -> FloatArray:
        """What each step count costs requests of a ``kind`` in batches of that ``size``, beside
        the price, shape (n, 1 + steps); at home in column 0.
        """
        tables, kinds = self.tables, np.atleast_1d(kind)
        busy, seconds = taken_up(self.calls, size, np.arange(1 + tables.most_steps))
        seconds = seconds + tables.transfer[kinds, None]
        cost = tables.fixed[kinds] + tables.time_weight[kinds, None] * seconds
        cost += tables.energy_weight[kinds, None] * busy
        cost += tables.late * short_of_time(tables.deadline[kinds, None], seconds)
        cost[:, 0] = [tables.at_home(each)[1] for each in kinds]
        return cost

    def cost(self, rates: FloatArray) -> FloatArray:
        """What requests that come at these ``rates``, 1/s, shape (kinds,), cost a second at the
        least, with what is paid, by size and price, shape (b, m).
        """
        asking = np.flatnonzero(rates).tolist()
        if new := [kind for kind in asking if kind not in self._known]:
            self._known.update(zip(new, self._least(new), strict=True))
        for kind in self._known.keys() - asking:  # there may be a kind for each request
            del self._known[kind]
        return np.tensordot(rates[asking], [self._known[kind] for kind in asking], 1)

    def _least(self, kinds: list[int]) -> FloatArray:
        """The least costs by size and price, shape (n, b, m)."""
        least = np.empty((len(kinds), len(self.sizes), len(self.prices)))
        for index, size in enumerate(self.sizes):
            busy, _ = taken_up(self.calls, size, np.arange(1 + self.tables.most_steps))
            own = self.own(kinds, size)[:, None]
            least[:, index] = (own + self.prices[:, None] * busy).min(axis=2)
        return least

    def solve(self, cost: FloatArray, seconds: float) -> tuple[float, float]:
        """The size of a batch and the price with which those who ``cost`` so much, shape (b, m),
        fit so many ``seconds``: of the sizes' duals the least, and of equal ones, where nobody
        fits, the largest.
        """
        dual = cost - self.prices * seconds
        size = len(dual) - 1 - int(dual.max(axis=1)[::-1].argmin())
        return float(self.sizes[size]), float(self.prices[dual[size].argmax()])

    def __deepcopy__(self, memo: object) -> "Plan":
        return self  # nothing that is asked of it changes an answer


class AtPace(Generic[T]):
    """What ``make`` makes of the calls at the pace that the machine has, the nearest multiple of
    ``CHANGED`` of its logarithm.
    """

    def __init__(self, make: Callable[[Calls], T], calls: Calls) -> None:
        self._make, self._calls, self._made = make, calls, {0: make(calls)}

    def __call__(self, pace: float) -> T:
        """That of this pace."""
        number = round(float(np.log(pace)) / CHANGED)
        if number not in self._made:
            calls = self._calls.scaled(float(np.exp(number * CHANGED)))
            self._made[number] = self._make(calls)
        return self._made[number]

    def __deepcopy__(self, memo: object) -> "AtPace[T]":
        return self  # nothing that is asked of it changes an answer


def taken_up(calls: Calls, batch: float, steps: IntArray) -> tuple[FloatArray, FloatArray]:
    """Busy seconds that requests of so many ``steps`` take up where all share batches of one size,
    and seconds until they are done, each of shape (n,).
    """
    sizes, ends = np.arange(1 + calls.cap), batch / np.maximum(steps, 1)
    iteration = np.interp(batch, sizes, calls.tick) + np.interp(
        ends, sizes, calls.text + calls.decode
    )
    return steps * iteration / batch, (steps + 0.5) * iteration


def short_of_time(deadline: ArrayLike, seconds: FloatArray) -> BoolArray:
    """Whether plans of so many ``seconds`` leave less than they should before a ``deadline``, s."""
    return seconds > KEPT * np.asarray(deadline)
