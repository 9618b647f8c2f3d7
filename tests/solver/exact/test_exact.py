"""The exact solver against enumeration, dynamic programming and HiGHS, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from benchmarks.solver.oracles import plain_dp
from solver import METHODS, InputError, Problem, certify, solve
from tests.solver.problems import (
    enumerate_all,
    example,
    priced,
    random_costs,
    small_problems,
    tabled,
)

BASELINES = ("edge_first", "greedy", "random", "uniform")


@settings(max_examples=60, deadline=None)
@given(small_problems())
def test_exact_is_the_least_of_all_choices(drawn):
    """On any instance the objective is the enumerated minimum; there is none exactly where an error
    is raised.
    """
    data, scale = drawn
    best = enumerate_all(data)
    within = [value for used, value in best.items() if used <= data["edge_budget"]]
    problem = Problem.from_dict(data)
    if not within:
        for method in METHODS:
            with pytest.raises(InputError) as error:
                solve(problem, method)
            assert "\n" not in str(error.value)
        return
    allocation = solve(problem)
    assert allocation.objective == pytest.approx(min(within), rel=1e-12, abs=1e-13 * scale)
    assert (allocation.status, allocation.gap) == ("optimal", 0.0)
    # below the objective by the rounding of the sum
    assert allocation.lower_bound <= allocation.objective
    assert allocation.lower_bound == pytest.approx(allocation.objective, rel=1e-12)
    assert (
        allocation.edge_steps_used
        == sum(s for a, s in zip(allocation.offload, allocation.steps) if a)
        <= data["edge_budget"]
    )
    assert allocation.edge_price == pytest.approx(
        envelope_slope(best, data["edge_budget"]), rel=1e-9, abs=1e-12 * scale
    )
    assert certify(problem, allocation) == pytest.approx(
        0, abs=1e-9 * (scale + abs(allocation.objective))
    )
    for method in BASELINES:
        worse = solve(problem, method)
        assert worse.objective >= allocation.objective - 1e-12 * scale
        # the certificate of a choice that is not optimal is its true distance
        assert certify(problem, worse) == pytest.approx(
            worse.objective - allocation.objective,
            rel=1e-6,
            abs=1e-9 * (scale + abs(allocation.objective)),
        )


def envelope_slope(best, budget):
    """Minus the slope, right of ``budget``, of the lower convex envelope of the optimum over the
    budget; 0 where it is slack.
    """
    points, least = [], math.inf
    for used in sorted(best):
        if best[used] < least:
            least = best[used]
            points.append((used, least))
    before = [p for p in points if p[0] <= budget]
    after = [p for p in points if p[0] > budget]
    # of all chords over the budget, the envelope is the lowest at budget + 0
    lines = [
        ((left[1] - right[1]) / (right[0] - left[0]), left) for left in before for right in after
    ]
    return min(
        lines,
        key=lambda line: line[1][1] - line[0] * (budget + 1e-6 - line[1][0]),
        default=(0.0, None),
    )[0]


@pytest.mark.parametrize(
    "seed, count",
    [(0, 250), (1, 250), *(pytest.param(seed, 500, marks=pytest.mark.slow) for seed in (2, 3))],
)
def test_exact_is_plain_dynamic_programming(seed, count):
    """1500 instances of all shapes: the objective is the optimum, and said to be."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        cost, budget = random_costs(rng)
        allocation, best = solve(priced(cost, budget)), plain_dp(cost, min(budget, cost.size))
        assert allocation.objective == pytest.approx(
            best, rel=1e-12, abs=1e-12 * np.abs(cost[np.isfinite(cost)]).max()
        )
        assert (allocation.status, allocation.gap) == ("optimal", 0.0)


@pytest.mark.slow
def test_exact_is_highs_on_many():
    """150 instances of all shapes, to within HiGHS's tolerance."""
    rng = np.random.default_rng(9)
    for _ in range(150):
        cost, budget = random_costs(rng)
        problem, range_of_costs = priced(cost, budget), np.ptp(cost[np.isfinite(cost)])
        assert solve(problem, "milp").objective == pytest.approx(
            solve(problem).objective, rel=1e-9, abs=1e-6 * range_of_costs
        )


