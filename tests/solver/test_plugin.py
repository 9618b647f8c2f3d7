"""Anyone's own solver: priced by our objective, and one line for what is wrong with it."""

import json

import pytest

from solver import InputError, Problem, solve
from tests.solver.problems import (
    SMALL,
    example,
    rows_by_name,
)

OTHERS = """
import numpy as np
from solver import solve

class Answer:
    def __init__(self, problem):
        greedy = solve(problem, "greedy")
        self.offload, self.steps = greedy.offload, greedy.steps

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
        allocation = solve(problem, f"someones_own:{name}")
        assert (allocation.solver, allocation.status, allocation.seconds > 0) == (
            f"someones_own:{name}",
            "feasible",
            True,
        )
        assert (allocation.steps, allocation.objective, allocation.edge_price) == (
            greedy.steps,
            greedy.objective,
            greedy.edge_price,
        )
    assert solve(problem, "someones_own:arrays", seed=2).offload == [0, 0, 1, 0, 0]
    assert (
        rows_by_name(problem, others=["someones_own:Answer"], seeds=1)["someones_own:Answer"].gap
        == rows_by_name(problem, seeds=1)["greedy"].gap
    )


@pytest.mark.parametrize(
    "name, line",
    [
        ("someones_own:short", "someones_own:short: offload: found a list of 1; allowed: "),
        (
            "someones_own:greedy_eater",
            "someones_own:greedy_eater: steps: found 250 steps on the edge; allowed: "
            "edge_budget of ",
        ),
        ("someones_own:beyond", "someones_own:beyond: steps[0]: found 21 at the local place; "),
        (
            "someones_own:nothing",
            "someones_own:nothing: returned NoneType; allowed: (offload, steps), or an object "
            "or a dict",
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
    where = others / "someones_own.py"
    assert str(error.value) == (
        f"someones_own:broken: ValueError: need at least one array to concatenate ({where}:{line})"
    )
