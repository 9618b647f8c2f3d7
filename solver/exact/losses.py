"""What every option loses at the prices of several limits."""

from dataclasses import dataclass, replace

import numpy as np

from solver.columnar import FloatArray, IntArray

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Losses:
    """What every entry loses at a price: ``change`` of the cost from ``start``, and ``loss``.

    Both have shape (users, entries). Differences are taken before the price is added, so that a
    large cost that all entries of a user share rounds nothing away.
    """

    weight: IntArray
    capacity: IntArray
    price: FloatArray
    start: IntArray
    loss: FloatArray

    @classmethod
    def of(
        cls,
        cost: FloatArray,
        weight: IntArray,
        capacity: IntArray,
        price: FloatArray,
        start: IntArray,
    ) -> "Losses":
        """The losses of a table of costs, from ``start``, one allowed entry for each user."""
        change = cost - cost[np.arange(len(cost)), start][:, None]
        loss = change + (weight @ price - (weight[start] @ price)[:, None])
        return cls(weight, capacity, price, start, loss - loss.min(axis=1, keepdims=True))

    def at(self, start: IntArray) -> "Losses":
        """The losses from another start; they are the same up to rounding."""
        return replace(self, start=start)

    @property
    def spare(self) -> IntArray:
        """What the start leaves of each limit; below 0 where it exceeds one."""
        return self.capacity - self.weight[self.start].sum(axis=0)

    @property
    def own(self) -> FloatArray:
        """What the start loses, by user."""
        return self.loss[np.arange(len(self.loss)), self.start]

    @property
    def margin(self) -> float:
        """How far rounding may put one loss off, for options that matter."""
        return 32 * EPS * float(self.price @ self.weight.max(axis=0, initial=0))

    @property
    def rounding(self) -> float:
        """How far rounding may put off the bound that the losses are held against, by a factor of
        two: the certificate adds the same up in another order.
        """
        paid = float(self.price @ (self.capacity + self.weight[self.start].sum(axis=0)))
        return 16 * EPS * (float(self.own.sum()) + paid)
