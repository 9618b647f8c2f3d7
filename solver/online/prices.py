"""The price of a second of the edge's time: the dual of its rate.

At price p a step in a batch of b costs a request of time weight w, and energy weight e, g(b) (w +
(p + e) / b): the larger the batch, the longer its own wait and the smaller its share. The least
over b, and the best step count with it, is the request's answer to the price, waiting apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray
from solver.online.calls import Calls
from solver.online.tables import Tables


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
        kinds = np.repeat(np.arange(tables.kinds), len(prices))
        at = np.tile(prices, tables.kinds)
        # the slope of the least cost in the price is what the request takes
        costs = [
            np.minimum(home[kinds], edge_costs(tables, calls, kinds, price).min(axis=1))
            for price in (at, at * (1 + 1e-6) + 1e-12)
        ]
        busy = (costs[1] - costs[0]) / (at * 1e-6 + 1e-12)
        shape = (tables.kinds, len(prices))
        return cls(prices, np.minimum.accumulate(busy.reshape(shape), axis=1))

    def price(self, counts: FloatArray, seconds: float) -> float:
        """The least price at which ``counts`` requests of each kind fit ``seconds`` of the edge."""
        fits = counts @ self.busy <= seconds
        return float(self.prices[int(fits.argmax())]) if fits.any() else float(self.prices[-1])
