"""The paper's Fig. 1 and Fig. 2 at the paper's parameters, and where what it reads from them is
true.

C_1, C_2, S_{n,0}^max, S_{n,1}^max, how far a weight is raised, and where the paper's algorithm
starts are not published.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from solver import InputError, Problem, solve
from solver.problem import PLACES, WEIGHTS

BUDGETS = tuple(range(100, 501, 50))
USERS = 30
#: weighting -> the quantity that it weighs, by one of c1, c2, c3
WEIGHTINGS = {"equal": None, "c1 raised": "time", "c2 raised": "accuracy", "c3 raised": "energy"}
EQUAL = (1 / 3, 1 / 3, 1 / 3)
FIG2_LOCAL_STEPS = (10, 20, 30)
FIG2_WEIGHTS = (0.3, 0.7)
QUANTITIES = ("time", "accuracy", "energy", "objective")
BETTER = {"time": -1, "accuracy": 1, "energy": -1}
STARTS = 10
#: line -> the runs of `solve` whose mean it is
METHODS = {
    "exact": ("exact", [{}]),
    "paper": ("paper", [{}]),
    "paper, random starts": ("paper", [{"start": "random", "seed": seed} for seed in range(STARTS)]),
}


class Unpublished(NamedTuple):
    """C_1 of eq. (4), C_2 of eq. (7), S_0^max and S_1^max of (2), the same for all UEs; the factor
    of a raised weight.
    """

    C1: float = 0.1
    C2: float = 0.1
    S0: int = 20
    S1: int = 50
    raised: float = 3.0

    def weights(self, weighting):
        """(c1, c2, c3) of one of :data:`WEIGHTINGS`."""
        return tuple(c * (self.raised if name == WEIGHTINGS[weighting] else 1) for c, name in zip(EQUAL, BETTER, strict=True))


GRID = tuple(Unpublished(*values) for values in itertools.product((0.05, 0.1, 0.3), (0.05, 0.1, 0.3), (10, 20, 30), (12, 50), (3.0, 100.0)))


def problem(budget, unpublished, w=(0.5, 0.5), c=EQUAL):
    """The paper's instance as a Problem: 30 equal UEs; frequencies in GHz, k = 0.01."""

    def place(most, step_time, frequency):
        return {
            "max_steps": most,
            "step_time": step_time,
            "overhead": 0.0,
            "power": {"coefficient": 0.01, "frequency": frequency},
            "error": {"family": "exponential", "scale": 1.0, "decay": unpublished.C1},
            "utility": {"family": "saturating", "rate": unpublished.C2},
        }

    return Problem.from_dict(
        {
            "schema": "problem/1",
            "users": USERS,
            "edge_budget": budget,
            "weights": dict(zip(WEIGHTS, (*w, *c), strict=True)),
            "local": place(unpublished.S0, 1 / 500, 1.5),
            "edge": place(unpublished.S1, 1 / 1000, 10.0),
        }
    )


def line(method, unpublished, w=(0.5, 0.5), c=EQUAL, budgets=BUDGETS):
    """One of :data:`METHODS` over the budgets: quantity -> array (3, budgets), the mean over its
    runs, 5th and 95th percentile.
    """
    # `c` says it all: the same lines are solved once
    return _line(method, unpublished._replace(raised=1.0), w, c, budgets)


@functools.cache
def _line(method, unpublished, w, c, budgets):
    name, runs = METHODS[method]
    instances = [problem(budget, unpublished, w, c) for budget in budgets]
    found = [[solve(one, name, **settings) for settings in runs] for one in instances]
    return _spread([[(one.time, 1 - one.error, one.energy, one.objective) for one in some] for some in found])


@functools.cache
def baseline(unpublished, seeds, budgets=BUDGETS):
    """The random baseline, as :func:`line`, over ``seeds`` runs; without objective, as it has no
    weights.
    """
    values = []
    for budget in budgets:
        offload, steps = _draws(unpublished.S0, unpublished.S1, budget, seeds)
        one = problem(budget, unpublished)
        at = {}
        for name in ("time", "error", "energy"):  # every UE has the same table
            local, edge = (getattr(one, name)(place)[0] for place in PLACES)
            at[name] = np.where(offload == 1, edge[np.minimum(steps, len(edge)) - 1], local[np.minimum(steps, len(local)) - 1])
        values.append(np.column_stack([at["time"].sum(axis=1), 1 - at["error"].mean(axis=1), at["energy"].sum(axis=1)]))
    return _spread(values)


@functools.cache
def _draws(local_steps, edge_steps, budget, seeds):
    """Places and steps, arrays (seeds, users): what is drawn depends on the limits alone."""
    one = problem(budget, Unpublished(S0=local_steps, S1=edge_steps))
    found = [solve(one, "random", seed=seed) for seed in range(seeds)]
    return np.array([some.offload for some in found]), np.array([some.steps for some in found])


def _spread(values):
    """(budgets, runs, quantities) -> quantity -> (3, budgets): mean, 5th and 95th percentile over
    the runs.
    """
    values = np.array(values)
    spread = np.stack([values.mean(axis=1), *np.percentile(values, (5, 95), axis=1)])
    return {name: spread[:, :, index] for index, name in enumerate(QUANTITIES[: spread.shape[2]])}


def _rows(key, values, budgets, names):
    """One row for each budget: ``key``, and for each quantity its mean, low and high."""
    for index, budget in enumerate(budgets):
        ends = {name + end: float(values[name][row, index]) for name in names for row, end in enumerate(("", "_low", "_high"))}
        yield {"edge_budget": budget, **key, **ends}


def fig1(unpublished, seeds=100, budgets=BUDGETS):
    """Yield the rows of Fig. 1 (a)-(c): T in s, 1 - eps and E in J against S_e^max, for each method
    and weighting, and random.
    """
    names = QUANTITIES[:3]
    yield from _rows({"method": "random", "weighting": "none"}, baseline(unpublished, seeds, budgets), budgets, names)
    for method, weighting in itertools.product(METHODS, WEIGHTINGS):
        values = line(method, unpublished, c=unpublished.weights(weighting), budgets=budgets)
        yield from _rows({"method": method, "weighting": weighting}, values, budgets, names)


def fig2(unpublished, budgets=BUDGETS):
    """Yield the rows of Fig. 2: eq. (8) with (w1, w2) = (0.3, 0.7) against S_e^max, for each method
    and S_0^max.
    """
    for method, steps in itertools.product(METHODS, FIG2_LOCAL_STEPS):
        values = line(method, unpublished._replace(S0=steps), FIG2_WEIGHTS, budgets=budgets)
        yield from _rows({"method": method, "local_max_steps": steps}, values, budgets, ("objective",))


def parse(text):
    """``C1=0.3,S1=20`` -> :class:`Unpublished`, the others as they are. InputError for anything
    else.
    """
    values = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name] = int(value) if name in ("S0", "S1") else float(value)
            if name not in Unpublished._fields or not 0 < values[name] < 1e6:
                raise ValueError
        except ValueError:
            raise InputError(f"--unpublished: found '{part}'; allowed: C1, C2 or raised=a number > 0, S0 or S1=an integer >= 1") from None
    return Unpublished(**values)
