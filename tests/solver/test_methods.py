"""Methods by name: baselines by hand, and one line for what is infeasible or unknown."""

import subprocess
import sys

import numpy as np
import pytest

import solver
from solver import METHODS, InputError, Problem, solve
from tests.solver.problems import SMALL, example, tabled

INFEASIBLE = [
    (
        {"edge_budget": 100},
        "edge_budget: 100 is too small: the 12 users that only the edge can serve need at least "
        "120 steps",
    ),
    (
        {"local__max_steps": [20] * 29 + [0], "edge_budget": 9},
        "edge_budget: 9 is too small: the 1 user that only the edge can serve needs at least 10 "
        "steps",
    ),
    (
        {"edge__max_steps": 0},
        "max_steps: user 18 (and 11 more): no step count is allowed: min_steps..max_steps is "
        "local 1..0 and edge 10..0",
    ),
    (
        {"deadline": 0.001},
        "deadline: user 0 (and 29 more): no step count satisfies deadline 0.001 s: at least "
        "0.002 s is needed, 0.001 s more",
    ),
    (
        {"max_error": [1.0] * 29 + [0.001]},
        "max_error: user 29: no step count satisfies max_error 0.001: at least 0.00673795 is "
        "needed, 0.00574 more",
    ),
    (
        {"deadline": 0.02, "max_error": [1.0] * 29 + [0.1]},
        "max_error: user 29: no step count satisfies max_error 0.1 within deadline 0.02 s: "
        "the error there is at least 0.135335, 0.0353 more",
    ),
]


@pytest.mark.parametrize("changes, line", INFEASIBLE)
@pytest.mark.parametrize("method", METHODS)
def test_infeasible(changes, line, method):
    """Which limit, and by how much."""
    data = example(**{"local__max_steps": [20] * 18 + [0] * 12, "edge__min_steps": 10, **changes})
    with pytest.raises(InputError) as error:
        solve(Problem.from_dict(data, where="p"), method)
    assert str(error.value) == f"p: {line}"


def test_baselines_by_hand():
    """Three users, budget 4; user 2 only on the edge, where it needs 1 step. Costs by steps 1, 2,
    3.
    """
    problem = Problem.from_dict(tabled([[10], [10], []], [[9, 4, 3], [9, 1, 0], [7, 6, 6]], 4))
    assert solve(problem).objective == 17.0  # 10 + 1 + 6, 9 + 1 + 7 or 10 + 0 + 7
    first = solve(
        problem, "edge_first"
    )  # user 0 takes the 3 that the need of user 2 leaves, user 1 finds none
    assert (first.offload, first.steps, first.objective) == ([1, 0, 1], [3, 1, 1], 20.0)
    greedy = solve(
        problem, "greedy"
    )  # user 1 saves 9 with 2 steps; then user 2 saves 1 with one, user 0 too: the lower index
    assert (greedy.offload, greedy.steps, greedy.objective) == ([1, 1, 1], [1, 2, 1], 17.0)
    uniform = solve(problem, "uniform")  # 2 steps each for users 1 and 2
    assert (uniform.offload, uniform.steps, uniform.objective) == ([0, 1, 1], [1, 2, 2], 17.0)
    with pytest.raises(
        InputError,
        match="^problem: all_local: 1 of 3 users can only be served on the edge, user 2 first$",
    ):
        solve(problem, "all_local")


def test_random_baseline():
    """Seeded; both places; step counts spread over what is allowed; the mean is that of the paper's
    random start.
    """
    problem = Problem.from_dict(example(edge_budget=10_000))
    assert (
        solve(problem, "random", seed=3).steps
        == solve(problem, "random", seed=3).steps
        != solve(problem, "random", seed=4).steps
    )
    drawn = [solve(problem, "random", seed=seed) for seed in range(40)]
    assert np.mean([allocation.offload for allocation in drawn]) == pytest.approx(0.5, abs=0.05)
    for a, most in ((0, 20), (1, 50)):
        steps = [
            s
            for allocation in drawn
            for b, s in zip(allocation.offload, allocation.steps)
            if b == a
        ]
        assert set(steps) == set(range(1, most + 1)) and np.mean(steps) == pytest.approx(
            (1 + most) / 2, rel=0.08
        )


def test_unknown_method():
    with pytest.raises(
        InputError,
        match="^solver: 'exat' is unknown; perhaps you meant 'exact'; allowed: exact, milp, ",
    ):
        solve(Problem.from_dict(example()), "exat")


def test_a_function_is_a_method_too():
    """Anyone's function is priced like a named method; one of ours is used as it is."""

    def all_on_the_edge(problem, most=10):
        return np.ones(problem.users, dtype=bool), np.full(problem.users, most)

    problem = Problem.from_dict(example())
    allocation = solve(problem, all_on_the_edge)
    assert (allocation.offload, allocation.steps) == ([1] * 30, [10] * 30)
    assert allocation.solver.startswith("tests.solver.test_methods:test_a_function")
    assert solve(problem, all_on_the_edge, most=3).steps == [3] * 30
    assert solve(problem, METHODS["greedy"]).solver == "greedy"
    with pytest.raises(InputError, match="all_on_the_edge: 'least' is unknown; its settings: most"):
        solve(problem, all_on_the_edge, least=3)
    with pytest.raises(InputError, match="^builtins:int: found int; allowed: a function of a Pr"):
        solve(problem, 3)


def test_the_public_face():
    assert all(hasattr(solver, name) for name in solver.__all__)
    assert solver.__version__[0].isdigit()


def test_solver_stands_alone():
    """Importing it brings in neither the other packages nor torch, nor anything slow."""
    slow = {"torch", "calibration", "testbed", "scipy", "matplotlib"}
    code = f"import sys, solver; print(sorted({slow} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_a_setting_that_a_method_does_not_have():
    with pytest.raises(InputError, match="^solver exact: 'seed' is unknown; its settings: none$"):
        solve(Problem.from_dict(example(**SMALL)), "exact", seed=1)
    with pytest.raises(InputError, match="^solver random: 'sede' is unknown; its settings: seed$"):
        solve(Problem.from_dict(example(**SMALL)), "random", sede=1)
