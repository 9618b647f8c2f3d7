"""Many different users that tie at the price of an edge step, and Pisinger's hard instances."""

import numpy as np
import pytest

from benchmarks.solver.oracles import (
    HARD,
    exact_optimum,
    hard_instance,
    hard_table,
    plain_dp,
    table_problem,
)
from solver import certify, limits, solve, studies
from solver.exact import core


def same_slope(users, options=10, most=200, seed=0):
    """Every user has its own options, and every step of every option is worth 1."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, most + 1, (users, options))
    cost = np.full((users, most + 1), np.inf)
    base = np.sort(rng.integers(0, 1000, users) + float(most))[::-1]
    cost[:, 0] = base
    cost[np.arange(users)[:, None], steps] = base[:, None] - steps
    return cost, int(steps.max(axis=1).sum() // 2)


def test_ten_thousand_users_with_the_same_slope():
    """67 steps of the budget stayed unused: only users that could go down were tried."""
    cost, budget = same_slope(10_000)
    problem = table_problem(cost, budget)
    allocation = solve(problem)
    assert (allocation.status, allocation.edge_steps_used) == ("optimal", budget)
    assert allocation.objective == cost[:, 0].sum() - budget
    assert certify(problem, allocation) <= 1e-9 * allocation.objective


def test_a_tie_that_only_a_small_loss_can_fill():
    """Ties move in tens; the one user that can take 7 steps loses a little by it."""
    users = 500
    cost = np.full((users, 51), np.inf)
    cost[:, ::10] = 100.0 - np.arange(0, 51, 10)
    cost[123, 7] = 93.0 + 0.5
    problem = table_problem(cost, 10 * users + 7)
    allocation = solve(problem)
    assert (allocation.status, allocation.edge_steps_used) == ("optimal", 10 * users + 7)
    assert allocation.objective == 100.0 * users - (10 * users + 7) + 0.5


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("users, options, most", [(12, 4, 20), (60, 10, 200), (150, 10, 50)])
def test_hard_instances_are_proven(kind, users, options, most):
    """Against dynamic programming over every budget."""
    for seed in range(3 if users == 12 else 1):
        steps, profit, budget = hard_instance(kind, users, options, most, seed)
        cost = hard_table(steps, profit)
        problem = table_problem(cost, budget)
        allocation, best = solve(problem), plain_dp(cost, budget)
        assert allocation.objective == best and allocation.status == "optimal"
        assert best >= allocation.lower_bound >= best * (1 - 1e-12)
        assert certify(problem, allocation) <= 1e-9 * best
        if users == 12:
            assert best == exact_optimum(cost, budget)


@pytest.fixture(scope="module")
def hard():
    """Problems and their optima."""
    solved = []
    for kind in ("strongly correlated", "0-1", "even-odd"):
        steps, profit, budget = hard_instance(kind, 60)
        cost = hard_table(steps, profit)
        solved.append((table_problem(cost, budget), plain_dp(cost, budget)))
    return solved


@pytest.mark.parametrize("limit", ["SEARCH_ADDITIONS", "SEARCH_BYTES"])
@pytest.mark.parametrize("allowed", [0, 10**4, 10**6])
def test_a_search_that_stops_at_a_limit_is_honest(hard, monkeypatch, limit, allowed):
    """3.6 GiB were taken without a limit; what is left of the bound must be true."""
    monkeypatch.setattr(limits, limit, allowed)
    for problem, best in hard:
        allocation = solve(problem)
        assert allocation.lower_bound <= best <= allocation.objective
        assert (allocation.status == "optimal") == (allocation.objective == best) or (
            allocation.status == "feasible"
        )


def test_what_is_not_proven_says_so_and_the_best_leads(monkeypatch):
    """`compare` took the exact method's objective for the optimum, whatever its status."""
    monkeypatch.setattr(limits, "SEARCH_ADDITIONS", 0)
    monkeypatch.setattr(core, "MOST_PAIRED", 0)
    cost, budget = same_slope(60, most=80)
    problem = table_problem(cost, budget)
    stopped = solve(problem)
    assert stopped.status == "feasible" and stopped.lower_bound < stopped.objective
    rows = list(studies.compare(problem, seeds=2))
    best = min(row.objective for row in rows if row.runs == 1)
    assert rows[0].objective == best < stopped.objective
    assert all(row.gap is None or row.gap >= 0 for row in rows)
    assert rows[0].gap == 0 or rows[0].note
