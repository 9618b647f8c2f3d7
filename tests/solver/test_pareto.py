"""The Pareto front over the weights: by enumeration."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import Problem, solve, studies
from tests.solver.problems import (
    SMALL,
    example,
    tabled,
)


def front_row(**values):
    """A row with these totals, in 12 digits."""
    own = {name: float(f"{value:.11e}") for name, value in values.items()}
    return studies.FrontRow(**dict.fromkeys(("w1", "w2", "c1", "c2", "c3", "gap"), 0.0), **own)


def totals(row):
    """The totals of a row, each the lower the better."""
    return [-row.utility if name == "utility" else getattr(row, name) for name in studies.TOTALS]


def beats(row, other):
    """Is ``row`` no worse than ``other`` in anything, and better in something?"""
    pairs = list(zip(totals(row), totals(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 4), min_size=1, max_size=25))
def test_pareto_keeps_what_nothing_beats(points):
    """Nothing that stays is beaten or there twice; all that goes is beaten by, or equal to,
    something that stays.
    """
    rows = [front_row(**dict(zip(studies.TOTALS, point))) for point in points]
    front = studies.pareto(rows)
    assert not any(beats(a, b) for a, b in itertools.permutations(front, 2))
    assert len(set(front)) == len(front)
    assert all(any(kept == row or beats(kept, row) for kept in front) for row in rows)


def test_front_is_pareto_optimal_among_all_choices():
    """By enumeration of three users' choices; the ends of the front are the least time and the
    least error there are.
    """
    rng = np.random.default_rng(3)
    local, edge = (np.sort(rng.random((3, most)))[:, ::-1].tolist() for most in (3, 4))
    problem = Problem.from_dict(tabled(local, edge, 6, edge__power=3.0, local__power=1.0))
    every = []
    options = [[(0, s) for s in range(1, 4)] + [(1, s) for s in range(1, 5)]] * 3
    for choice in itertools.product(*options):
        if sum(a * s for a, s in choice) <= 6:
            place = [("local", "edge")[a] for a, _ in choice]
            at = {
                name: [
                    getattr(problem, name)(p)[n, s - 1]
                    for n, (p, (_, s)) in enumerate(zip(place, choice))
                ]
                for name in studies.TOTALS
            }
            whole = {
                name: (np.sum if name in ("time", "energy") else np.mean)(at[name])
                for name in studies.TOTALS
            }
            every.append(front_row(**whole))
    front = studies.pareto(list(studies.optima(problem, studies.weightings(problem, parts=4))))
    assert len(front) >= 5
    for row in front:
        rounded = front_row(**{name: getattr(row, name) for name in studies.TOTALS})
        assert rounded in every and not any(beats(other, rounded) for other in every)
    for name in ("time", "error"):
        assert min(getattr(row, name) for row in front) == pytest.approx(
            min(getattr(row, name) for row in every)
        )


def test_weightings_are_shares_of_what_the_optimum_spends():
    problem = Problem.from_dict(example(**SMALL))
    allocation, tried = solve(problem), list(studies.weightings(problem, parts=4))
    assert len(tried) == 15 * 5
    for w1, w2, c1, c2, c3 in tried:
        assert w1 + w2 == pytest.approx(1) and min(w1, w2, c1, c2, c3) > 0
        assert (
            c1 * allocation.time / 5 + c2 * allocation.error + c3 * allocation.energy / 5
            == pytest.approx(1, abs=0.003)
        )
    free = Problem.from_dict(example(**SMALL, local__power=0.0, edge__power=0.0))
    assert all(np.isfinite(row).all() for row in studies.weightings(free, parts=2))


def test_a_utility_that_was_left_out_of_some_users_decides_nothing_on_the_front():
    rng = np.random.default_rng(3)
    local, edge = (np.sort(rng.random((3, most)))[:, ::-1].tolist() for most in (3, 4))
    values = tabled(local, edge, 6, edge__power=3.0, local__power=1.0)
    whole = Problem.from_dict(values)
    some = replace(whole, weights={**whole.weights, "utility": np.array([0.5, 0.0, 0.5])})
    (row,) = studies.optima(some, [(0.5, 0.5, 0.2, 0.2, 0.2)])
    shares = {"cost": 0.5, "time": 0.2, "error": 0.2, "energy": 0.2}
    same = {name: np.asarray(share) for name, share in shares.items()}
    same["utility"] = some.weights["utility"]
    assert row.error == pytest.approx(solve(replace(some, weights=same)).error)
