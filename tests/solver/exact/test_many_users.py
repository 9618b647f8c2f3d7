"""Many users: all different, or of a few kinds."""

import time

import numpy as np
import pytest

import solver.exact.exact as exact
from benchmarks.solver.oracles import plain_dp
from solver import InputError, Problem, certify, limits, solve
from solver.choices.bracket import sample_of, sampled_prices
from solver.exact.duplicates import DistinctUsers
from solver.knapsack import Axis
from tests.solver.problems import crowd, edited, example, tabled


def test_many_users_all_different():
    """Where a sample brackets the price: the choice and its proof are those of one pass over
    everything.
    """
    problem = Problem.from_dict(crowd(100_000))
    kinds = DistinctUsers.of(problem)
    axis = Axis.of(problem)
    low, high = sampled_prices(kinds.problem, axis, kinds.count)
    allocation, whole = solve(problem), exact._solve(problem, axis, kinds, 0.0, np.inf)
    assert 0 < low < allocation.edge_price < high < 2 * low
    assert (allocation.offload, allocation.steps, allocation.objective) == (
        whole.offload,
        whole.steps,
        whole.objective,
    )
    assert allocation.status == "optimal" and certify(problem, allocation) <= 1e-9 * abs(
        allocation.objective
    )


def test_a_sample_that_misleads():
    """Every user that is looked at first gains ten thousand times what the others do: the answer is
    none the worse for it.
    """
    users = 100_000
    weight = np.ones(users)
    weight[sample_of(np.ones(users, dtype=int))] = 1e4
    data = crowd(users, weights__cost=weight, weights__utility=weight)
    problem = Problem.from_dict(data)
    axis, kinds = Axis.of(problem), DistinctUsers.of(problem)
    prices = sampled_prices(problem, axis, kinds.count)
    assert exact._solve(problem, axis, kinds, *prices) is None
    allocation = solve(problem)
    assert allocation.status == "optimal" and certify(problem, allocation) <= 1e-9 * abs(
        allocation.objective
    )


@pytest.mark.parametrize("users", [60, 20_000])
def test_many_users_of_a_few_kinds(users):
    """Alike in all, or in all but what an image costs anyway: no even share, and still proven."""
    rng = np.random.default_rng(2)
    kind, jagged = rng.integers(0, 3, users), 10 - np.array([0, 3, 2, 7, 6, 7.5, 8, 8.4])
    data = tabled(
        [[10.0]] * users, (jagged + np.array([[0.0], [0.5], [1.0]]))[kind].tolist(), 3 * users + 1
    )
    alike = solve(Problem.from_dict(data))
    assert alike.status == "optimal"
    if users == 60:
        assert alike.objective == pytest.approx(
            plain_dp(np.column_stack([np.full(60, 10.0), (jagged + 0.5 * kind[:, None])]), 181),
            rel=1e-12,
        )
    data["edge"]["error"]["values"] = [
        data["edge"]["error"]["values"][n] for n in rng.permutation(users)
    ]
    assert solve(Problem.from_dict(data)).objective == pytest.approx(alike.objective, rel=1e-12)
    edited(data, weights__time=1.0, local__step_time=0.0, edge__step_time=0.0)
    data["local"]["overhead"] = data["edge"]["overhead"] = rng.integers(0, 1000, users) / 8
    apart = Problem.from_dict(data)
    assert DistinctUsers.of(apart).count.max() <= 5 + users / 500
    different = solve(apart)
    assert different.status == "optimal"
    assert different.objective - apart.edge.overhead.sum() == pytest.approx(
        alike.objective, rel=1e-9
    )


def test_a_cost_that_cannot_be_summed_up_has_its_user():
    """Also where users are looked at in pieces, and of each kind one."""
    power = np.ones(20_000)
    power[[7000, 19_000]] = 1e300
    with pytest.raises(
        InputError,
        match="^problem: edge: user 7000: the cost of 1 steps is too large to be summed up$",
    ):
        solve(Problem.from_dict(example(users=20_000, edge__power=power, edge__step_time=1e3)))


def test_kinds_are_the_different_users():
    """Any column tells users apart; labels do not; the order lists everyone once, kind by kind."""
    base = {
        "users": 6,
        "edge__power": [1.0, 2.0, 1.0, 2.0, 1.0, 1.0],
        "labels": {"name": list("abcdef")},
    }
    kinds = DistinctUsers.of(Problem.from_dict(example(**base)))
    assert sorted(kinds.count) == [2, 4] and sorted(kinds.order) == list(range(6))
    assert kinds.repeated(kinds.problem.edge.power).tolist() == base["edge__power"]
    for name, value in [
        ("weights__time", [1, 1, 2, 1, 1, 1]),
        ("max_error", [0.9, 0.9, 0.8, 0.9, 0.9, 0.9]),
        (
            "edge__error",
            {"family": "table", "values": [[0.5] * 50] * 2 + [[0.25] * 50] + [[0.5] * 50] * 3},
        ),
    ]:
        assert sorted(
            DistinctUsers.of(Problem.from_dict(example(**base, **{name: value}))).count
        ) == [
            1,
            2,
            3,
        ]


def test_a_part_of_many_users_counts_no_rows():
    """Each chunk counted all users: solving 10^7 of them took quadratic time."""
    problem = Problem.from_dict(example(users=5_000_000, local__max_steps=5, edge__max_steps=5))
    start = time.process_time()
    sizes = {problem.part(slice(at, at + 7)).users for at in range(0, 3500, 7)}
    assert sizes == {7} and time.process_time() - start < 1.0
    assert problem.part(slice(4_999_999, None)).users == 1
    small = Problem.from_dict(example(users=5))
    assert [small.part(rows).users for rows in ([1, 3], np.array([2]), np.arange(5) > 1)] == [
        2,
        1,
        3,
    ]


def test_an_edge_that_helps_nobody(recwarn):
    """The sample of users whose choice is open is empty: no warning, and no second pass."""
    data = crowd(70_000, edge__overhead=1e3)
    allocation = solve(Problem.from_dict(data))
    assert (sum(allocation.offload), allocation.edge_price) == (0, 0.0)
    assert allocation.status == "optimal" and not recwarn.list


def test_many_users_are_a_matter_of_memory(monkeypatch):
    """10^7 users were refused by a limit on users x steps, not by need."""
    assert Problem.from_dict(example(users=10**7)).users == 10**7
    problem = Problem.from_dict(example(users=600_000, edge_budget=4 * 10**6))
    allocation = solve(problem)
    assert allocation.status == "optimal" and allocation.edge_steps_used == 4 * 10**6
    monkeypatch.setattr(limits, "available_bytes", lambda: 5 * 10**8)
    line = "^problem: users x max_steps: found a table of 0.682 GB; allowed: at most 0.5 GB, the "
    with pytest.raises(InputError, match=line):
        solve(problem, "uniform")
