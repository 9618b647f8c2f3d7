"""Edges that are alike: one place with the sum of their budgets, then packing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.several_limits import several
from solver import InputError, Problem, certify, solve
from solver.problem import servers
from solver.problem.servers import Servers
from tests.solver.places import enumerated, random_places

ABSENT = ("slots", "makespan", "split")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 3), st.booleans(), st.booleans())
def test_exact_is_the_least_of_all_choices(seed, count, whole, tier):
    """Whether the users can be packed or not; with a tier on one of them that is not alike."""
    data = random_places(
        seed, users=3, edges=1, whole=whole, tier=tier, **dict.fromkeys(ABSENT, False)
    )
    rng = np.random.default_rng(seed)
    for index in range(count):
        data["edges"][f"server{index}"] = data["edges"]["edge"] | {"budget": int(rng.integers(6))}
    problem, best = Problem.from_dict(data), enumerated(data)
    assert [len(names) for names in Servers.of(problem).groups.values()] == [count + (not tier)]
    if best is None:
        with pytest.raises(InputError):
            solve(problem)
        return
    allocation = solve(problem)
    assert allocation.objective == pytest.approx(best, rel=1e-9, abs=1e-11)
    assert allocation.status == "optimal" or best == 0
    assert certify(problem, allocation) <= 1e-8 * max(1, abs(best))


def test_five_servers_are_proven():
    """What five prices leave open, one closes; edges that differ in anything are not merged."""
    problem = several(200, 20, 5, 1, alike=True)
    allocation = solve(problem)
    assert allocation.status == "optimal" and len(set(allocation.offload)) == 6
    assert certify(problem, allocation) <= 1e-9 * abs(allocation.objective)
    assert len(set(allocation.prices.values())) == 1
    for field, value in (("slots", 3), ("step_weight", 2), ("power", 9.0), ("transfer_time", 0.1)):
        data = several(8, 5, 2, alike=True).to_dict()
        data["edges"]["edge1"][field] = value
        assert Servers.of(Problem.from_dict(data)) is None
    assert Servers.of(several(8, 5, 2)) is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=7), st.integers(0, 40))
def test_a_server_is_filled_as_far_as_it_goes(sizes, room):
    array = np.array(sizes, dtype=np.int64)
    taken = servers._filled(array, room, np.unique(array))
    sums = (
        sum(part) for size in range(len(sizes) + 1) for part in itertools.combinations(sizes, size)
    )
    assert len(set(taken.tolist())) == len(taken)
    assert sum(sizes[at] for at in taken) == max(total for total in sums if total <= room)


def test_many_users_are_packed_in_shares(monkeypatch):
    monkeypatch.setattr(servers, "MOST_BITS", 100)
    sizes = np.random.default_rng(0).integers(1, 30, 2000)
    for room in (0, 7, 5000, 29_000, 10**12):
        taken = servers._filled(sizes, room, np.unique(sizes))
        assert sizes[taken].sum() == min(room, sizes.sum())
