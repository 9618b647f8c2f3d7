"""The lines of the paper's Fig. 1 and Fig. 2, at the paper's parameters.

The paper does not publish C_1, C_2, S_{n,0}^max, S_{n,1}^max, how far a weight is raised, and where
its algorithm starts; these are :class:`Unpublished` and :data:`METHODS`.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solver import InputError, Problem, solve
from solver.paper import paper_instance
from solver.problem import PLACES

Budgets = tuple[int, ...]
#: w1, w2, c1, c2, c3 of eq. (8), in the order of :data:`solver.problem.WEIGHTS`.
Weights = tuple[float, float, float, float, float]

#: S_e^max of (1), the horizontal axis of both figures.
BUDGETS: Budgets = tuple(range(100, 501, 50))
EQUAL: Weights = (0.5, 0.5, 1 / 3, 1 / 3, 1 / 3)
FIG2_WEIGHTS: Weights = (0.3, 0.7, 1 / 3, 1 / 3, 1 / 3)
FIG2_LOCAL_STEPS = (10, 20, 30)
#: Quantity -> the sign of what is better.
BETTER = {"time": -1, "accuracy": 1, "energy": -1}
#: Weighting of Fig. 1 -> the quantity whose weight, c1, c2 or c3, is raised.
WEIGHTINGS = {"equal": None, "c1 raised": "time", "c2 raised": "accuracy", "c3 raised": "energy"}
#: Line -> the method of :func:`solver.solve`, and the settings of the runs whose mean it is.
METHODS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "exact": ("exact", [{}]),
    "paper": ("paper", [{}]),
    "paper, random starts": ("paper", [{"start": "random", "seed": seed} for seed in range(10)]),
}


class Unpublished(NamedTuple):
    """The parameters that the paper does not publish, the same for all users.

    C_1 of eq. (4), C_2 of eq. (7), S_0^max and S_1^max of (2), and the factor of a raised weight.
    """

    C1: float = 0.1
    C2: float = 0.1
    S0: int = 20
    S1: int = 50
    raised: float = 3.0

    def weights(self, weighting: str) -> Weights:
        """The weights of eq. (8) of one of :data:`WEIGHTINGS`."""
        w1, w2, *c = EQUAL
        c1, c2, c3 = (
            value * (self.raised if name == WEIGHTINGS[weighting] else 1)
            for value, name in zip(c, BETTER, strict=True)
        )
        return w1, w2, c1, c2, c3

    @classmethod
    def parse(cls, text: str) -> Self:
        """``C1=0.3,S1=20`` as parameters, the others at their defaults; InputError otherwise."""
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            try:
                values[name] = int(value) if name in ("S0", "S1") else float(value)
                if name not in cls._fields or not 0 < values[name] < 1e6:
                    raise ValueError
            except ValueError:
                raise InputError(
                    f"--unpublished: found '{part}'; "
                    "allowed: C1, C2 or raised=a number > 0, S0 or S1=an integer >= 1"
                ) from None
        return cls(**values)


#: The parameters at which each claim is checked.
GRID = tuple(
    Unpublished(*values)
    for values in itertools.product(
        (0.05, 0.1, 0.3), (0.05, 0.1, 0.3), (10, 20, 30), (12, 50), (3.0, 100.0)
    )
)


@dataclass(frozen=True)
class Spread:
    """A quantity over the budgets: its mean over the runs, their 5th and 95th percentile.

    Each has shape (budgets,).
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One line over the budgets: T in s, 1 - ε and E in J, and the objective, eq. (8).

    Random has no weights, hence no objective.
    """

    time: Spread
    accuracy: Spread
    energy: Spread
    objective: Spread | None = None

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """From the values of every run, shape (budgets, runs, quantities)."""
        runs = np.asarray(values, dtype=float)
        spread = np.stack([runs.mean(axis=1), *np.percentile(runs, (5, 95), axis=1)], axis=1)
        return cls(*(Spread(*spread[:, :, index].T) for index in range(spread.shape[2])))

    def quantity(self, name: str) -> Spread:
        """One of :data:`BETTER`."""
        return {"time": self.time, "accuracy": self.accuracy, "energy": self.energy}[name]


@dataclass(frozen=True)
class Fig1Row:
    """A point of Fig. 1 (a)-(c): mean, 5th and 95th percentile of T in s, 1 - ε and E in J."""

    edge_budget: int
    method: str
    weighting: str
    time: float
    time_low: float
    time_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    energy: float
    energy_low: float
    energy_high: float


@dataclass(frozen=True)
class Fig2Row:
    """A point of Fig. 2: mean, 5th and 95th percentile of eq. (8) with (w1, w2) = (0.3, 0.7)."""

    edge_budget: int
    method: str
    local_max_steps: int
    objective: float
    objective_low: float
    objective_high: float


def problem(budget: int, unpublished: Unpublished, weights: Weights = EQUAL) -> Problem:
    """The paper's instance at S_e^max = ``budget``."""
    return paper_instance(
        budget,
        decay=unpublished.C1,
        rate=unpublished.C2,
        max_steps=(unpublished.S0, unpublished.S1),
        weights=weights,
    )


