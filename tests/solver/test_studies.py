"""Comparison, sweeps, the Pareto front and solvers of others: against the methods themselves, by
hand, and by enumeration.
"""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import METHODS, InputError, Problem, solve, studies
from testbed import tables
from testbed.commands import solve as study
from tests.solver.test_problem import example
from tests.solver.test_solver import tabled

SMALL = {"users": 5, "edge_budget": 60}


def rows_by_name(problem, **settings):
    return {row["solver"]: row for row in studies.compare(problem, **settings)}


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
            found = solve(problem, name)
            assert [rows[name][key] for key in ("objective", *studies.TOTALS)] == [
                getattr(found, key) for key in ("objective", *studies.TOTALS)
            ]
            assert (
                rows[name]["gap"] == pytest.approx((found.objective - best) / abs(best), abs=1e-12)
                and rows[name]["gap"] >= 0
            )
    drawn = [solve(problem, "random", seed=seed) for seed in (7, 8, 9, 10)]
    for label, function in (("mean", np.mean), ("deviation", np.std)):
        for key in ("objective", *studies.TOTALS):
            assert rows[f"random, {label}"][key] == pytest.approx(
                function([getattr(found, key) for found in drawn])
            )
    assert (
        rows["exact"]["gap"],
        rows["random, mean"]["runs"],
        rows["random, mean"]["seconds"] > 0,
    ) == (0.0, 4, True)


