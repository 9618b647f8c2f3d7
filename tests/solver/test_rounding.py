"""What floats can do to a bound: small weights, costs that cancel, other solvers' tolerances."""

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.solver.oracles import exact_optimum
from solver import Problem, certify, solve
from solver.knapsack import Knapsack
from tests.solver.places import random_places
from tests.solver.problems import example, random_problem, tabled


@pytest.mark.parametrize("size", [1e-12, 1e-100, 1.0, 1e12])
def test_optimal_is_relative_to_the_objective(size):
    """At weights of 1e-12 a choice that is 7e-5 off was called optimal."""
    problem = Problem.from_dict(example())
    scaled = {name: size * value for name, value in problem.weights.items() if name in UNITS}
    problem = Problem.from_dict(problem.to_dict() | {"weights": _plain(problem, scaled)})
    best, greedy = solve(problem), solve(problem, "all_local")
    assert best.status == "optimal"
    off = greedy.bounded(best.lower_bound)
    assert off.status == "feasible" and off.gap > 0.005
    near = best.bounded(best.objective - 7e-5 * abs(best.objective))
    assert near.status == "feasible" and near.gap == pytest.approx(7e-5, rel=1e-3)


UNITS = ("cost", "utility")


def _plain(problem, scaled):
    return {name: float(value) for name, value in {**problem.weights, **scaled}.items()}


def cancelling(seed, users=8, width=6):
    """Costs of +-4e12 that cancel in the sum but for about one, and the table of them."""
    rng = np.random.default_rng(seed)
    data = tabled(
        rng.random((users, 1)).tolist(), rng.random((users, width)).tolist(), 2 * users + 1
    )
    data["weights"]["utility"] = 1.0
    sign = np.where(np.arange(users) % 2, 4e12, -4e12)
    for place, most in (("local", 1), ("edge", width)):
        table = np.repeat(sign[:, None], most, axis=1).tolist()
        data[place]["utility"] = {"family": "table", "values": table}
    return Problem.from_dict(data)


@pytest.mark.parametrize("seed", range(20))
def test_costs_that_cancel_give_no_bound_above_the_optimum(seed):
    """The search stopped at 1e-15 of the sum of |costs|, and reported 0 as proven."""
    problem = cancelling(seed)
    cost = Knapsack.of(problem).cost
    best = exact_optimum(cost, problem.edge_budget)
    for method in ("exact", "milp"):
        allocation = solve(problem, method)
        assert Fraction(allocation.lower_bound) <= best
        assert certify(problem, allocation) >= float(Fraction(allocation.objective) - best) - 1e-18
    assert solve(problem).objective == pytest.approx(float(best), rel=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_bound_is_never_above_the_optimum(seed):
    """Not by the last bit."""
    problem = Problem.from_dict(random_problem(seed))
    best = exact_optimum(Knapsack.of(problem).cost, problem.edge_budget)
    allocation = solve(problem)
    assert Fraction(allocation.lower_bound) <= best
    assert allocation.status == "optimal" and allocation.gap == 0.0


@pytest.mark.parametrize(
    "edge, user, huge",
    [("large", 0, 2**31), ("large", 0, 2**53), ("large", 0, 10**18), ("edge", 1, 2**63)],
)
def test_a_price_that_dwarfs_the_objective_gives_no_bound_beyond_proof(edge, user, huge):
    """What cannot be had for its weight sets the price, whose rounding is that of the bound."""
    features = dict.fromkeys(("tier", "slots", "makespan", "split", "transfer", "limits"), True)
    data = random_places(11, users=3, **features)
    data["edges"][edge]["utility"]["values"][user][1] = huge
    problem = Problem.from_dict(data)
    allocation = solve(problem)
    assert allocation.gap > 1e-6
    assert certify(problem, allocation) >= 0


def test_highs_is_not_believed():
    """Its tolerances are absolute: on badly scaled costs it called 5 % off optimal."""
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        edge = 10 ** rng.uniform(-9, 9, (6, 4))
        local = 10 ** rng.uniform(-9, 9, (6, 1))
        problem = Problem.from_dict(tabled(local.tolist(), edge.tolist(), 9))
        best, highs = solve(problem), solve(problem, "milp")
        assert highs.lower_bound <= best.objective
        off = highs.objective > best.objective * (1 + 1e-8)
        wrong += off
        assert highs.status == ("feasible" if off else "optimal")
    assert wrong


def test_a_deadline_that_is_met_but_for_rounding():
    """3 steps of 0.1 s take 0.30000000000000004 s, and were refused at a deadline of 0.3 s."""
    problem = Problem.from_dict(example(users=1, edge__step_time=0.1, deadline=0.3))
    assert np.isfinite(problem.cost("edge")).sum() == 3
    assert np.isfinite(problem.cost("edge", np.array([[3]]))).all()
