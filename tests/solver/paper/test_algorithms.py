"""The paper's method: feasible answers, rounding, what tau does, and the trace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.oracles import varied
from solver import InputError, Problem, solve
from solver.paper.algorithms import algorithm_3, rounded
from tests.solver.problems import example, small_problems


@settings(max_examples=25, deadline=None)
@given(small_problems(), st.integers(0, 99))
def test_every_start_gives_a_feasible_allocation(drawn, seed):
    """Tables of any shape, places that cannot serve, deadlines, least steps: feasible, and never
    below the optimum.
    """
    data, scale = drawn
    problem = Problem.from_dict(data)
    try:
        best = solve(problem).objective
    except InputError:
        return
    rng = np.random.default_rng(seed)
    for method, start in [
        ("paper", 0.5),
        ("paper", "random"),
        ("paper_grown", 0.5),
        ("paper", rng.random(problem.users)),
    ]:
        allocation = solve(problem, method, start=start, seed=seed)
        assert allocation.objective >= best - 1e-12 * scale and (
            allocation.status,
            allocation.solver,
            allocation.gap,
        ) == ("feasible", method, None)


def test_rounding_repairs_cheapest_first():
    """By hand: 8 steps on the edge, 5 allowed; a step of user 1 is worth 1, of user 0 more, and
    user 2 has to stay.
    """
    data = example(users=3, edge_budget=5, local__max_steps=[1, 1, 0], edge__max_steps=[3, 3, 2])
    data["weights"] = {"cost": 1.0, "utility": 0.0, "time": 0.0, "error": 1.0, "energy": 0.0}
    data["local"]["error"] = {"family": "table", "values": [[30], [30], []]}
    data["edge"]["error"] = {"family": "table", "values": [[20, 10, 0], [4, 2, 1], [5, 0]]}
    problem = Problem.from_dict(data)
    weight, local_steps = rounded(problem, np.array([0.5, 0.9, 1.0]), np.array([2.6, 3.4, 2.0]))
    assert weight.tolist() == [3, 1, 1] and local_steps.tolist()[:2] == [1, 1]
    assert rounded(problem, np.array([0.4, 0.49, 1.0]), np.array([2.6, 3.4, 2.0]))[0].tolist() == [
        0,
        0,
        2,
    ]


def test_a_budget_that_leaves_no_choice():
    """Zero: all local. Just what the edge-only users need: they get it, whatever the start asks."""
    assert solve(Problem.from_dict(example(edge_budget=0)), "paper").offload == [0] * 30
    need = Problem.from_dict(
        example(local__max_steps=[20] * 18 + [0] * 12, edge__min_steps=10, edge_budget=120)
    )
    for start in (0.5, 1.0, "random"):
        allocation = solve(need, "paper", start=start)
        assert allocation.offload == [0] * 18 + [1] * 12 and allocation.steps[18:] == [10] * 12


def test_tau_of_the_paper_decides_by_the_first_round():
    """At tau = 1e5 every user stays on the side of 1/2 where the first round left it.

    With tau grown, users still move.
    """
    moved = 0
    for seed in range(2):
        problem = varied(seed, users=15)
        for start in (0.5, "random"):
            trace = algorithm_3(problem, start, seed)
            first = trace[0] if start == "random" else [i for i in trace if i.outer == 0][-1]
            assert ((first.a > 0.5) == (trace[-1].a > 0.5)).all() and trace[-1].fraction == 0
            moved += sum(
                (
                    (trace[0].a > 0.5) != (algorithm_3(problem, start, seed, tau=None)[-1].a > 0.5)
                ).tolist()
            )
    assert moved > 6


def test_continuation_forgets_its_start():
    """From random starts tau = 1e5 ends far apart and far off; grown, an order of magnitude nearer
    to the optimum, on average.
    """
    problems = [varied(seed, users=15) for seed in range(5)]
    gaps = {
        method: np.mean(
            [
                solve(p, method, start="random", seed=k).objective - solve(p).objective
                for k, p in enumerate(problems)
            ]
        )
        for method in ("paper", "paper_grown")
    }
    assert 0 <= 8 * gaps["paper_grown"] < gaps["paper"]


def test_equal_users_are_all_sent_to_one_place():
    """From an equal start equal users stay equal: the method cannot find the optimum, which splits
    them.
    """
    problem = Problem.from_dict(example())
    assert (
        len(set(solve(problem, "paper").offload))
        == len(set(solve(problem, "paper_grown", start=0.5).offload))
        == 1
    )
    assert len(set(solve(problem).offload)) == 2


def test_trace():
    """From the start to the answer, round by round; at the end a is whole, and rounding s costs
    little.
    """
    problem = varied(0)
    trace = algorithm_3(problem)
    assert (trace[0].outer, trace[0].inner, set(trace[0].a)) == (0, 0, {0.5}) and trace[
        0
    ].edge_steps == pytest.approx(48)
    order = [(i.outer, i.inner) for i in trace]
    assert order == sorted(set(order)) and trace[-1].outer > 0 and trace[-1].fraction == 0
    allocation, (weight, local) = (
        solve(problem, "paper"),
        rounded(problem, trace[-1].a, trace[-1].s),
    )
    assert (
        allocation.steps == np.where(weight, weight, local).tolist()
        and allocation.offload == trace[-1].a.tolist()
    )
    assert allocation.objective == pytest.approx(trace[-1].objective, rel=0.01)


def test_wrong_start_has_its_line():
    problem = Problem.from_dict(example())
    for start, line in [
        ("midle", "solver: start: 'midle' is unknown; allowed: random"),
        (1.5, "solver: start: found 1.5; allowed: "),
    ]:
        with pytest.raises(InputError) as error:
            solve(problem, "paper", start=start)
        assert str(error.value).startswith(line)
