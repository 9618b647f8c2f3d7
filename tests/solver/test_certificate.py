"""The certificate: it trusts nothing that it did not compute itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.oracles import (
    exact_optimum,
    hard_instance,
    hard_table,
    plain_dp,
    table_problem,
)
from solver import InputError, Problem, certify, evaluate, limits, solve
from tests.solver.problems import example, priced, random_costs, small_problems, tabled


@pytest.mark.parametrize("price", [-10.0, math.nan, math.inf, -math.inf])
def test_weak_duality_at_a_price_below_zero_or_not_finite(price):
    """A choice that costs 6 was certified optimal at -10, where the optimum is 2."""
    problem = Problem.from_dict(tabled([[6]], [[2]], 1))
    best = solve(problem)
    for choice in ([0], [1]):
        with pytest.raises(InputError, match="edge_price: found .*; allowed: a finite number >= 0"):
            certify(problem, evaluate(problem, choice, [1], edge_price=price))
    with pytest.raises(InputError, match="edge_price: found "):
        certify(problem, replace(best, edge_price=price))


def test_a_price_that_no_dual_has():
    """The users' own choices at it miss the budget: it is not what one more edge step is worth."""
    problem = Problem.from_dict(example())
    best = solve(problem)
    for factor in (0.0, 0.5, 0.999, 1.001, 2.0, 1e6):
        with pytest.raises(InputError, match="edge_price: found "):
            certify(problem, replace(best, edge_price=factor * best.edge_price))
    slack = Problem.from_dict(example(edge_budget=10_000))
    with pytest.raises(InputError, match="edge_price: found "):
        certify(slack, replace(solve(slack), edge_price=1e-6))


def test_a_status_that_does_not_follow_from_the_bound():
    problem = Problem.from_dict(example())
    greedy, best = solve(problem, "greedy"), solve(problem)
    for forged in (replace(greedy, status="optimal"), replace(best, status="feasible")):
        with pytest.raises(InputError, match="status: found "):
            certify(problem, forged)


def test_sums_that_another_machine_rounds_otherwise_are_the_same():
    """A gap of 2e-12 moves by 1e-4 of itself where the objective moves by its last bit."""
    problem = Problem.from_dict(example())
    best = solve(problem)
    for objective in (math.nextafter(best.objective, to) for to in (-math.inf, math.inf)):
        for bound in (objective, best.objective - 2e-12 * abs(best.objective)):
            assert certify(problem, replace(best, objective=objective).bounded(bound)) >= 0
    off = best.bounded(best.objective - 1e-8 * abs(best.objective))
    with pytest.raises(InputError, match="gap: found "):
        certify(problem, replace(off, gap=off.gap - 1e-10))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_a_bound_above_the_optimum(seed):
    """Whoever claims a bound that no proof reaches is refused, with gap and status to match."""
    cost, budget = random_costs(np.random.default_rng(seed))
    problem = priced(cost, budget)
    best = solve(problem)
    for method in ("greedy", "uniform", "edge_first"):
        worse = solve(problem, method)
        if worse.objective > best.objective * (1 + 1e-6):
            for share in (1.0, 0.5, 1e-3):
                claim = best.objective + share * (worse.objective - best.objective)
                with pytest.raises(InputError, match="lower_bound: found "):
                    certify(problem, worse.bounded(claim))
    above = best.objective * (1 + 1e-6) + 1e-300
    with pytest.raises(InputError, match="lower_bound: found |gap: found "):
        certify(problem, best.bounded(above))


