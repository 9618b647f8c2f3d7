"""Makespans alpha sum(s) + beta max(s) <= D: branch and bound over the longest of each batch.

Where the longest of a batch is known to lie between two numbers, the makespan is linear in a
relaxation: no user takes more than the upper one, and the sum leaves room for the lower. If the
relaxed optimum breaks a makespan with its longest m, either all users take fewer than m steps, or
the sum leaves room for m: neither half contains it.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from solver.allocation import Allocation
from solver.exact.dynamic_program import Allowance
from solver.exact.several import UndecidedError, prices_of
from solver.inputs import InputError
from solver.knapsack import evaluated
from solver.limits import TooLargeError
from solver.options import Choice
from solver.problem import Makespan, Problem
from solver.problem.usage import edges_of

Box = dict[str, tuple[int, int]]
#: Boxes that are looked at, at most.
MOST_BOXES = 2000


def boxes_of(problem: Problem) -> Box:
    """The least and the largest longest of every place whose makespan depends on it."""
    return {
        name: (0, _most(problem, name))
        for name, load in problem.loads.items()
        if load.makespan and load.makespan.per_longest_step
    }


def _most(problem: Problem, name: str) -> int:
    """The most steps of one user at a place; those of splits may be more than its own."""
    shared = [split.edge_steps.max() for split in problem.splits.values() if split.edge == name]
    return int(max([problem.places[name].columns, *shared]))


def boxed(problem: Problem, box: Box) -> Problem:
    """The relaxation of a box: users take at most the upper number of steps at each of its places.

    The makespan leaves room for the lower number; it counts steps there.
    """
    places, loads, splits = dict(problem.places), dict(problem.loads), dict(problem.splits)
    for name, (low, high) in box.items():
        place, load = places[name], loads[name]
        assert load.makespan is not None
        steps = load.makespan.capacity(low, problem.users * _most(problem, name))
        loads[name] = replace(load, makespan=Makespan(1.0, 0.0, float(steps)))
        places[name] = replace(place, max_steps=np.minimum(place.max_steps, high))
        for key, split in splits.items():
            if split.edge == name:
                splits[key] = split.at_most(high)
    return replace(problem, places=places, loads=loads, splits=splits)


def longest_of(problem: Problem, allocation: Allocation) -> dict[str, int]:
    """The most steps of one user at every place of :func:`boxes_of`."""
    return {name: max(own, default=0) for name, own in _batches(problem, allocation).items()}


def halves(problem: Problem, box: Box, allocation: Allocation) -> list[Box]:
    """The two boxes without the choice, or none if the choice keeps every makespan."""
    for name, own in _batches(problem, allocation).items():
        (low, high), longest, makespan = (
            box[name],
            max(own, default=0),
            problem.loads[name].makespan,
        )
        assert makespan is not None
        if not makespan.is_kept(sum(own), longest):
            return [{**box, name: (low, longest - 1)}, {**box, name: (longest, high)}]
    return []


def _batches(problem: Problem, allocation: Allocation) -> dict[str, list[int]]:
    """The steps of each user at every place of :func:`boxes_of`."""
    assert allocation.edge_steps is not None
    batches: dict[str, list[int]] = {name: [] for name in boxes_of(problem)}
    edges = edges_of(problem)[allocation.offload].tolist()
    for edge, steps in zip(edges, allocation.edge_steps, strict=True):
        if edge in batches:
            batches[edge].append(steps)
    return batches


def least_batches(
    problem: Problem,
    linear: Callable[[Problem], Allocation],
    start: Allocation | None,
    allowance: Allowance,
) -> Allocation:
    """The optimum under makespans; ``linear`` solves the relaxation of a box.

    ``start`` is a known choice. When the ``allowance`` that ``linear`` draws on is spent, the best
    choice so far is the answer. Raises InputError if the problem is infeasible, or too large.
    """
    count = itertools.count()
    heap: list[tuple[float, int, Box]] = [(-np.inf, next(count), boxes_of(problem))]
    best = start
    refused: InputError | None = None
    looked, lower = 0, np.inf
    while heap:
        bound, _, box = heapq.heappop(heap)
        stopped = looked >= MOST_BOXES or allowance.spent
        if best is not None and (bound >= best.objective or stopped):
            lower = min(lower, bound)
            break
        looked += 1
        try:
            relaxed = linear(boxed(problem, box))
        except UndecidedError as error:  # the box may hold the optimum
            refused, lower = error, min(lower, max(bound, error.lower))
            continue
        except TooLargeError:
            raise
        except InputError as error:
            refused = refused or error
            continue
        assert relaxed.lower_bound is not None
        bound = max(bound, relaxed.lower_bound)
        if both := halves(problem, box, relaxed):
            for half in both:
                heapq.heappush(heap, (bound, next(count), half))
            continue
        lower = min(lower, bound)
        if best is None or relaxed.objective < best.objective:
            best = relaxed
    if best is None:
        assert refused is not None
        raise refused
    lower = min(lower, best.objective)
    box = {name: (most, most) for name, most in longest_of(problem, best).items()}
    choice = Choice(*(np.array(part) for part in (best.offload, best.steps, best.edge_steps)))
    return evaluated(
        problem, choice, "exact", prices_of(boxed(problem, box)), best.objective - lower
    )
