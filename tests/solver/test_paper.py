"""The paper's method: P2 against Clarabel, its KKT conditions, the surrogates, the descent,
rounding, and what tau does.
"""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import InputError, Problem, solve
from solver.paper.algorithms import algorithm_1, algorithm_3, rounded
from solver.paper.p2 import algorithm_2, on_line
from solver.paper.relaxation import FLOOR, FORMS, ConvexTable, Relaxation
from solver.problem import ERROR_FAMILIES, PLACES, UTILITY_FAMILIES
from tests.solver.test_problem import edited, example
from tests.solver.test_solver import small_problems

FLOOR_AND_POWER = {
    "local": {"family": "power_floor", "scale": 2.0, "exponent": 0.5, "floor": 0.1},
    "edge": {"family": "exponential_floor", "scale": 1.0, "decay": 0.2, "floor": 0.05},
}
CASES = {  # what differs from 20 local steps, 50 on the edge, 1 at least, and a budget that binds
    "binding": {},
    "slack": {"edge_budget": 10**6},
    "S0 > S1": {"local__max_steps": 40, "edge__max_steps": 15},
    "S0 = S1": {"local__max_steps": 12, "edge__max_steps": 12},
    "tight (16c)": {"local__max_steps": 3, "edge__max_steps": [9, 4] * 4, "edge_budget": 12},
    "lower limits": {"local__min_steps": 12, "edge__min_steps": [4, 30] * 4, "edge_budget": 60},
    "one place only": {
        "local__max_steps": [20] * 6 + [0] * 2,
        "edge__max_steps": [0] * 2 + [50] * 6,
    },
    "other curves": {
        "local__error": FLOOR_AND_POWER["local"],
        "edge__error": FLOOR_AND_POWER["edge"],
    },
}


def varied(seed, users=8, **changes):
    """The paper's curves, with rates, times, powers and weights that differ from UE to UE."""
    rng = np.random.default_rng(seed)
    data = example(users=users, edge_budget=6 * users)
    for place, power in (("local", 0.03), ("edge", 3.0)):
        data[place] |= {
            "step_time": rng.uniform(0.001, 0.01, users),
            "power": rng.uniform(0.5, 1.5, users) * power,
            "overhead": 0.02,
        }
        data[place]["error"]["decay"] = rng.uniform(0.05, 0.3, users)
        data[place]["utility"]["rate"] = rng.uniform(0.05, 0.3, users)
    data["weights"]["error"] = rng.uniform(0.2, 0.5, users)
    return Problem.from_dict(edited(data, **changes))


def sub_problem(seed, tau=0.0, **changes):
    """P2 around a random point that satisfies (1), and what it was made of."""
    relaxation = Relaxation.of(varied(seed, **changes))
    a, s = relaxation.start("random", seed)
    return relaxation.p2(a, s, a, tau), relaxation, a, s


