"""Makespans: what is claimed where the search of a relaxation gives up."""

import pytest

from solver import InputError, Problem, solve
from solver.exact import several
from solver.exact.batches import least_batches
from solver.exact.dynamic_program import Allowance
from solver.limits import TooLargeError
from tests.solver.places import enumerated, random_places


def drawn(seed):
    return random_places(seed, users=3, edges=2, makespan=True, slots=True, split=False)


def test_a_box_that_is_not_decided_keeps_its_bound(monkeypatch):
    """The greedy choice was once returned as the proven optimum where nothing else was found."""
    monkeypatch.setattr(several, "search", lambda *_: several.Found(None, 0.0, False))
    worse = 0
    for seed in range(60):
        data = drawn(seed)
        try:
            allocation = solve(Problem.from_dict(data))
        except InputError:
            continue
        best = enumerated(data)
        assert allocation.lower_bound <= best + 1e-9
        if allocation.objective > best + 1e-9:
            assert allocation.status == "feasible"
            worse += 1
    assert worse


def test_a_relaxation_that_exceeds_the_memory_is_no_infeasible_one():
    problem = Problem.from_dict(drawn(0))

    def linear(_):
        raise TooLargeError("problem: too large")

    start = solve(problem, "greedy")
    with pytest.raises(TooLargeError):
        least_batches(problem, linear, start, Allowance(10**6, 10**6))
