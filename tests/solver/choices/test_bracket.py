"""Narrower brackets share what is settled: each says what all users choose at its two prices."""

import numpy as np
import pytest

from solver.choices.bracket import Bracket
from solver.choices.scan import choices
from solver.knapsack import Axis
from solver.problem import Problem
from tests.solver.problems import crowd

USERS = 400


def tables(data):
    """The same curves, given as tables."""
    at = np.arange(1, 51)
    for place in ("local", "edge"):
        decay = data[place]["error"]["decay"][:, None]
        values = np.exp(-decay * at[: data[place]["max_steps"]])
        data[place]["error"] = {"family": "table", "values": values}
    return data


def assert_holds(bracket, problem, axis):
    """The choices at both prices are those of everyone who is asked anew."""
    own = choices(problem, axis, [bracket.high, bracket.low])
    few, many = bracket.weight.copy(), bracket.weight.copy()
    few[bracket.rows], many[bracket.rows] = bracket.ends.weight
    np.testing.assert_array_equal([few, many], own.weight)
    np.testing.assert_array_equal(bracket.rows, np.flatnonzero(few < many))
    np.testing.assert_array_equal(bracket.ends.edge, own.edge[:, bracket.rows])
    cost = bracket.cost.copy()
    cost[bracket.rows] = bracket.ends.cost[0]
    np.testing.assert_allclose(cost, own.cost[0], rtol=1e-13)
    assert bracket.more_steps(np.ones(USERS, dtype=int)) == (many - few).sum()


@pytest.mark.parametrize("curves", [dict, tables])
@pytest.mark.parametrize("seed", range(4))
def test_each_bracket_of_a_chain_holds(curves, seed):
    """Also the first one again, after narrower ones were made of it: inside it, and beyond it."""
    problem = Problem.from_dict(curves(crowd(USERS, seed)))
    axis, count = Axis.of(problem), np.ones(USERS, dtype=int)
    wide = Bracket.of(0.0, np.inf, choices(problem, axis, [np.inf, 0.0]))
    assert_holds(wide, problem, axis)
    first = wide.narrowed(problem, axis, axis.budget, count, 0.5)
    assert_holds(first, problem, axis)
    narrow = first.narrowed(problem, axis, axis.budget, count, 0.01)
    assert 0 < len(narrow.rows) < len(first.rows) < len(wide.rows)
    assert first.low <= narrow.low < narrow.high <= first.high
    for bracket in (narrow, wide):
        assert_holds(bracket, problem, axis)
    middle, width = (first.low + first.high) / 2, first.high - first.low
    for room in (width / 8, width):
        around = first.around(problem, axis, middle, room)
        assert around.holds(middle, room * (1 - 1e-9))
        assert_holds(around, problem, axis)


def test_all_take_what_they_like_where_there_is_enough():
    """None is open then."""
    problem = Problem.from_dict(crowd(USERS, edge_budget=50 * USERS))
    axis, count = Axis.of(problem), np.ones(USERS, dtype=int)
    wide = Bracket.of(0.0, np.inf, choices(problem, axis, [np.inf, 0.0]))
    narrow = wide.narrowed(problem, axis, axis.budget, count, 0.01)
    own = choices(problem, axis, [0.0])
    assert not len(narrow.rows) and own.weight.any()
    np.testing.assert_array_equal(narrow.weight, own.weight[0])