def clarabel(problem, p2, unit):
    """P2 written down from the file's fields: its value, a, s, delta."""
    a, s, objective = cp.Variable(problem.users), cp.Variable(problem.users, nonneg=True), 0
    for place, weight in zip(PLACES, (p2.u, p2.v)):
        here, w = getattr(problem, place), problem.weights
        e, rate = here.error.parameters, here.utility.parameters["rate"]
        decays = (
            cp.exp(cp.multiply(-e["decay"], s))
            if "decay" in e
            else cp.power(s, -float(e["exponent"]), approx=False)
        )
        time = here.overhead + cp.multiply(here.step_time, s)
        second = np.broadcast_to(w["cost"] * (w["time"] + w["energy"] * here.power), problem.users)
        error = cp.multiply(w["cost"] * w["error"] * e["scale"], decays) + w["cost"] * w[
            "error"
        ] * e.get("floor", 0)
        cost = (
            cp.multiply(second, time) + error + w["utility"] * cp.exp(cp.multiply(-rate, s))
        ) / unit
        objective += cp.sum(cp.multiply(weight, cp.square(cost)))
    objective += cp.sum(
        cp.multiply(1 / (4 * p2.u), cp.square(1 - a)) + cp.multiply(1 / (4 * p2.v), cp.square(a))
    )
    h = p2.around * (p2.around - 1) + cp.multiply(2 * p2.around - 1, a - p2.around)
    used = cp.sum(cp.multiply(p2.z, cp.square(s)) + cp.multiply(1 / (4 * p2.z), cp.square(a)))
    (l0, l1), (s0, s1) = p2.least, p2.most
    line = [s <= s0 + cp.multiply(s1 - s0, a), s >= l0 + cp.multiply(l1 - l0, a)]
    limits = [used <= p2.budget, a >= p2.span[0], a <= p2.span[1], *line]
    model = cp.Problem(cp.Minimize(objective - p2.tau * cp.sum(h)), limits)
    model.solve(cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return model.value, a.value, s.value, float(limits[0].dual_value)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed, tau", [(0, 0.0), (1, 0.3), (2, 10.0)])
def test_p2_is_that_of_a_convex_solver(case, seed, tau):
    """Objective, a, s and the price, on problems whose every kind of limit is tight somewhere."""
    problem = varied(seed, **CASES[case])
    p2, relaxation, _, _ = sub_problem(seed, tau, **CASES[case])
    point = algorithm_2(p2)
    value, a, s, delta = clarabel(problem, p2, relaxation.unit)
    assert point.objective == pytest.approx(value, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(point.a, a, atol=2e-5)
    np.testing.assert_allclose(point.s, s, atol=2e-3)
    assert point.delta == pytest.approx(delta, rel=1e-3, abs=1e-6)
    residuals = point.residuals()
    assert max(residuals.values()) < 1e-9
    slack = case == "slack"
    assert slack == (point.delta == 0) and slack == (p2.used(point.a, point.s) < p2.budget - 1e-6)
    if case == "tight (16c)":
        assert (point.zeta > 0).any()
    if case == "lower limits":
        assert (point.eta > 0).any()


def test_kkt_residuals_find_a_wrong_solution():
    """A thousandth off in any variable or multiplier shows in the condition that it breaks."""
    point = algorithm_2(sub_problem(2, 10.0, **CASES["tight (16c)"])[0])
    assert max(point.residuals().values()) < 1e-9
    assert point.delta > 0 and all(
        (getattr(point, name) > 0).any() for name in ("zeta", "beta", "gamma")
    )
    for name, factor, broken in [
        ("a", 1.001, ("stationarity_a", "primal")),
        ("s", 1.001, ("stationarity_s", "primal")),
        ("s", 0.999, ("stationarity_s", "slackness")),
        ("delta", 1.001, ("stationarity_a", "stationarity_s")),
        ("zeta", 0.999, ("stationarity_s",)),
        ("beta", 0.999, ("stationarity_a",)),
        ("gamma", -1.0, ("stationarity_a", "dual")),
    ]:
        residuals = replace(point, **{name: factor * getattr(point, name)}).residuals()
        assert all(residuals[condition] > 1e-6 for condition in broken), (name, residuals)


def test_the_price_does_not_depend_on_the_guess():
    p2 = sub_problem(3)[0]
    prices = [algorithm_2(p2, guess).delta for guess in (0.0, 1e-6, 1.0, 1e9)]
    np.testing.assert_allclose(prices, prices[0], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_surrogates_touch_and_lie_above(seed):
    """(10) and (11): equal in value and slope at the point, nowhere below. (14): a line above the
    concave penalty.
    """
    tau = 2.0
    p2, relaxation, a, s = sub_problem(seed, 0.0)
    penalised = replace(p2, tau=tau)
    rng = np.random.default_rng(seed)

    def true(a, s):
        return (relaxation.objective(a, s) + relaxation.shift.sum()) / relaxation.unit

    assert p2.objective(a, s) == pytest.approx(true(a, s), rel=1e-12)
    assert p2.used(a, s) == pytest.approx(a @ s, rel=1e-12)
    assert penalised.objective(a, s) == pytest.approx(
        true(a, s) - tau * (a * (a - 1)).sum(), rel=1e-12
    )
    for _ in range(50):
        other, steps = rng.random(8), rng.uniform(1, 50, 8)
        assert p2.objective(other, steps) >= true(other, steps)
        assert p2.used(other, steps) >= other @ steps
        assert (
            penalised.objective(other, steps)
            >= true(other, steps) - tau * (other * (other - 1)).sum()
        )
        da, ds = 1e-6 * rng.normal(size=(2, 8))
        for above, below in [(p2.objective, true), (p2.used, lambda a, s: a @ s)]:
            rise = [f(a + da, s + ds) - f(a - da, s - ds) for f in (above, below)]
            assert rise[0] == pytest.approx(rise[1], abs=1e-10)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_algorithm_1_descends_and_keeps_the_budget(tau):
    """From pass to pass eq. (8) - tau H falls, but for what the floor on a costs; and (1) holds."""
    for seed in range(5):
        _, relaxation, a, s = sub_problem(seed)
        around, last = a, relaxation.objective(a, s) - tau * (a * (a - 1)).sum()
        points = list(algorithm_1(relaxation, a, s, tau, passes=30, tolerance=1e-6))
        for point in points:
            line = around * (around - 1) + (2 * around - 1) * (point.a - around)
            value = relaxation.objective(point.a, point.s) - tau * line.sum()
            assert (
                value <= last + FLOOR * relaxation.unit
                and point.a @ point.s <= relaxation.budget * (1 + 1e-9)
            )
            last = value
        assert len(points) > 1 and last < relaxation.objective(a, s) - tau * (a * (a - 1)).sum()


@settings(max_examples=40, deadline=None)
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
        found = solve(problem, method, start=start, seed=seed)
        assert found.objective >= best - 1e-12 * scale and (
            found.status,
            found.solver,
            found.gap,
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
    """Zero: all local. Just what the edge-only UEs need: they get it, whatever the start asks."""
    assert solve(Problem.from_dict(example(edge_budget=0)), "paper").offload == [0] * 30
    need = Problem.from_dict(
        example(local__max_steps=[20] * 18 + [0] * 12, edge__min_steps=10, edge_budget=120)
    )
    for start in (0.5, 1.0, "random"):
        found = solve(need, "paper", start=start)
        assert found.offload == [0] * 18 + [1] * 12 and found.steps[18:] == [10] * 12


def test_tau_of_the_paper_decides_by_the_first_round():
    """At tau = 1e5 the second round leaves every UE on the side of 1/2 where the first one left it;
    grown, they still move.
    """
    moved = 0
    for seed in range(6):
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
    assert moved > 20


def test_continuation_forgets_its_start():
    """From random starts tau = 1e5 ends far apart and far off; grown, an order of magnitude nearer
    to the optimum, on average.
    """
    problems = [varied(seed, users=15) for seed in range(8)]
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
    """From an equal start equal UEs stay equal: the method cannot find the optimum, which splits
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
    found, (weight, local) = solve(problem, "paper"), rounded(problem, trace[-1].a, trace[-1].s)
    assert (
        found.steps == np.where(weight, weight, local).tolist()
        and found.offload == trace[-1].a.tolist()
    )
    assert found.objective == pytest.approx(trace[-1].objective, rel=0.01)


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


@settings(max_examples=100, deadline=None)
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


def test_wrong_start_has_its_line():
    problem = Problem.from_dict(example())
    for start, line in [
        ("midle", "solver: start: 'midle' is unknown; allowed: random"),
        (1.5, "solver: start: found 1.5; allowed: "),
    ]:
        with pytest.raises(InputError) as error:
            solve(problem, "paper", start=start)
        assert str(error.value).startswith(line)


def test_limits_of_a_start_keep_2():
    relaxation = Relaxation.of(varied(0, **CASES["lower limits"]))
    for start in (0.0, 0.5, 1.0, "random"):
        a, s = relaxation.start(start, 1)
        assert (on_line(relaxation.least, a) <= s).all() and (
            s <= on_line(relaxation.most, a)
        ).all()