@settings(max_examples=50, deadline=None)
@given(small_problems(), st.data())
def test_a_choice_that_costs_more_is_never_certified(drawn, data):
    """Every user's every other option in turn, with all numbers computed again to match."""
    problem = Problem.from_dict(drawn[0])
    try:
        best = solve(problem)
    except InputError:
        return
    user = data.draw(st.integers(0, problem.users - 1))
    for a, most in ((0, 3), (1, 5)):
        for step in range(1, most + 1):
            offload, steps = best.offload.copy(), best.steps.copy()
            offload[user], steps[user] = a, step
            with pytest.raises(InputError):  # its numbers are those of another choice
                if certify(problem, replace(best, offload=offload, steps=steps)) >= 0:
                    again = evaluate(problem, offload, steps)
                    if math.isclose(again.objective, best.objective, rel_tol=1e-9):
                        raise InputError("it costs as much")
            try:
                other = evaluate(problem, offload, steps, edge_price=best.edge_price)
            except InputError:
                continue
            more = other.objective - best.objective
            assert certify(problem, other) >= more - 1e-12 * abs(best.objective)
            if more > 1e-8 * abs(best.objective):
                with pytest.raises(InputError):
                    certify(problem, other.bounded(other.objective))
                with pytest.raises(InputError):
                    certify(problem, replace(other, status="optimal"))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_proof_is_never_negative_and_never_too_small(seed):
    """Against dynamic programming without rounding; certify returned small negative numbers."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        cost, budget = random_costs(rng)
        problem, best = priced(cost, budget), exact_optimum(cost, min(budget, cost.size))
        for method in ("exact", "greedy"):
            allocation = solve(problem, method)
            proof = certify(problem, allocation)
            assert proof >= max(0, float(_total(cost, allocation) - best))
            if method == "exact":
                assert allocation.lower_bound <= best


def _total(cost, allocation):
    from fractions import Fraction

    at = [a * s for a, s in zip(allocation.offload, allocation.steps, strict=True)]
    return sum(Fraction(row[step]) for row, step in zip(cost, at, strict=True))


@pytest.mark.parametrize("budget", [2**53 + 1, 2**63, 10**30])
def test_a_budget_beyond_64_bits(budget):
    """It ended in an OverflowError."""
    problem = Problem.from_dict(example(edge_budget=budget))
    for method in ("exact", "greedy", "paper"):
        allocation = solve(problem, method)
        assert certify(problem, allocation) >= 0 and allocation.edge_price == 0
    assert problem.to_dict()["edge_budget"] == budget


def test_many_steps_and_a_budget_that_none_can_use_up():
    """Even steps and an odd budget: 1,800 users x 1,100 steps took 20 s and 3.6 GiB to prove."""
    rng, users = np.random.default_rng(0), 900
    cost = np.full((users, 1101), np.inf)
    cost[:, ::2] = 1000 + 5 - np.arange(0, 1101, 2) * 0.9 + rng.integers(0, 5, (users, 551))
    problem = table_problem(cost, users * 300 + 1)
    allocation = solve(problem)
    assert allocation.status == "optimal" and allocation.edge_steps_used == users * 300
    assert allocation.seconds < 10
    assert certify(problem, allocation) <= 1e-9 * allocation.objective


def test_plain_dp_is_exact_on_integers():
    """The two oracles agree."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.integers(0, 9, (5, 6)).astype(float)
        assert plain_dp(cost, 9) == exact_optimum(cost, 9)


@pytest.mark.parametrize("kind", ["strongly correlated", "inverse strongly correlated", "0-1"])
def test_a_proof_by_dropped_states_is_exact_and_one_that_stops_is_not_too_small(kind, monkeypatch):
    """Of choices that are optimal and that are not."""
    steps, profit, budget = hard_instance(kind, 60)
    cost = hard_table(steps, profit)
    problem, best = table_problem(cost, budget), plain_dp(cost, budget)
    choices = [solve(problem, name) for name in ("exact", "greedy", "edge_first")]
    for choice in choices:
        more = choice.objective - best
        assert more - 1e-9 <= certify(problem, choice) <= more + 1e-6
    for additions in (0, 30_000, 300_000):
        monkeypatch.setattr(limits, "PROOF_ADDITIONS", additions)
        for choice in choices:
            assert certify(problem, choice) >= choice.objective - best - 1e-9
