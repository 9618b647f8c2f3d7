"""What must hold of every optimum: symmetry, constants, more budget, scaled weights."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import Problem, solve
from solver.knapsack import Knapsack
from solver.relaxation import relax
from tests.solver.problems import (
    edited,
    example,
    random_problem,
    tabled,
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_permuting_users_permutes_the_answer(seed):
    problem = Problem.from_dict(random_problem(seed))
    order = np.random.default_rng(seed).permutation(problem.users)
    allocation, other = solve(problem), solve(problem.part(order))
    assert (
        np.array(allocation.steps)[order].tolist(),
        np.array(allocation.offload)[order].tolist(),
    ) == (
        other.steps,
        other.offload,
    )
    assert other.objective == pytest.approx(allocation.objective, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 1e3))
def test_a_constant_cost_changes_no_choice(seed, constant):
    """Seconds that every option of every user takes anyway."""
    data = random_problem(seed)
    each = constant * data["weights"]["cost"] * data["weights"]["time"]
    base = solve(Problem.from_dict(edited(data, local__power=0.0, edge__power=0.0)))
    other = solve(
        Problem.from_dict(edited(data, local__overhead=constant, edge__overhead=constant))
    )
    assert (other.offload, other.steps) == (base.offload, base.steps)
    assert other.objective == pytest.approx(base.objective + 12 * each, rel=1e-9)
    assert base.status == other.status == "optimal"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_more_budget_never_hurts_and_weights_scale(seed, factor):
    data = random_problem(seed)
    problem = Problem.from_dict(data)
    allocation = [
        solve(replace(problem, budgets={"edge": problem.edge_budget + more})) for more in range(4)
    ]
    assert all(b.objective <= a.objective + 1e-12 for a, b in itertools.pairwise(allocation))
    assert all(b.edge_price <= a.edge_price + 1e-12 for a, b in itertools.pairwise(allocation))
    scaled = solve(
        replace(
            problem,
            weights=problem.weights
            | {name: factor * problem.weights[name] for name in ("cost", "utility")},
        )
    )
    assert scaled.objective == pytest.approx(factor * allocation[0].objective, rel=1e-9)
    assert (scaled.offload, scaled.steps) == (allocation[0].offload, allocation[0].steps)


def test_relaxed_start_fits_and_is_optimal_at_its_price():
    rng = np.random.default_rng(5)
    cost = rng.random((200, 12))
    for budget in (0, 1, 150, 700):
        price, few, many, moved = relax(cost, budget)
        start = np.where(moved, many, few)
        priced = cost + price * np.arange(12)
        assert start.sum() <= budget
        np.testing.assert_allclose(priced[np.arange(200), start], priced.min(axis=1), atol=1e-12)


def test_trends_of_figure_1():
    """With the example's numbers and budgets 100..500: time falls, accuracy and energy rise, the
    objective falls.
    """
    allocation = [
        solve(Problem.from_dict(example(edge_budget=budget))) for budget in range(100, 501, 50)
    ]
    assert all(
        b.objective < a.objective and b.error < a.error and b.energy > a.energy
        for a, b in itertools.pairwise(allocation)
    )
    # integers: 9 users of 16 steps leave 6 of 150 unused, so time falls from every second budget to
    # the next
    assert all(b.time < a.time for a, b in zip(allocation, allocation[2:]))


def test_price_is_the_problems():
    problem = Problem.from_dict(example())
    assert (
        len({solve(problem, method).edge_price for method in ("exact", "greedy", "all_local")}) == 1
    )


def test_choices_prefer_the_best_local_step():
    choices = Knapsack.of(Problem.from_dict(tabled([[3, 1, 2], []], [[5], [4]], 9)))
    assert choices.cost.tolist() == [[1, 5], [math.inf, 4]] and choices.local_steps[0] == 2
