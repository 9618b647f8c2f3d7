"""One pass over all options: what two prices of an edge step decide."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.knapsack import Axis, cheapest, fewest_steps
from solver.problem import Problem

#: Options that are looked at together: about what the cache of a processor core holds.
CHUNK = 100_000


@dataclass(frozen=True, eq=False)
class Scan:
    """The choices of each user at two prices; arrays of shape (users,).

    ``few`` and ``many`` edge steps are the choices at the higher and at the lower price: a user
    with ``few`` = ``many`` has that one choice at every price between. ``fewest`` edge steps serve
    the user, ``served`` says whether any option does, and ``local_steps`` is that of
    :meth:`solver.knapsack.Axis.table`. ``chosen`` is the cost at ``few`` steps. ``cost`` has one
    row for each user with ``few`` < ``many``: R~ with s edge steps in column s, as in
    :class:`solver.knapsack.Knapsack`.
    """

    few: IntArray
    many: IntArray
    fewest: IntArray
    served: BoolArray
    local_steps: IntArray
    chosen: FloatArray
    cost: FloatArray

    @classmethod
    def of(cls, problem: Problem, axis: Axis, low: float, high: float) -> "Scan":
        """Scan the users in pieces that fit a cache, on all processor cores."""
        width = sum(len(problem.steps(name)) for name in problem.names)
        size = max(1, CHUNK // max(1, width))

        def scan(at: int) -> tuple[np.ndarray, ...]:
            cost, local_steps = axis.table(problem, slice(at, at + size))
            fewest, served = fewest_steps(cost)
            few, many = fewest if high == np.inf else cheapest(cost, high), cheapest(cost, low)
            chosen = np.where(served, cost[np.arange(len(cost)), few], 0.0)
            return few, many, fewest, served, local_steps, chosen, cost[few < many]

        if size >= problem.users:  # starting threads takes longer
            return cls(*scan(0))
        # threads help, as numpy works outside the interpreter's lock
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            pieces = zip(*threads.map(scan, range(0, problem.users, size)))
            return cls(*map(np.concatenate, pieces))
