"""Newton's step counts are the table's to the last choice, ties and limits included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import solver.choices.scan as scan
import solver.exact.exact as exact
from solver import InputError, Problem, certify, solve
from solver.choices.convex import is_convex
from solver.choices.scan import Choices, choices
from solver.knapsack import Axis
from tests.solver.problems import crowd, example, tabled

USERS = 50


class NoTable(Axis):
    """An axis whose table nobody may ask for."""

    def table(self, problem, rows=slice(None)):
        raise AssertionError(f"the table of {problem.users} users: {rows}")


def random_convex(seed, served=False):
    """Round numbers, so that costs and limits tie: one for all users, or one for each.

    ``served``: steps and limits leave something to nearly everyone.
    """
    rng = np.random.default_rng(seed)

    def numbers(*values):
        return rng.choice(values, USERS) if rng.random() < 0.5 else rng.choice(values)

    def error():
        family = rng.choice(["exponential", "exponential_floor", "power_floor"])
        rate = "exponent" if family == "power_floor" else "decay"
        curve = {"family": str(family), "scale": numbers(0.0, 1e-9, 1.0, 7.0)}
        curve[rate] = numbers(0.01, 0.1, 0.5, 3.0, 60.0)
        return curve if family == "exponential" else curve | {"floor": numbers(0.0, 0.05, 1.0)}

    changes = {"users": USERS, "edge_budget": int(rng.integers(300))}
    for place, most in (("local", 20), ("edge", 40)):
        changes |= {
            f"{place}__max_steps": numbers(5, most) if served else numbers(0, 1, 5, most),
            f"{place}__min_steps": numbers(1, 2) if served else numbers(1, 2, 7),
            f"{place}__step_time": numbers(0.0, 0.001, 0.1, 1.0),
            f"{place}__overhead": numbers(0.0, 0.1),
            f"{place}__power": numbers(0.0, 1.0, 1e6),
            f"{place}__error": error(),
            f"{place}__utility": {"family": "saturating", "rate": numbers(0.01, 0.1, 2.0)},
        }
    for weight in ("cost", "utility", "time", "error", "energy"):
        changes[f"weights__{weight}"] = numbers(0.0, 0.5, 1.0)
    if rng.random() < 0.5:
        changes["deadline"] = numbers(2.3, 5.1) if served else numbers(0.3, 0.5, 2.0)
    if rng.random() < 0.5:
        changes["max_error"] = numbers(7.0, 8.0) if served else numbers(0.05, 0.3, 1.0)
    return Problem.from_dict(example(**changes))


def assert_alike(problem, prices):
    """The choices at ``prices`` are those of the table."""
    axis = Axis.of(problem)
    own = choices(problem, axis, prices)
    table = Choices.of_table(*axis.table(problem), prices)
    np.testing.assert_array_equal(own.weight, table.weight)
    np.testing.assert_allclose(own.cost, table.cost, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(own.local.steps, table.local.steps)
    np.testing.assert_allclose(own.local.cost, table.local.cost, rtol=1e-13, atol=1e-15)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_choices_are_those_of_the_table(seed):
    """Also at prices where two step counts tie: what a step more saves, and the floats beside."""
    problem = random_convex(seed)
    assert is_convex(problem)
    assert_alike(problem, [np.inf, 1.0, 0.05, 1e-3, 1e-12, 0.0])
    steps = 1 + seed % 39
    cost = problem.cost("edge", np.tile([[steps, steps + 1]], (USERS, 1)))
    saving = np.ptp(cost[np.isfinite(cost).all(axis=1)], axis=1)
    for price in saving[:2]:
        assert_alike(problem, [np.nextafter(price, 1), price, np.nextafter(price, 0)])


@pytest.mark.parametrize("family", ["exponential", "power_floor"])
def test_no_table_is_needed_where_nothing_ties(family):
    """Of 20,000 users with their own curves and limits."""
    rng = np.random.default_rng(3)
    changes = {}
    if family == "power_floor":
        exponent = rng.uniform(0.3, 1.5, 20_000)
        error = {"family": family, "scale": 1.0, "exponent": exponent, "floor": 0.1}
        changes = {"local__error": error, "edge__error": error}
    problem = Problem.from_dict(
        crowd(20_000, 1, **changes, deadline=rng.uniform(0.04, 1, 20_000), max_error=0.95)
    )
    axis = NoTable(*vars(Axis.of(problem)).values())
    own = choices(problem, axis, [np.inf, 1e-3, 0.0])
    table = Choices.of_table(*Axis.of(problem).table(problem), [np.inf, 1e-3, 0.0])
    assert (own.weight == table.weight).all() and (own.local.steps == table.local.steps).all()
    assert 5 < np.mean(own.weight[2]) < 49 and (own.weight[1] < own.weight[2]).any()


def test_a_tie_is_left_to_the_table():
    """Free steps whose saving is rounded away: the first of the equal costs is the table's."""
    data = example(
        users=3,
        edge__step_time=0.0,
        edge__error={"family": "exponential", "scale": 1.0, "decay": 2.0},
    )
    data["edge"]["utility"]["rate"] = 2.0
    problem = Problem.from_dict(data)
    axis = Axis.of(problem)
    assert choices(problem, axis, [0.0]).weight.max() < 25  # of 50 steps that all save something
    with pytest.raises(AssertionError, match="the table of 3 users"):
        choices(problem, NoTable(*vars(axis).values()), [0.0])
    assert_alike(problem, [0.0])


def test_a_table_or_another_limit_is_not_convex():
    assert not is_convex(Problem.from_dict(tabled([[1.0, 2.0]], [[1.0]], 3)))


def outcome(problem):
    """The optimum, proven; or why there is none."""
    try:
        allocation = solve(problem)
    except InputError as error:
        return str(error)
    assert certify(problem, allocation) <= 1e-9 * abs(allocation.objective)
    return f"{allocation.objective:.9g}", allocation.status


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-3, 64.0]))
def test_problems_are_solved_or_refused_as_by_tables(seed, spread):
    """Also where the users that are open at first are too few."""
    problem = random_convex(seed, served=seed % 4 > 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "is_convex", lambda problem: False)
        expected = outcome(problem)
        patch.undo()
        patch.setattr(exact, "SMALL", 0)
        patch.setattr(exact, "SPREAD", spread)
        assert outcome(problem) == expected


@pytest.mark.parametrize("users, steps", [(400, 100), (6000, 20)])
def test_the_optimum_is_that_of_tables(monkeypatch, users, steps):
    """Without a table for all, with a first guess that is too narrow, and by tables alone."""
    problem = Problem.from_dict(crowd(users, 5, edge__max_steps=steps))
    newton = solve(problem)
    monkeypatch.setattr(exact, "SPREAD", 1e-3)
    narrow = solve(problem)
    for module in (scan, exact):
        monkeypatch.setattr(module, "is_convex", lambda problem: False)
    monkeypatch.setattr(exact, "KEPT", 10**9)
    table = solve(problem)
    for allocation in (newton, narrow):
        assert allocation.objective == pytest.approx(table.objective, rel=1e-12)
        assert (allocation.status, allocation.edge_price) == ("optimal", table.edge_price)
        assert certify(problem, allocation) <= 1e-9 * abs(table.objective)
