"""P1 to proven optimality at any size: relaxation of (1), narrowing to the UEs whose choice is
open, dynamic programming.

Curves may have any shape, and UEs that are alike are solved once (:mod:`solver.exact.duplicates`).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from solver.allocation import evaluate
from solver.exact.core import search
from solver.exact.duplicates import Kinds
from solver.inputs import InputError
from solver.knapsack import cheapest, check_feasible, least_use, options, relax
from solver.problem import PLACES

#: Options that are looked at together: about what a core's cache holds.
CHUNK = 100_000


def exact(problem):
    """The optimal :class:`~solver.allocation.Allocation`, with a proven ``lower_bound``.

    Raises InputError if the problem is infeasible. Time and memory are linear in users x steps.
    Should the dynamic programming be too large (:data:`solver.exact.core.MOST_WORK`), the bound is
    that of the relaxation, and ``status`` may be "feasible".
    """
    # glibc gives freed memory back above a threshold, and clearing it again takes as long as the
    # arithmetic here; freeing one large block, never touched, raises that threshold for good
    np.empty(2_000_000)
    kinds = Kinds.of(problem)
    try:
        low, high = _bracket(kinds, problem.edge_budget)
        while (found := _solve(problem, kinds, low, high)) is None:
            low, high = 0.0, np.inf  # the sample misled
    except InputError:
        for place in PLACES:
            problem.cost(
                place
            )  # where a cost is too large, this error names the user of the whole problem
        raise
    return found


def _bracket(kinds, budget):
    """Two prices of an edge step that the right one very likely lies between, from a sample of the
    UEs.
    """
    size = int(
        10 * len(kinds.order) ** (2 / 3)
    )  # least work for the sample and for what it leaves open, together
    if len(kinds.count) < 4 * size:
        return 0.0, np.inf
    rows = slice(None, None, len(kinds.count) // size)
    scan, count = Scan.of(kinds.problem.part(rows), 0.0, np.inf), kinds.count[rows]
    still = scan.few < scan.many
    share = budget * len(count) / len(kinds.count) - count[~still] @ scan.few[~still]
    few, many, count = scan.few[still], scan.many[still], count[still]
    if share <= count @ few:
        return 0.0, np.inf
    chosen = relax(scan.cost, share, few, many, count)[1]
    margin = (
        3 * np.std(count * chosen) * np.sqrt(len(count))
    )  # of the steps that these UEs take, by chance
    return [
        relax(scan.cost, share + more, few, many, count)[0]
        if share + more > count @ few
        else np.inf
        for more in (margin, -margin)
    ]


def _solve(problem, kinds, low, high):
    """The allocation if the price of an edge step lies, with some room, between ``low`` and
    ``high``; otherwise None.
    """
    scan, budget = Scan.of(kinds.problem, low, high), problem.edge_budget
    check_feasible(problem, kinds.of_users(scan.fewest), kinds.of_users(scan.served))
    if kinds.count @ scan.few > budget or (low > 0 and kinds.count @ scan.many <= budget):
        return None
    open_kinds = np.flatnonzero(scan.few < scan.many)
    few, many, count = (array[open_kinds] for array in (scan.few, scan.many, kinds.count))
    left = budget - int(kinds.count @ scan.few - count @ few)
    price, few, many, moved = relax(scan.cost, left, few, many, count)
    # the UEs of a kind that start alike are one group: those that stay with `few`, then those that
    # moved to `many`
    row, start, copies = (
        np.concatenate(pair)
        for pair in ([np.arange(len(count))] * 2, (few, many), (count - moved, moved))
    )
    group, shift, gap, proven = search(
        scan.cost, price, row, start, copies, left - int(copies @ start)
    )
    if (low > 0 and price - gap < low) or price + gap > high:
        return None  # what lies outside may be part of a better choice

    last = np.cumsum(kinds.count)
    first = np.concatenate(
        [(last - kinds.count)[open_kinds], last[open_kinds] - moved]
    )  # of each group, in kinds.order
    scan.few[open_kinds] = few
    weight = np.repeat(scan.few, kinds.count)
    weight[_runs(first, copies)] = np.repeat(start, copies)
    weight[_runs(first, np.bincount(group, minlength=len(first)))] += shift[
        np.argsort(group, kind="stable")
    ]
    weight, local_steps = kinds.to_users(weight), kinds.of_users(scan.local_steps)
    answer = evaluate(
        problem,
        (weight > 0).astype(int),
        np.where(weight > 0, weight, local_steps),
        "exact",
        edge_price=price,
    )
    return answer.bounded(answer.objective - proven)


def _runs(first, length):
    """first[0], first[0] + 1, ..., so many as ``length[0]``, then those of first[1], ..."""
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())


@dataclass(frozen=True, eq=False)
class Scan:
    """What two prices decide, one entry for each kind: ``few`` and ``many`` edge steps are the
    choices at the higher and at the lower price, ``fewest`` what it can do with, ``served`` whether
    it has any option, ``local_steps`` the best of its local ones. ``cost`` has one row for each
    kind with ``few`` < ``many``: R~ with s edge steps in column s, as in
    :class:`solver.knapsack.Choices`.
    """

    few: np.ndarray
    many: np.ndarray
    fewest: np.ndarray
    served: np.ndarray
    local_steps: np.ndarray
    cost: np.ndarray

    @classmethod
    def of(cls, problem, low, high):
        """One pass over all options, on all cores. Between the two prices a UE with ``few`` =
        ``many`` has that one choice.
        """
        width = sum(len(problem.steps(place)) for place in PLACES)
        size = max(1, CHUNK // max(1, width))

        def scan(at):
            cost, local_steps = options(problem, slice(at, at + size))
            fewest, served = least_use(cost)
            few, many = fewest if high == np.inf else cheapest(cost, high), cheapest(cost, low)
            return few, many, fewest, served, local_steps, cost[few < many]

        with ThreadPoolExecutor(
            os.cpu_count()
        ) as threads:  # numpy works outside the interpreter's lock
            return cls(*map(np.concatenate, zip(*threads.map(scan, range(0, problem.users, size)))))