def test_compare_goes_on_where_a_method_cannot(monkeypatch):
    """A dash and the reason; random stops when its time is up."""
    monkeypatch.setattr(studies, "MILP_OPTIONS", 249)
    problem = Problem.from_dict(example(**SMALL, local__max_steps=[20, 20, 20, 20, 0]))
    rows = rows_by_name(problem, time_limit=0.0)
    assert (
        rows["all_local"]["objective"] is None
        and "1 of 5 users can only be served on the edge" in rows["all_local"]["note"]
    )
    assert (
        rows["milp"]["objective"] is None
        and rows["milp"]["note"] == "not tried on 250 options; at most 249"
    )
    assert rows["random, mean"]["runs"] == 1 and rows["greedy"]["objective"] is not None


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
    found = solve(problem, "milp", time_limit=3.0)
    assert (
        (found.status, asked) == ("feasible", [3.0])
        and found.lower_bound < found.objective
        and 0 < found.gap < 0.01
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
        found = solve(Problem.from_dict(example(**SMALL, weights__error=value)), "greedy")
        assert list(row) == ["weights.error", *studies.SWEPT, "note"]
        assert (row["weights.error"], row["objective"], row["edge_price"]) == (
            value,
            found.objective,
            found.edge_price,
        )
        assert (row["users_on_edge"], row["edge_steps"], row["note"]) == (
            sum(found.offload),
            found.edge_steps_used,
            "",
        )


def test_sweep_through_what_is_infeasible_and_what_is_absent():
    """A value that leaves no choice has dashes and a reason; an optional limit need not be in the
    file.
    """
    problem = Problem.from_dict(example(users=2, local__max_steps=[20, 0], edge__min_steps=3))
    rows = list(studies.sweep(problem, "edge_budget", [2, 3]))
    assert rows[0]["objective"] is None and "edge_budget: 2 is too small" in rows[0]["note"]
    assert (
        rows[1]["objective"]
        == solve(Problem.from_dict(problem.to_dict() | {"edge_budget": 3})).objective
    )
    late, early = studies.sweep(problem, "deadline", [1.0, 0.01])
    assert early["objective"] > late["objective"]


@pytest.mark.parametrize(
    "key, line",
    [
        ("edge_bugdet", "problem: 'edge_bugdet' is unknown; perhaps you meant 'edge_budget'"),
        ("egde.step_time", "sweep: egde.step_time: 'egde' is unknown; perhaps you meant 'edge'"),
        (
            "local.max_steps",
            "sweep: local.max_steps: is not one number in problem; allowed: the dotted name of a number",
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


def beats(one, other):
    """Is ``one`` no worse than ``other`` in anything, and better in something?"""
    pairs = [
        (one[name], other[name]) if name != "utility" else (-one[name], -other[name])
        for name in studies.TOTALS
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 4), min_size=1, max_size=25))
def test_pareto_keeps_what_nothing_beats(points):
    """Nothing that stays is beaten or there twice; all that goes is beaten by, or equal to,
    something that stays.
    """
    rows = [dict(zip(studies.TOTALS, point)) for point in points]
    front = studies.pareto(rows)
    assert not any(beats(a, b) for a, b in itertools.permutations(front, 2)) and len(
        {tuple(row.values()) for row in front}
    ) == len(front)
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
            every.append(
                {
                    name: float(
                        f"{(np.sum if name in ('time', 'energy') else np.mean)(at[name]):.11e}"
                    )
                    for name in studies.TOTALS
                }
            )
    front = studies.pareto(list(studies.optima(problem, studies.weightings(problem, parts=4))))
    assert len(front) >= 5
    for row in front:
        rounded = {name: float(f"{row[name]:.11e}") for name in studies.TOTALS}
        assert rounded in every and not any(beats(other, rounded) for other in every)
    for name in ("time", "error"):
        assert min(row[name] for row in front) == pytest.approx(min(row[name] for row in every))


def test_weightings_are_shares_of_what_the_optimum_spends():
    problem = Problem.from_dict(example(**SMALL))
    found, tried = solve(problem), list(studies.weightings(problem, parts=4))
    assert len(tried) == 15 * len(studies.COST_WEIGHTS)
    for w1, w2, c1, c2, c3 in tried:
        assert w1 + w2 == pytest.approx(1) and min(w1, w2, c1, c2, c3) > 0
        assert c1 * found.time / 5 + c2 * found.error + c3 * found.energy / 5 == pytest.approx(
            1, abs=0.003
        )
    free = Problem.from_dict(example(**SMALL, local__power=0.0, edge__power=0.0))
    assert all(np.isfinite(one).all() for one in studies.weightings(free, parts=2))


OTHERS = """
import numpy as np
from solver import solve

class Answer:
    def __init__(self, problem):
        found = solve(problem, "greedy")
        self.offload, self.steps = found.offload, found.steps

def arrays(problem, seed=0):
    return np.arange(problem.users) == seed, np.full(problem.users, 5)

def as_dict(problem):
    return vars(Answer(problem))

def short(problem):
    return [0], [5]

def greedy_eater(problem):
    return [1] * problem.users, [50] * problem.users

def beyond(problem):
    return [0] * problem.users, [21] * problem.users

def nothing(problem):
    pass

def broken(problem):
    rows = []
    return np.concatenate(rows)

def quits(problem):
    raise SystemExit(3)

number = 4
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A folder with someone's own module, which is the current one; and the problem's file."""
    (tmp_path / "someones_own.py").write_text(OTHERS)
    (tmp_path / "p.json").write_text(json.dumps(example(**SMALL)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # put back afterwards
    monkeypatch.delitem(__import__("sys").modules, "someones_own", raising=False)
    return tmp_path


def test_anyones_solver_is_priced_by_our_objective(others):
    problem = Problem.load("p.json")
    greedy = solve(problem, "greedy")
    for name in ("Answer", "as_dict"):
        found = solve(problem, f"someones_own:{name}")
        assert (found.solver, found.status, found.seconds > 0) == (
            f"someones_own:{name}",
            "feasible",
            True,
        )
        assert (found.steps, found.objective, found.edge_price) == (
            greedy.steps,
            greedy.objective,
            greedy.edge_price,
        )
    assert solve(problem, "someones_own:arrays", seed=2).offload == [0, 0, 1, 0, 0]
    assert (
        rows_by_name(problem, others=["someones_own:Answer"], seeds=1)["someones_own:Answer"]["gap"]
        == rows_by_name(problem, seeds=1)["greedy"]["gap"]
    )


@pytest.mark.parametrize(
    "name, line",
    [
        ("someones_own:short", "someones_own:short: offload: found a list of 1; allowed: "),
        (
            "someones_own:greedy_eater",
            "someones_own:greedy_eater: steps: found 250 steps on the edge; allowed: edge_budget of ",
        ),
        ("someones_own:beyond", "someones_own:beyond: steps[0]: found 21 at the local place; "),
        (
            "someones_own:nothing",
            "someones_own:nothing: returned NoneType; allowed: (offload, steps), or an object or a dict",
        ),
        ("someones_own:number", "someones_own:number: found int; allowed: a function of a Problem"),
        (
            "someones_own:shrot",
            "someones_own:shrot: AttributeError: module 'someones_own' has no attribute 'shrot'",
        ),
        (
            "no_such_module:f",
            "no_such_module:f: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("someones_own:", "solver: found 'someones_own:'; allowed: module:function"),
        ("someones_own:quits", "someones_own:quits: SystemExit: 3 ("),
        ("wrong_syntax:f", "wrong_syntax:f: SyntaxError: "),
    ],
)
def test_what_is_wrong_with_anyones_solver_is_one_line(others, name, line):
    (others / "wrong_syntax.py").write_text("def f(problem:\n")
    with pytest.raises(InputError) as error:
        solve(Problem.load("p.json"), name)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_an_exception_of_anyones_solver_names_the_line(others):
    line = 1 + OTHERS.splitlines().index("    return np.concatenate(rows)")
    with pytest.raises(InputError) as error:
        solve(Problem.load("p.json"), "someones_own:broken")
    assert (
        str(error.value)
        == f"someones_own:broken: ValueError: need at least one array to concatenate ({others / 'someones_own.py'}:{line})"
    )


def test_a_setting_that_a_method_does_not_have():
    with pytest.raises(InputError, match="^solver exact: 'seed' is unknown; its settings: none$"):
        solve(Problem.from_dict(example(**SMALL)), "exact", seed=1)
    with pytest.raises(InputError, match="^solver random: 'sede' is unknown; its settings: seed$"):
        solve(Problem.from_dict(example(**SMALL)), "random", sede=1)


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