def line(
    method: str,
    unpublished: Unpublished,
    weights: Weights = EQUAL,
    budgets: Budgets = BUDGETS,
) -> Line:
    """The :class:`Line` of one of :data:`METHODS`."""
    # the weights hold the factor already: its value must not make lines anew
    return _line(method, unpublished._replace(raised=1.0), weights, budgets)


@cache
def _line(method: str, unpublished: Unpublished, weights: Weights, budgets: Budgets) -> Line:
    name, runs = METHODS[method]
    instances = [problem(budget, unpublished, weights) for budget in budgets]
    solved = [[solve(instance, name, **settings) for settings in runs] for instance in instances]
    return Line.of(
        [[(run.time, 1 - run.error, run.energy, run.objective) for run in row] for row in solved]
    )


@cache
def baseline(unpublished: Unpublished, seeds: int, budgets: Budgets = BUDGETS) -> Line:
    """The :class:`Line` of the random baseline, over ``seeds`` runs."""
    values = []
    for budget in budgets:
        offload, steps = _draws(unpublished.S0, unpublished.S1, budget, seeds)
        instance = problem(budget, unpublished)
        time, error, energy = (
            _at([quantity(place)[0] for place in PLACES], offload, steps)
            for quantity in (instance.time, instance.error, instance.energy)
        )
        values.append(
            np.column_stack([time.sum(axis=1), 1 - error.mean(axis=1), energy.sum(axis=1)])
        )
    return Line.of(values)


def _at(
    tables: Sequence[NDArray[np.float64]], offload: NDArray[np.int_], steps: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Values, shape (seeds, users), from the places' tables over the steps, which users share."""
    local, edge = tables
    at_edge = edge[np.minimum(steps, len(edge)) - 1]
    return np.where(offload == 1, at_edge, local[np.minimum(steps, len(local)) - 1])


@cache
def _draws(
    local_steps: int, edge_steps: int, budget: int, seeds: int
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Places and steps, shape (seeds, users).

    Random depends on the limits alone, so one set of draws serves all C_1 and C_2.
    """
    instance = problem(budget, Unpublished(S0=local_steps, S1=edge_steps))
    drawn = [solve(instance, "random", seed=seed) for seed in range(seeds)]
    return np.array([run.offload for run in drawn]), np.array([run.steps for run in drawn])


def fig1(
    unpublished: Unpublished, seeds: int = 100, budgets: Budgets = BUDGETS
) -> Iterator[Fig1Row]:
    """Fig. 1 (a)-(c): random's points, then each method's with each weighting."""
    yield from _fig1_rows("random", "none", baseline(unpublished, seeds, budgets), budgets)
    for method, weighting in itertools.product(METHODS, WEIGHTINGS):
        values = line(method, unpublished, unpublished.weights(weighting), budgets)
        yield from _fig1_rows(method, weighting, values, budgets)


def _fig1_rows(method: str, weighting: str, values: Line, budgets: Budgets) -> Iterator[Fig1Row]:
    for index, budget in enumerate(budgets):
        ends = (
            float(end[index])
            for spread in (values.time, values.accuracy, values.energy)
            for end in (spread.mean, spread.low, spread.high)
        )
        yield Fig1Row(budget, method, weighting, *ends)


def fig2(unpublished: Unpublished, budgets: Budgets = BUDGETS) -> Iterator[Fig2Row]:
    """Fig. 2: the points of each method with each S_0^max."""
    for method, steps in itertools.product(METHODS, FIG2_LOCAL_STEPS):
        spread = line(method, unpublished._replace(S0=steps), FIG2_WEIGHTS, budgets).objective
        assert spread is not None  # these methods have weights
        for index, budget in enumerate(budgets):
            ends = (float(end[index]) for end in (spread.mean, spread.low, spread.high))
            yield Fig2Row(budget, method, steps, *ends)
