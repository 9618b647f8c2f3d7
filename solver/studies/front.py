"""The Pareto front of time, energy, error and utility, over the weights of the objective."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from solver.methods import solve
from solver.problem import WEIGHTS, Problem
from solver.studies.rows import TOTALS, FrontRow

SYMBOLS = ("w1", "w2", "c1", "c2", "c3")  # of solver.problem.WEIGHTS
#: w1 of the Pareto front, with w2 = 1 - w1.
COST_WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)


def weightings(problem: Problem, parts: int = 6) -> Iterator[tuple[float, ...]]:
    """Yield w1, w2, c1, c2, c3 to try: all shares of the cost in parts of 1/``parts``.

    The shares, of time, error and energy, are multiplied with each of :data:`COST_WEIGHTS`. They
    are shares of what the optimum of ``problem`` as it is spends for each user, as seconds and
    joules differ by orders of magnitude. A share of 0 is taken as 1/1000: only with positive
    weights is every optimum on the Pareto front.
    """
    best = solve(problem)
    scale = np.array([best.time / problem.users, best.error, best.energy / problem.users])
    scale[scale == 0] = 1.0
    for shares in itertools.product(range(parts + 1), repeat=3):
        if sum(shares) == parts:
            c = np.maximum(np.array(shares) / parts, 1e-3) / scale
            for w1 in COST_WEIGHTS:
                yield w1, 1 - w1, *c.tolist()


def optima(problem: Problem, weightings: Iterable[Sequence[float]]) -> Iterator[FrontRow]:
    """Yield one row, the optimum, for each of ``weightings``, the same for all users, but for those
    whose utility has weight 0: it was left out, and stays so.
    """
    for values in weightings:
        weights = {name: np.asarray(value) for name, value in zip(WEIGHTS, values, strict=True)}
        own = problem.weights["utility"]
        if own.ndim and not own.all():
            weights["utility"] = np.where(own > 0, weights["utility"], 0.0)
        best = solve(replace(problem, weights=weights))
        assert best.gap is not None
        totals = {name: getattr(best, name) for name in TOTALS}
        yield FrontRow(**dict(zip(SYMBOLS, values, strict=True)), **totals, gap=best.gap)


def pareto(rows: Sequence[FrontRow]) -> list[FrontRow]:
    """The rows of :func:`optima` that are not dominated in :data:`TOTALS`, by growing time.

    A row is dominated if another is better in one total and worse in none. Of rows that agree in 12
    digits only the first stays.
    """
    signs = {"utility": -1}
    points = np.array(
        [
            [float(f"{signs.get(name, 1) * getattr(row, name):.11e}") for name in TOTALS]
            for row in rows
        ]
    )
    points, first = np.unique(points, axis=0, return_index=True)
    dominated = [
        ((points <= point).all(axis=1) & (points < point).any(axis=1)).any() for point in points
    ]
    return [rows[index] for index, out in zip(first, dominated, strict=True) if not out]
