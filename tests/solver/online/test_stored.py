"""A stored budget: the bound against enumeration, invariants of the policies, and small regret."""

from itertools import product

import numpy as np
import pytest

from solver import solve
from solver.inputs import InputError
from solver.online import stored
from tests.solver.online.worlds import problem


def policies(options, requests, price):
    return {
        "resolve": stored.Resolve(np.ones(len(options.cost))),
        "dual": stored.DualDescent(price, requests),
        "fill": stored.FillThreshold(),
        "fixed": stored.FixedPrice(price),
        "free": stored.FixedPrice(0.0),
    }


@pytest.mark.parametrize("unit", stored.UNITS)
@pytest.mark.parametrize("seed", range(4))
def test_no_choice_within_the_budget_costs_less_than_the_bound(unit, seed):
    options = stored.Choices.of(problem(users=3, edge_steps=5, seed=seed), unit)
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, 4)
    budget = 0.5 * float(options.weight[kind].max(axis=1).sum()) * rng.uniform(0.2, 1.2)
    best = min(
        options.cost[kind, list(choice)].sum()
        for choice in product(range(6), repeat=4)
        if options.weight[kind, list(choice)].sum() <= budget
    )
    for policy in policies(options, 4, 0.01).values():
        outcome = stored.run(options, kind, budget, policy)
        assert outcome.bound <= best + 1e-12 <= outcome.cost + 2e-12


def test_in_steps_the_bound_is_that_of_the_exact_solver():
    world = problem(users=5, seed=2)
    kind, budget = np.random.default_rng(0).integers(0, 5, 40), 90
    options = stored.Choices.of(world)
    outcome = stored.certify(options, kind, np.zeros(40, int), budget)
    part = world.part(kind.tolist())
    exact = solve(type(part).from_dict(part.to_dict() | {"edge_budget": budget}))
    assert outcome.bound <= exact.objective + 1e-9
    assert exact.objective - outcome.bound < 0.02 * (outcome.all_local - exact.objective)


@pytest.mark.parametrize("unit", stored.UNITS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 2.0])
def test_the_budget_is_never_exceeded(unit, share):
    options = stored.Choices.of(problem(seed=5), unit)
    kind = np.random.default_rng(1).integers(0, 4, 200)
    budget = share * 200 * float(options.weight.mean())
    for name, policy in policies(options, 200, 0.01).items():
        outcome = stored.run(options, kind, budget, policy)
        used = options.weight[kind, outcome.choices].sum()
        assert used <= budget * (1 + 1e-12), name
        assert -1e-12 <= outcome.regret <= 1 + 1e-9 or name == "fixed"


def test_solving_anew_comes_near_the_optimum_in_hindsight_and_nearer_with_more_requests():
    options = stored.Choices.of(problem(users=15, edge_steps=12, seed=4))
    regrets = []
    for requests in (100, 1000):
        kind = np.random.default_rng(7).choice(15, requests, p=np.arange(1, 16) / 120)
        outcome = stored.run(options, kind, 3.0 * requests, stored.Resolve(np.ones(15)))
        regrets.append(outcome.regret)
    assert regrets[1] < 0.01 and regrets[1] < regrets[0]


def test_cheats_and_impossible_kinds_are_refused():
    options = stored.Choices.of(problem(max_error=0.6))
    which, refused = np.argwhere(np.isinf(options.cost))[0]
    kind = np.full(5, which)
    with pytest.raises(InputError, match="^records: budget: found .*; allowed: 3"):
        stored.certify(options, kind, np.full(5, 4), 3.0)
    with pytest.raises(InputError, match=r"^records\[0\]: steps"):
        stored.certify(options, kind, np.full(5, refused), 1e9)
    with pytest.raises(InputError, match="user 0: found no local option"):
        stored.Choices.of(problem(local_steps=0))
    with pytest.raises(InputError, match="unit: 'hours' is unknown"):
        stored.Choices.of(problem(), "hours")


def test_where_the_edge_saves_nothing_every_policy_has_an_answer():
    edge = {
        "max_steps": 4,
        "step_time": 1.0,
        "overhead": 5.0,
        "power": 0.0,
        "error": {"family": "exponential", "scale": 2.0, "decay": 0.1},
        "utility": {"family": "saturating", "rate": 0.1},
    }
    options = stored.Choices.of(problem(edge=edge), "joules")
    assert not len(options.saved)
    kind = np.arange(8) % 4
    outcome = stored.run(options, kind, 20.0, stored.FillThreshold())
    assert outcome.regret == pytest.approx(0, abs=1e-9)
