"""Comparison, sweeps and the Pareto front: against the methods, by hand, by enumeration."""

import numpy as np
import pytest

from solver import METHODS, InputError, Problem, solve, studies
from testbed import tables
from testbed.commands import solve as study
from tests.solver.problems import SMALL, example, rows_by_name


def test_compare_is_every_method():
    """One row a method, with the numbers of its allocation; the gap to the optimum; random as mean
    and deviation.
    """
    problem = Problem.from_dict(example(**SMALL))
    rows = rows_by_name(problem, seeds=4, first_seed=7)
    assert list(rows) == [
        *(name for name in METHODS if name != "random"),
        "random, mean",
        "random, deviation",
    ]
    best = solve(problem).objective
    for name in METHODS:
        if name != "random":
            allocation = solve(problem, name)
            assert [getattr(rows[name], key) for key in ("objective", *studies.TOTALS)] == [
                getattr(allocation, key) for key in ("objective", *studies.TOTALS)
            ]
            assert (
                rows[name].gap
                == pytest.approx((allocation.objective - best) / abs(best), abs=1e-12)
                and rows[name].gap >= 0
            )
    drawn = [solve(problem, "random", seed=seed) for seed in (7, 8, 9, 10)]
    for label, function in (("mean", np.mean), ("deviation", np.std)):
        for key in ("objective", *studies.TOTALS):
            assert getattr(rows[f"random, {label}"], key) == pytest.approx(
                function([getattr(allocation, key) for allocation in drawn])
            )
    assert (
        rows["exact"].gap,
        rows["random, mean"].runs,
        rows["random, mean"].seconds > 0,
    ) == (0.0, 4, True)


def test_compare_goes_on_where_a_method_cannot(monkeypatch):
    """A dash and the reason; random stops when its time is up."""
    monkeypatch.setattr("solver.studies.comparison.MILP_OPTIONS", 249)
    problem = Problem.from_dict(example(**SMALL, local__max_steps=[20, 20, 20, 20, 0]))
    rows = rows_by_name(problem, time_limit=0.0)
    assert (
        rows["all_local"].objective is None
        and "1 of 5 users can only be served on the edge" in rows["all_local"].note
    )
    assert (
        rows["milp"].objective is None
        and rows["milp"].note == "not tried on 250 options; at most 249"
    )
    assert rows["random, mean"].runs == 1 and rows["greedy"].objective is not None


def test_highs_stops_at_the_time_limit(monkeypatch):
    """Its choice so far is feasible, its bound HiGHS's own; nothing found in time is one line."""
    from scipy import optimize

    problem, asked, real = Problem.from_dict(example(**SMALL)), [], optimize.milp

    def stopped(*arguments, options, **more):
        asked.append(options["time_limit"])
        result = real(*arguments, options=options, **more)
        result.status, result.mip_dual_bound = 1, result.mip_dual_bound - 1.0
        if len(asked) == 2:
            result.x = None
        return result

    monkeypatch.setattr(optimize, "milp", stopped)
    allocation = solve(problem, "milp", time_limit=3.0)
    assert (
        (allocation.status, asked) == ("feasible", [3.0])
        and allocation.lower_bound < allocation.objective
        and 0 < allocation.gap < 0.01
    )
    with pytest.raises(
        InputError, match="^problem: milp: found no choice within the time limit of 3 s$"
    ):
        solve(problem, "milp", time_limit=3.0)


def test_sweep_is_solving_at_each_value():
    problem = Problem.from_dict(example(**SMALL))
    key, values = study.steps_of("weights.error=0:0.5:0.25")
    assert values == [0, 0.25, 0.5]
    for value, row in zip(values, studies.sweep(problem, key, values, "greedy"), strict=True):
        allocation = solve(Problem.from_dict(example(**SMALL, weights__error=value)), "greedy")
        swept = ("objective", "edge_price", "users_on_edge", "edge_steps", *studies.TOTALS)
        assert list(row.to_dict()) == ["weights.error", *swept, "note"]
        assert (row.value, row.objective, row.edge_price) == (
            value,
            allocation.objective,
            allocation.edge_price,
        )
        assert (row.users_on_edge, row.edge_steps, row.note) == (
            sum(allocation.offload),
            allocation.edge_steps_used,
            "",
        )


def test_sweep_through_what_is_infeasible_and_what_is_absent():
    """A value that leaves no choice has dashes and a reason; an optional limit need not be in the
    file.
    """
    problem = Problem.from_dict(example(users=2, local__max_steps=[20, 0], edge__min_steps=3))
    rows = list(studies.sweep(problem, "edge_budget", [2, 3]))
    assert rows[0].objective is None and "edge_budget: 2 is too small" in rows[0].note
    assert (
        rows[1].objective
        == solve(Problem.from_dict(problem.to_dict() | {"edge_budget": 3})).objective
    )
    late, early = studies.sweep(problem, "deadline", [1.0, 0.01])
    assert early.objective > late.objective


@pytest.mark.parametrize(
    "key, line",
    [
        ("edge_bugdet", "problem: 'edge_bugdet' is unknown; perhaps you meant 'edge_budget'"),
        ("egde.step_time", "sweep: egde.step_time: 'egde' is unknown; perhaps you meant 'edge'"),
        (
            "local.max_steps",
            "sweep: local.max_steps: is not one number in problem; allowed: the dotted name of "
            "a number",
        ),
        ("edge.error", "sweep: edge.error: is not one number"),
        ("users.n", "sweep: users.n: is not one number"),
        ("users", "problem: users: found 0.5; allowed: an integer >= 1"),
    ],
)
def test_sweep_refuses(key, line):
    problem = Problem.from_dict(example(users=2, local__max_steps=[20, 10]))
    with pytest.raises(InputError) as error:
        list(studies.sweep(problem, key, [0.5]))
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    "text, values",
    [
        ("a.b=100:500:200", [100, 300, 500]),
        ("x=0:1:0.1", [k / 10 for k in range(11)]),
        ("x=1:2:0.4", [1, 1.4, 1.8]),
        ("x=3:1:-1", [3, 2, 1]),
    ],
)
def test_steps_of(text, values):
    """STOP is there where a step meets it, however binary fractions round."""
    assert study.steps_of(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "x=1:2",
        "=1:2:1",
        "x=1:2:0",
        "x=2:1:1",
        "x=1:2:nan",
        "x=0:inf:1",
        "x=0:1:1e-9",
        "x=a:b:c",
    ],
)
def test_steps_of_refuses(text):
    with pytest.raises(InputError, match="^--sweep: found .* allowed: KEY=START:STOP:STEP"):
        study.steps_of(text)


def test_tables(tmp_path):
    """Numbers to the right, words to the left, a dash for nothing; the CSV has the numbers as they
    are.
    """
    rows = [
        {"name": "a", "time": 1 / 3, "edge_price": None},
        {"name": "x" * 60, "time": 20, "edge_price": 1e-9},
    ]
    lines = tables.text(rows).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3 and max(map(len, lines)) < 80
    assert lines[0].split() == ["name", "time,", "s", "edge", "price"] and lines[1].split() == [
        "a",
        "0.33333",
        "-",
    ]
    assert lines[2].split() == ["x" * 33 + "...", "20", "1e-09"]
    tables.write_csv(tmp_path / "t.csv", rows)
    assert (
        tmp_path / "t.csv"
    ).read_text() == f"name,time,edge_price\na,{1 / 3!r},\n{'x' * 60},20,1e-09\n"
