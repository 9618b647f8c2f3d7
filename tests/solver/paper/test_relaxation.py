"""Costs for real steps: derivatives, tables as convex curves, and starts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.oracles import FLOOR_AND_POWER, P2_CASES, varied
from solver import Problem
from solver.paper.curves import FORMS, ConvexTable
from solver.paper.p2 import on_line
from solver.paper.relaxation import Relaxation
from solver.problem import ERROR_FAMILIES, PLACES, UTILITY_FAMILIES
from tests.solver.problems import example

TABLES = {
    "local__error": {
        "family": "table",
        "values": [[0.9**s for s in range(1, 21)], [0.8**s for s in range(1, 21)]],
    },
    "edge__utility": {"family": "table", "values": [1.2 - 0.9**s for s in range(1, 51)]},
}


@pytest.mark.parametrize(
    "changes, off",
    [
        ({"edge__overhead": 0.3}, 1e-12),
        ({f"{place}__error": curve for place, curve in FLOOR_AND_POWER.items()}, 1e-12),
        (TABLES, 0.005),
    ],
    ids=["exponential", "floor, power", "tables"],
)
def test_costs_for_real_steps(changes, off):
    """At whole steps those of the problem, or near a table's; slope and curvature are the
    differences of value and slope.
    """
    problem = Problem.from_dict(example(users=2, **changes))
    relaxation = Relaxation.of(problem)
    for place, curve in zip(PLACES, relaxation.costs):
        values = [
            relaxation.unit * curve(np.full(2, float(step)))[0] - relaxation.shift
            for step in problem.steps(place)
        ]
        np.testing.assert_allclose(np.array(values).T, problem.cost(place), rtol=0, atol=off)
        s, d = np.array([[1.3, 2.6], [2.2, 1.7]]), 1e-6
        low, here, high = curve(s - d), curve(s), curve(s + d)
        for order in (0, 1):
            np.testing.assert_allclose(
                (high[order] - low[order]) / (2 * d), here[order + 1], rtol=1e-5, atol=1e-8
            )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=3))
def test_a_table_becomes_convex(rows):
    """Convex, continuous in value and slope, >= 0, nowhere far above the table, and the table
    itself if that is a straight line.
    """
    width = max(map(len, rows))
    curve = ConvexTable(
        np.array([row + [np.nan] * (width - len(row)) for row in rows], dtype=float).reshape(
            len(rows), width
        )
    )
    s = np.linspace(1, width + 2, 16 * width + 17)
    value, slope, bend = (
        np.stack(parts) for parts in zip(*(curve(np.full(len(rows), x)) for x in s))
    )
    assert (bend >= -1e-12).all() and (value >= -1e-12).all()
    np.testing.assert_allclose(
        np.diff(value, axis=0), (slope[1:] + slope[:-1]) / 2 * (s[1] - s[0]), atol=1e-9
    )
    for user, row in enumerate(rows):
        at = np.interp(np.arange(1, len(row) + 1), s, value[:, user])
        assert (
            at <= np.array(row) + np.abs(np.diff(row, prepend=row[:1])).max(initial=0) / 4 + 1e-9
        ).all()
    line = ConvexTable(np.array([5.0, 4.0, 3.0, 2.0]))
    np.testing.assert_allclose(
        [line(np.array([x]))[0][0] for x in (1.0, 1.7, 3.2)], [5.0, 4.3, 2.8]
    )


def test_every_family_has_its_derivatives():
    assert set(FORMS) == set(ERROR_FAMILIES) | set(UTILITY_FAMILIES)


def test_limits_of_a_start_keep_2():
    relaxation = Relaxation.of(varied(0, **P2_CASES["lower limits"]))
    for start in (0.0, 0.5, 1.0, "random"):
        a, s = relaxation.start(start, 1)
        assert (on_line(relaxation.least, a) <= s).all() and (
            s <= on_line(relaxation.most, a)
        ).all()