@pytest.mark.parametrize("seed", range(8))
def test_exact_is_highs(seed):
    """Against another solver, on the paper's curves with limits and users that only one place can
    serve.
    """
    rng = np.random.default_rng(seed)
    users = 15
    data = example(
        users=users,
        edge_budget=int(rng.integers(40, 80)),
        deadline=0.15 if seed % 2 else 1.0,
        max_error=0.9,
    )
    for place, most in (("local", 20), ("edge", 40)):
        data[place] |= {
            "max_steps": (most * (rng.random(users) > 0.1)).astype(int).tolist(),
            "power": rng.uniform(0.1, 5, users).tolist(),
        }
        data[place]["step_time"] = rng.uniform(0.001, 0.01, users).tolist()
        data[place]["error"]["decay"] = rng.uniform(0.05, 0.3, users).tolist()
        data[place]["utility"]["rate"] = rng.uniform(0.05, 0.3, users).tolist()
    data["edge"]["max_steps"] = [
        most or 40 * (local == 0)
        for most, local in zip(data["edge"]["max_steps"], data["local"]["max_steps"])
    ]
    problem = Problem.from_dict(data)
    allocation, highs = solve(problem), solve(problem, "milp")
    assert highs.objective == pytest.approx(allocation.objective, rel=1e-9)
    assert highs.lower_bound <= highs.objective and highs.gap < 1e-6
    assert (
        allocation.edge_price > 0 and max(allocation.offload) == 1 and min(allocation.offload) == 0
    )


def test_equal_users_with_no_even_share():
    """By hand: an edge step is worth 1, but 3 users share 7 steps; costs 10 - s, local 10, only
    even s allowed to pay.
    """
    allocation = solve(Problem.from_dict(tabled([[10]] * 3, [[11, 8, 11, 6]] * 3, 7)))
    assert (allocation.objective, allocation.edge_steps_used, allocation.edge_price) == (
        24.0,
        6,
        1.0,
    )


def test_optimum_far_from_the_relaxed_start():
    """An edge step is worth 1 everywhere; 3 users take 0 or 3 steps, 3 take 0 or 5: 10 is 5 + 5,
    the start is 3 + 3 + 3.
    """
    edge = [[20, 20, 7]] * 3 + [[20, 20, 20, 20, 5]] * 3
    allocation = solve(Problem.from_dict(tabled([[10]] * 6, edge, 10)))
    assert (allocation.objective, allocation.edge_steps_used, sorted(allocation.offload)) == (
        50.0,
        10,
        [0, 0, 0, 0, 1, 1],
    )


def test_the_one_user_that_matters_is_not_among_the_nearest():
    """60 users, all different, lose next to nothing by 2 steps more or less; only the last, at a
    loss, can use the odd step.
    """
    edge = [[20, 8 + 1e-6 * n] for n in range(60)] + [[9.5]]
    allocation = solve(Problem.from_dict(tabled([[10]] * 61, edge, 41)))
    assert allocation.offload == [1] * 20 + [0] * 40 + [1] and allocation.edge_steps_used == 41


def test_budget_beyond_need_and_zero():
    """Slack: everyone takes the best, the price is 0, also with 10^18. Zero: all local."""
    data = example(users=3, edge__max_steps=9, weights__energy=0.0)
    slack, vast = (
        solve(Problem.from_dict(example(**{**data, "edge_budget": budget})))
        for budget in (27, 10**18)
    )
    assert slack.steps == vast.steps and slack.edge_price == vast.edge_price == 0.0
    none = Problem.from_dict({**data, "edge_budget": 0})
    assert (
        solve(none).offload == [0, 0, 0]
        and solve(none).objective == solve(none, "all_local").objective
    )


def test_one_giant_cost_does_not_drown_the_others():
    """Costs of 1e-6 are still decided rightly beside one of 1e6."""
    local, edge = [[1e6]] + [[3e-6]] * 3, [[2e6]] + [[2e-6, 0.5e-6]] * 3
    assert solve(Problem.from_dict(tabled(local, edge, 3))).steps[1:] in (
        [1, 2, 1],
        [2, 1, 1],
        [1, 1, 2],
    )
