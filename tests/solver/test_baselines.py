"""Baselines on several edges, tiers, splits, slots and makespans."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.several_limits import several
from solver import InputError, Problem, certify, solve, studies
from tests.solver.places import enumerated, options_of, random_places

NAMES = ("all_local", "edge_first", "greedy", "random", "uniform")
TABLE = {"family": "table", "values": [0.0] * 3}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_every_answer_keeps_all_limits(seed, edges):
    """None is below the optimum (evaluate refuses what breaks a limit), greedy and uniform are not
    above all local; refused only where someone cannot do without an edge.
    """
    data = random_places(seed, users=3, edges=edges)
    problem, best = Problem.from_dict(data), enumerated(data)
    alone = all(any(option[1] is None for option in options_of(data, user)) for user in range(3))
    objectives = {}
    for name in NAMES:
        try:
            allocation = solve(problem, name)
        except InputError as error:
            assert not alone and "\n" not in str(error)
            continue
        assert best is not None and allocation.objective >= best - 1e-9
        assert certify(problem, allocation) >= allocation.objective - best - 1e-9
        objectives[name] = allocation.objective
    if alone:
        assert max(objectives["greedy"], objectives["uniform"]) <= objectives["all_local"] + 1e-12


def place(most, errors):
    return {
        "max_steps": most,
        "step_time": 0.0,
        "overhead": 0.0,
        "power": 0.0,
        "utility": TABLE,
        "error": {"family": "table", "values": errors},
    }


def two_edges(near, far, users=3):
    """Costs 10 alone; 6, 5 and 4 with 1 to 3 steps near, and 8, 3 and 2 far."""
    return Problem.from_dict(
        {
            "schema": "problem/2",
            "users": users,
            "weights": {"cost": 1, "utility": 0, "time": 0, "error": 1, "energy": 0},
            "local": place(1, [10.0]),
            "edges": {"near": place(3, [6.0, 5.0, 4.0]) | near, "far": place(3, [8.0, 3, 2]) | far},
        }
    )


def test_by_hand():
    """Who comes first takes the best that fits; greedy what saves most for its share of a limit."""
    problem = two_edges({"budget": 3}, {"budget": 3})
    first = solve(problem, "edge_first")  # user 0 far with 3, user 1 near with 3, user 2 finds none
    assert (first.offload, first.steps, first.objective) == ([2, 1, 0], [3, 3, 1], 16.0)
    # one step near saves 4, for all; user 0 then goes far, and what it leaves is user 1's
    greedy = solve(problem, "greedy")
    assert (greedy.offload, greedy.steps, greedy.objective) == ([2, 1, 1], [3, 2, 1], 13.0)
    # one step: all near, 18; two: 3 far, 5 near and 10; three: 2 far, 4 near and 10
    uniform = solve(problem, "uniform")
    assert (uniform.offload, uniform.steps, uniform.objective) == ([2, 1, 0], [3, 3, 1], 16.0)
    drawn = [solve(problem, "random", seed=seed).offload for seed in range(40)]
    assert {place for offload in drawn for place in offload} == {0, 1, 2}


def test_slots_and_the_longest_of_a_batch_by_hand():
    problem = two_edges({"budget": 9, "slots": 1}, {"budget": 9, "slots": 0})
    for name in ("edge_first", "greedy"):
        assert sorted(solve(problem, name).offload) == [0, 0, 1]
    batch = {"per_step": 1.0, "per_longest_step": 2.0, "limit": 6.0}  # 2 + 2 x 2, or 3 x 1 + 2
    problem = two_edges({"budget": 9, "slots": 0}, {"budget": 9, "makespan": batch})
    first = solve(problem, "edge_first")
    assert (first.offload, first.steps) == ([2, 0, 0], [2, 1, 1])
    assert first.used["far.makespan"] == 6.0
    uniform = solve(problem, "uniform")
    assert uniform.objective == 23.0 and solve(problem, "greedy").objective == 23.0


def test_who_can_only_be_offloaded_finds_room_first():
    """And where none is found, one line says for whom."""
    data = two_edges({"budget": 3}, {"budget": 3}).to_dict()
    data["local"]["max_steps"] = [1, 1, 0]
    data["edges"]["near"]["max_steps"] = [3, 3, 0]
    data["edges"]["far"]["min_steps"] = 3
    problem = Problem.from_dict(data)
    for name in ("edge_first", "greedy", "random", "uniform"):
        allocation = solve(problem, name)
        assert (allocation.offload[2], allocation.steps[2]) == (2, 3)
    # three users of 2 steps each, and two places of 3
    data = two_edges({"budget": 3, "min_steps": 2}, {"budget": 3, "min_steps": 2}).to_dict()
    data["local"]["max_steps"] = 0
    for name in ("edge_first", "greedy", "random", "uniform"):
        with pytest.raises(InputError, match=f"^problem: {name}: found no room for user [0-2]"):
            solve(Problem.from_dict(data), name)
    with pytest.raises(InputError, match="no choice keeps near 3 and far 3 together"):
        solve(Problem.from_dict(data))


def test_baselines_of_many_users_stay_above_the_optimum():
    problem = several(80, 10, 2, 2, slots=True)
    best = solve(problem)
    for name in NAMES:
        allocation = solve(problem, name)
        assert best.lower_bound <= allocation.objective
    assert solve(problem, "greedy").objective <= 0.99 * solve(problem, "all_local").objective


def test_what_a_first_step_is_worth():
    """Of a budget of 0 the price is what the best use of a step saves, not any number above."""
    prices = solve(two_edges({"budget": 0}, {"budget": 0})).prices
    assert prices == {"near": 4.0, "far": 3.5}


def test_a_sweep_over_one_of_several_edges():
    """A price for each limit, by its name; None where nothing is feasible."""
    rows = list(studies.sweep(two_edges({"budget": 3}, {"budget": 3}), "edges.near.budget", [0, 3]))
    assert [list(row.prices) for row in rows] == [["near", "far"]] * 2
    assert "price of near" in rows[0].to_dict() and "edge_price" not in rows[0].to_dict()
    assert rows[0].prices["near"] == 4.0 and rows[0].objective > rows[1].objective
    data = two_edges({"budget": 3}, {"budget": 3}).to_dict()
    data["local"]["max_steps"] = 0
    data["edges"]["far"]["max_steps"] = 0
    rows = list(
        studies.sweep(Problem.from_dict(data), "edges.near.budget", [2, 3], "greedy", "exact")
    )
    assert rows[0].prices == {"near": None, "far": None}
    assert all("near: 2 is too small" in row.note for row in rows[:2])
    assert [row.objective for row in rows[2:]] == [18.0, 18.0]


def test_compare_on_several_edges():
    rows = {
        row.solver: row for row in studies.compare(two_edges({"budget": 3}, {"budget": 3}), seeds=3)
    }
    assert [name for name, row in rows.items() if row.objective is None] == ["paper", "paper_grown"]
    assert rows["exact"].gap == rows["milp"].gap == 0 and rows["random, mean"].runs == 3
