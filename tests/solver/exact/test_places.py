"""Several places and limits: against enumeration, dynamic programming and HiGHS."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.several_limits import several
from solver import InputError, Problem, certify, limits, solve
from solver.options import Menu, Options
from tests.solver.places import enumerated, is_kept, options_of, random_places


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans())
def test_exact_is_the_least_of_all_choices(seed, edges, whole):
    """Every feature drawn; refused exactly where nothing keeps all limits."""
    data = random_places(seed, users=3 + seed % 2, edges=edges, whole=whole)
    problem, best = Problem.from_dict(data), enumerated(data)
    if best is None:
        with pytest.raises(InputError) as error:
            solve(problem)
        assert "\n" not in str(error.value)
        return
    allocation = solve(problem)
    assert allocation.objective == pytest.approx(best, rel=1e-9, abs=1e-11)
    assert allocation.status == "optimal" or best == 0
    assert allocation.lower_bound <= best + 1e-11
    assert certify(problem, allocation) <= 1e-8 * max(1, abs(best))
    options = [options_of(data, user) for user in range(data["users"])]
    names = allocation.places or ["local", "edge"]
    choice = [
        next(option for option in own if option[0] == names[a] and option[2] == s)
        if allocation.edge_steps is None
        else next(option for option in own if (option[0], option[2], option[3]) == (names[a], s, k))
        for own, a, s, k in zip(
            options,
            allocation.offload,
            allocation.steps,
            allocation.edge_steps or allocation.steps,
            strict=True,
        )
    ]
    assert is_kept(data, choice)


@pytest.mark.parametrize("features", [(False, True), (True, False), (True, True)])
def test_exact_is_highs(features):
    """Users and steps beyond enumeration, with makespans as HiGHS's own variables."""
    slots, makespan = features
    for seed in range(2):
        problem = several(16, 10, 2, seed, slots=slots, makespan=makespan)
        allocation, highs = solve(problem), solve(problem, "milp")
        assert allocation.status == "optimal"
        assert highs.objective == pytest.approx(allocation.objective, rel=1e-6)
        assert certify(problem, highs) <= 1e-5 * abs(highs.objective)


def vector_program(cost, weight, capacity):
    """The least cost by dynamic programming over every vector of sums."""
    best = {(0,) * len(capacity): 0.0}
    for row in cost:
        after = {}
        for sums, value in best.items():
            for own, each in zip(weight, row):
                key = tuple(int(a) for a in np.add(sums, own))
                if each < np.inf and (np.array(key) <= capacity).all():
                    after[key] = min(after.get(key, np.inf), value + each)
        best = after
    return min(best.values())


@pytest.mark.parametrize("edges", [1, 2, 3])
def test_exact_is_dynamic_programming(edges):
    """One price for each of up to three budgets, with equal users and ties among them."""
    for seed in range(4):
        problem = several(9 - edges, 4, edges, seed, kinds=3 if seed % 2 else None, slots=edges < 3)
        options = Options.of(problem)
        menu = Menu.of(options.weight)
        cost, _ = menu.cheapest(options.cost(problem))
        allocation = solve(problem)
        assert allocation.objective == pytest.approx(
            vector_program(cost, menu.weight, options.capacity), rel=1e-12
        )
        assert allocation.status == "optimal"


def test_several_hundred_users_are_proven():
    """Alike or not; the bound is the optimum."""
    for kinds in (None, 15):
        problem = several(300, 20, 2, 1, kinds=kinds, slots=True)
        allocation = solve(problem)
        assert allocation.status == "optimal"
        assert certify(problem, allocation) <= 1e-9 * abs(allocation.objective)
        assert max(allocation.offload) == 2


@pytest.mark.parametrize("name, allowed", [("SEARCH_ADDITIONS", 10**4), ("SEARCH_STATES", 2)])
def test_a_search_that_stops_at_a_limit_is_honest(monkeypatch, name, allowed):
    """What is not proven says so, and its bound is none above the optimum."""
    problem = several(40, 10, 3, 5, kinds=4)
    best = solve(problem)
    assert best.status == "optimal"
    monkeypatch.setattr(limits, name, allowed)
    stopped = solve(problem)
    assert stopped.lower_bound <= best.objective * (1 - 1e-12) + 1e-12
    assert stopped.objective >= best.objective - 1e-9
    assert stopped.status == "feasible" or stopped.objective == pytest.approx(best.objective)


def test_a_tier_is_the_cheapest_option_of_each_weight():
    """By hand: two steps of the large model weigh 6, and cost less than six of the small one."""
    table = {"family": "table", "values": [0.0] * 6}
    place = {"step_time": 0.0, "overhead": 0.0, "power": 0.0, "utility": table}
    data = {
        "schema": "problem/2",
        "users": 2,
        "weights": {"cost": 1.0, "utility": 0.0, "time": 0.0, "error": 1.0, "energy": 0.0},
        "local": place | {"max_steps": 1, "error": {"family": "table", "values": [10.0]}},
        "edges": {
            "small": place
            | {
                "budget": 8,
                "max_steps": 6,
                "error": {"family": "table", "values": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]},
            },
            "large": place
            | {
                "budget": "small",
                "step_weight": 3,
                "max_steps": 2,
                "error": {"family": "table", "values": [7.5, 2.0]},
            },
        },
    }
    allocation = solve(Problem.from_dict(data))
    assert sorted(zip(allocation.offload, allocation.steps)) == [(1, 2), (2, 2)]
    assert allocation.objective == 10.0 and allocation.used == {"small": 8}
    for method in ("greedy", "edge_first", "uniform"):
        assert solve(Problem.from_dict(data), method).objective >= 10.0
    with pytest.raises(InputError, match="allowed for the paper's method: one edge place"):
        solve(Problem.from_dict(data), "paper")


def test_no_limit_that_binds():
    """Everyone takes the best, at a price of 0."""
    problem = several(5, 6, 2, 0, budget=10**6)
    allocation = solve(problem)
    assert set(allocation.prices.values()) == {0.0} and allocation.gap == 0.0
