"""The exact solver against enumeration, plain dynamic programming and HiGHS; the price, the
certificate, the baselines.
"""

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import solver.exact.exact as exact
from solver import METHODS, InputError, Problem, certify, solve
from solver.exact.duplicates import Kinds
from solver.knapsack import Choices, relax
from tests.solver.test_problem import edited, example

BASELINES = ("edge_first", "greedy", "random", "uniform")


def tabled(local, edge, budget, scale=1.0, **changes):
    """A problem whose costs are the tables: one list of costs >= 0 for each user and place, []
    where it cannot serve.
    """
    problem = example(users=len(local), edge_budget=budget)
    problem["weights"] = {"cost": 1.0, "utility": 0.0, "time": 0.0, "error": 1.0, "energy": 0.0}
    for place, table in (("local", local), ("edge", edge)):
        problem[place]["max_steps"] = [len(row) for row in table]
        problem[place]["error"] = {
            "family": "table",
            "values": [[scale * value for value in row] for row in table],
        }
    return edited(problem, **changes)


def enumerate_all(data):
    """{edge steps in all: the least eq. (8)} over every choice that satisfies everything but (1);
    from the file's fields alone.
    """
    w = data["weights"]
    options = []
    for n in range(data["users"]):
        options.append([])
        for a, place in enumerate(("local", "edge")):
            d = data[place]
            for s in range(d.get("min_steps", 1), d["max_steps"][n] + 1):
                time = d["overhead"] + s * d["step_time"]
                error = d["error"]["values"][n][s - 1]
                utility = 1 - math.exp(-d["utility"]["rate"] * s)
                if time <= data.get("deadline", math.inf) and error <= data.get(
                    "max_error", math.inf
                ):
                    cost = (
                        w["cost"]
                        * (w["time"] * time + w["error"] * error + w["energy"] * d["power"] * time)
                        - w["utility"] * utility
                    )
                    options[-1].append((a * s, cost))
    best = {}
    for choice in itertools.product(*options):
        used = sum(weight for weight, _ in choice)
        best[used] = min(best.get(used, math.inf), math.fsum(cost for _, cost in choice))
    return best


def plain_dp(cost, budget):
    """The optimum of a multiple-choice knapsack, the slow way: every user, every option, every
    budget.
    """
    value = np.zeros(budget + 1)
    for row in cost:
        new = np.full(budget + 1, np.inf)
        for step in range(min(len(row), budget + 1)):
            new[step:] = np.minimum(new[step:], value[: budget + 1 - step] + row[step])
        value = new
    return value[budget]


def curve(most):
    return st.lists(st.integers(0, 6), max_size=most)  # any shape, many ties


@st.composite
def small_problems(draw):
    users = draw(st.integers(1, 4))
    kinds = draw(st.lists(st.tuples(curve(3), curve(5)), min_size=1, max_size=users))
    rows = [kinds[draw(st.integers(0, len(kinds) - 1))] for _ in range(users)]  # some users equal
    scale = draw(st.sampled_from([1.0, 0.1, 1e-9, 1e9]))
    data = tabled(
        [row[0] for row in rows], [row[1] for row in rows], draw(st.integers(0, 24)), scale
    )
    if draw(st.booleans()):
        data["weights"] |= {"time": 100.0 * scale, "energy": 10.0 * scale, "utility": 3.0 * scale}
    if draw(st.booleans()):
        data["edge"]["min_steps"] = draw(st.integers(1, 3))
    if draw(st.booleans()):
        data["deadline"] = draw(st.sampled_from([0.0015, 0.003, 0.004]))
    if draw(st.booleans()):
        data["max_error"] = scale * draw(st.integers(2, 6))
    return data, scale


@settings(max_examples=100, deadline=None)
@given(small_problems())
def test_exact_is_the_least_of_all_choices(drawn):
    """On any instance the objective is the enumerated minimum; there is none exactly where an error
    is raised.
    """
    data, scale = drawn
    best = enumerate_all(data)
    within = [value for used, value in best.items() if used <= data["edge_budget"]]
    problem = Problem.from_dict(data)
    if not within:
        for method in METHODS:
            with pytest.raises(InputError) as error:
                solve(problem, method)
            assert "\n" not in str(error.value)
        return
    found = solve(problem)
    assert found.objective == pytest.approx(min(within), rel=1e-12, abs=1e-13 * scale)
    assert (found.status, found.lower_bound, found.gap) == ("optimal", found.objective, 0.0)
    assert (
        found.edge_steps_used
        == sum(s for a, s in zip(found.offload, found.steps) if a)
        <= data["edge_budget"]
    )
    assert found.edge_price == pytest.approx(
        envelope_slope(best, data["edge_budget"]), rel=1e-9, abs=1e-12 * scale
    )
    assert certify(problem, found) == pytest.approx(0, abs=1e-9 * (scale + abs(found.objective)))
    for method in BASELINES:
        worse = solve(problem, method)
        assert worse.objective >= found.objective - 1e-12 * scale
        # the certificate of a choice that is not optimal is its true distance
        assert certify(problem, worse) == pytest.approx(
            worse.objective - found.objective, rel=1e-6, abs=1e-9 * (scale + abs(found.objective))
        )


def envelope_slope(best, budget):
    """Minus the slope, right of ``budget``, of the lower convex envelope of the optimum over the
    budget; 0 where it is slack.
    """
    points, least = [], math.inf
    for used in sorted(best):
        if best[used] < least:
            least = best[used]
            points.append((used, least))
    before = [p for p in points if p[0] <= budget]
    after = [p for p in points if p[0] > budget]
    # of all chords over the budget, the envelope is the lowest at budget + 0
    lines = [
        ((left[1] - right[1]) / (right[0] - left[0]), left) for left in before for right in after
    ]
    return min(
        lines,
        key=lambda line: line[1][1] - line[0] * (budget + 1e-6 - line[1][0]),
        default=(0.0, None),
    )[0]


def random_costs(rng):
    """(cost, budget): a table of one of the shapes that solvers get wrong; column 0 is the local
    option, rows may be equal.
    """
    users, width = int(rng.integers(1, 25)), int(rng.integers(1, 12))
    shape = (int(rng.integers(1, users + 1)), width + 1)
    cost = [
        lambda: rng.random(shape),  # any curve
        lambda: rng.integers(0, 4, shape).astype(float),  # many ties
        lambda: (
            np.exp(-rng.random((shape[0], 1)) * np.arange(width + 1)) + rng.uniform(0, 0.02, shape)
        ),  # measured ones
        lambda: (
            30
            - rng.integers(0, 3, (shape[0], 1)) * np.arange(width + 1)
            + rng.integers(0, 3, shape)
        ),  # most tie at the price
        lambda: 3 + 1e-13 * rng.integers(0, 3, shape),  # all alike, up to rounding
        lambda: 10 ** rng.uniform(-9, 9, shape),  # of all sizes
    ][rng.integers(6)]()
    cost = cost[rng.integers(0, len(cost), users)] * 10.0 ** rng.integers(-9, 9)
    if rng.random() < 0.3:
        cost[rng.random(users) < 0.3, 0] = np.inf  # some that only the edge can serve
    budget = int(rng.choice([0, rng.integers(0, users * width + 1), 10 * users * width]))
    return cost, max(budget, int(np.isinf(cost[:, 0]).sum()))


def priced(cost, budget):
    """The Problem of :func:`random_costs`."""
    return Problem.from_dict(
        tabled(
            [row[:1][np.isfinite(row[:1])].tolist() for row in cost], cost[:, 1:].tolist(), budget
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_exact_is_plain_dynamic_programming(seed):
    """2000 instances of all shapes: the objective is the optimum, and said to be."""
    rng = np.random.default_rng(seed)
    for _ in range(500):
        cost, budget = random_costs(rng)
        found, best = solve(priced(cost, budget)), plain_dp(cost, min(budget, cost.size))
        assert found.objective == pytest.approx(
            best, rel=1e-12, abs=1e-12 * np.abs(cost[np.isfinite(cost)]).max()
        )
        assert (found.status, found.gap) == ("optimal", 0.0)


def test_exact_is_highs_on_many():
    """1000 instances of all shapes, to within HiGHS's tolerance."""
    rng = np.random.default_rng(9)
    for _ in range(1000):
        cost, budget = random_costs(rng)
        problem, range_of_costs = priced(cost, budget), np.ptp(cost[np.isfinite(cost)])
        assert solve(problem, "milp").objective == pytest.approx(
            solve(problem).objective, rel=1e-9, abs=1e-6 * range_of_costs
        )


@pytest.mark.parametrize("seed", range(8))
def test_exact_is_highs(seed):
    """Against another solver, on the paper's curves with limits and users that only one place can
    serve.
    """
    rng = np.random.default_rng(seed)
    users = 15
    data = example(
        users=users,
        edge_budget=int(rng.integers(40, 80)),
        deadline=0.15 if seed % 2 else 1.0,
        max_error=0.9,
    )
    for place, most in (("local", 20), ("edge", 40)):
        data[place] |= {
            "max_steps": (most * (rng.random(users) > 0.1)).astype(int).tolist(),
            "power": rng.uniform(0.1, 5, users).tolist(),
        }
        data[place]["step_time"] = rng.uniform(0.001, 0.01, users).tolist()
        data[place]["error"]["decay"] = rng.uniform(0.05, 0.3, users).tolist()
        data[place]["utility"]["rate"] = rng.uniform(0.05, 0.3, users).tolist()
    data["edge"]["max_steps"] = [
        most or 40 * (local == 0)
        for most, local in zip(data["edge"]["max_steps"], data["local"]["max_steps"])
    ]
    problem = Problem.from_dict(data)
    found, highs = solve(problem), solve(problem, "milp")
    assert highs.objective == pytest.approx(found.objective, rel=1e-9)
    assert highs.lower_bound <= highs.objective and highs.gap < 1e-6
    assert found.edge_price > 0 and max(found.offload) == 1 and min(found.offload) == 0


def test_equal_users_with_no_even_share():
    """By hand: an edge step is worth 1, but 3 users share 7 steps; costs 10 - s, local 10, only
    even s allowed to pay.
    """
    found = solve(Problem.from_dict(tabled([[10]] * 3, [[11, 8, 11, 6]] * 3, 7)))
    assert (found.objective, found.edge_steps_used, found.edge_price) == (24.0, 6, 1.0)


def test_optimum_far_from_the_relaxed_start():
    """An edge step is worth 1 everywhere; 3 users take 0 or 3 steps, 3 take 0 or 5: 10 is 5 + 5,
    the start is 3 + 3 + 3.
    """
    edge = [[20, 20, 7]] * 3 + [[20, 20, 20, 20, 5]] * 3
    found = solve(Problem.from_dict(tabled([[10]] * 6, edge, 10)))
    assert (found.objective, found.edge_steps_used, sorted(found.offload)) == (
        50.0,
        10,
        [0, 0, 0, 0, 1, 1],
    )


def test_the_one_user_that_matters_is_not_among_the_nearest():
    """60 users, all different, lose next to nothing by 2 steps more or less; only the last, at a
    loss, can use the odd step.
    """
    edge = [[20, 8 + 1e-6 * n] for n in range(60)] + [[9.5]]
    found = solve(Problem.from_dict(tabled([[10]] * 61, edge, 41)))
    assert found.offload == [1] * 20 + [0] * 40 + [1] and found.edge_steps_used == 41


def test_budget_beyond_need_and_zero():
    """Slack: everyone takes the best, the price is 0, and 10^18 is no different. Zero: all local."""
    data = example(users=3, edge__max_steps=9, weights__energy=0.0)
    slack, vast = (
        solve(Problem.from_dict(example(**{**data, "edge_budget": budget})))
        for budget in (27, 10**18)
    )
    assert slack.steps == vast.steps and slack.edge_price == vast.edge_price == 0.0
    none = Problem.from_dict({**data, "edge_budget": 0})
    assert (
        solve(none).offload == [0, 0, 0]
        and solve(none).objective == solve(none, "all_local").objective
    )


def test_one_giant_cost_does_not_drown_the_others():
    """Costs of 1e-6 are still decided rightly beside one of 1e6."""
    local, edge = [[1e6]] + [[3e-6]] * 3, [[2e6]] + [[2e-6, 0.5e-6]] * 3
    assert solve(Problem.from_dict(tabled(local, edge, 3))).steps[1:] in (
        [1, 2, 1],
        [2, 1, 1],
        [1, 1, 2],
    )


def crowd(users, seed=0, **changes):
    """A problem of ``users`` UEs, all different, with a tight budget."""
    rng = np.random.default_rng(seed)
    data = example(users=users, edge_budget=5 * users + 3)
    for place in ("local", "edge"):
        data[place] |= {
            "step_time": rng.uniform(0.001, 0.01, users),
            "power": rng.uniform(0.1, 5, users),
        }
        data[place]["error"]["decay"] = rng.uniform(0.05, 0.3, users)
        data[place]["utility"]["rate"] = rng.uniform(0.05, 0.3, users)
    return edited(data, **changes)


def test_many_users_all_different():
    """Where a sample brackets the price: the choice and its proof are those of one pass over
    everything.
    """
    problem = Problem.from_dict(crowd(100_000))
    kinds = Kinds.of(problem)
    low, high = exact._bracket(kinds, problem.edge_budget)
    found, whole = solve(problem), exact._solve(problem, kinds, 0.0, np.inf)
    assert 0 < low < found.edge_price < high < 2 * low
    assert (found.offload, found.steps, found.objective) == (
        whole.offload,
        whole.steps,
        whole.objective,
    )
    assert found.status == "optimal" and certify(problem, found) <= 1e-9 * abs(found.objective)


def test_a_sample_that_misleads():
    """Every UE that is looked at first gains ten thousand times what the others do: the answer is
    none the worse for it.
    """
    users = 100_000
    stride = users // int(10 * users ** (2 / 3))
    weight = np.where(np.arange(users) % stride == 0, 1e4, 1.0)
    data = crowd(users, weights__cost=weight, weights__utility=weight)
    problem = Problem.from_dict(data)
    assert (
        exact._solve(
            problem, Kinds.of(problem), *exact._bracket(Kinds.of(problem), problem.edge_budget)
        )
        is None
    )
    found = solve(problem)
    assert found.status == "optimal" and certify(problem, found) <= 1e-9 * abs(found.objective)


@pytest.mark.parametrize("users", [60, 50_000])
def test_many_users_of_a_few_kinds(users):
    """Alike in all, or in all but what an image costs anyway: no even share, and still proven."""
    rng = np.random.default_rng(2)
    kind, jagged = rng.integers(0, 3, users), 10 - np.array([0, 3, 2, 7, 6, 7.5, 8, 8.4])
    data = tabled(
        [[10.0]] * users, (jagged + np.array([[0.0], [0.5], [1.0]]))[kind].tolist(), 3 * users + 1
    )
    alike = solve(Problem.from_dict(data))
    assert alike.status == "optimal"
    if users == 60:
        assert alike.objective == pytest.approx(
            plain_dp(np.column_stack([np.full(60, 10.0), (jagged + 0.5 * kind[:, None])]), 181),
            rel=1e-12,
        )
    data["edge"]["error"]["values"] = [
        data["edge"]["error"]["values"][n] for n in rng.permutation(users)
    ]
    assert solve(Problem.from_dict(data)).objective == pytest.approx(alike.objective, rel=1e-12)
    edited(data, weights__time=1.0, local__step_time=0.0, edge__step_time=0.0)
    data["local"]["overhead"] = data["edge"]["overhead"] = rng.integers(0, 1000, users) / 8
    apart = Problem.from_dict(data)
    assert Kinds.of(apart).count.max() <= 5 + users / 500
    assert solve(apart).status == "optimal"
    assert solve(apart).objective - apart.edge.overhead.sum() == pytest.approx(
        alike.objective, rel=1e-9
    )


def test_a_cost_that_cannot_be_summed_up_has_its_user():
    """Also where users are looked at in pieces, and of each kind one."""
    power = np.ones(20_000)
    power[[7000, 19_000]] = 1e300
    with pytest.raises(
        InputError,
        match="^problem: edge: user 7000: the cost of 1 steps is too large to be summed up$",
    ):
        solve(Problem.from_dict(example(users=20_000, edge__power=power, edge__step_time=1e3)))


def test_kinds_are_the_different_users():
    """Any column tells users apart; labels do not; the order lists everyone once, kind by kind."""
    base = {
        "users": 6,
        "edge__power": [1.0, 2.0, 1.0, 2.0, 1.0, 1.0],
        "labels": {"name": list("abcdef")},
    }
    kinds = Kinds.of(Problem.from_dict(example(**base)))
    assert sorted(kinds.count) == [2, 4] and sorted(kinds.order) == list(range(6))
    assert kinds.of_users(kinds.problem.edge.power).tolist() == base["edge__power"]
    for name, value in [
        ("weights__time", [1, 1, 2, 1, 1, 1]),
        ("max_error", [0.9, 0.9, 0.8, 0.9, 0.9, 0.9]),
        (
            "edge__error",
            {"family": "table", "values": [[0.5] * 50] * 2 + [[0.25] * 50] + [[0.5] * 50] * 3},
        ),
    ]:
        assert sorted(Kinds.of(Problem.from_dict(example(**base, **{name: value}))).count) == [
            1,
            2,
            3,
        ]


def random_problem(seed, users=12):
    """As :func:`crowd`, small, with curves of any shape on the edge."""
    rng = np.random.default_rng(seed)
    data = crowd(
        users,
        seed,
        edge_budget=int(rng.integers(0, 12 * users)),
        edge__max_steps=12,
        local__max_steps=rng.integers(0, 5, users),
    )
    data["local"]["max_steps"][rng.integers(0, 2, users) > 0] = (
        4  # else the edge alone must serve too many
    )
    data["edge"]["error"] = {
        "family": "table",
        "values": rng.random((users, 12)).cumsum(axis=1)[:, ::-1] / 3,
    }
    return edited(data, edge_budget=max(data["edge_budget"], users))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_permuting_users_permutes_the_answer(seed):
    problem = Problem.from_dict(random_problem(seed))
    order = np.random.default_rng(seed).permutation(problem.users)
    found, other = solve(problem), solve(problem.part(order))
    assert (np.array(found.steps)[order].tolist(), np.array(found.offload)[order].tolist()) == (
        other.steps,
        other.offload,
    )
    assert other.objective == pytest.approx(found.objective, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 1e3))
def test_a_constant_cost_changes_no_choice(seed, constant):
    """Seconds that every option of every user takes anyway."""
    data = random_problem(seed)
    each = constant * data["weights"]["cost"] * data["weights"]["time"]
    base = solve(Problem.from_dict(edited(data, local__power=0.0, edge__power=0.0)))
    other = solve(
        Problem.from_dict(edited(data, local__overhead=constant, edge__overhead=constant))
    )
    assert (other.offload, other.steps) == (base.offload, base.steps)
    assert other.objective == pytest.approx(base.objective + 12 * each, rel=1e-9)
    assert base.status == other.status == "optimal"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_more_budget_never_hurts_and_weights_scale(seed, factor):
    data = random_problem(seed)
    problem = Problem.from_dict(data)
    found = [solve(replace(problem, edge_budget=problem.edge_budget + more)) for more in range(4)]
    assert all(b.objective <= a.objective + 1e-12 for a, b in itertools.pairwise(found))
    assert all(b.edge_price <= a.edge_price + 1e-12 for a, b in itertools.pairwise(found))
    scaled = solve(
        replace(
            problem,
            weights=problem.weights
            | {name: factor * problem.weights[name] for name in ("cost", "utility")},
        )
    )
    assert scaled.objective == pytest.approx(factor * found[0].objective, rel=1e-9)
    assert (scaled.offload, scaled.steps) == (found[0].offload, found[0].steps)


def test_relaxed_start_fits_and_is_optimal_at_its_price():
    rng = np.random.default_rng(5)
    cost = rng.random((200, 12))
    for budget in (0, 1, 150, 700):
        price, few, many, moved = relax(cost, budget)
        start = np.where(moved, many, few)
        priced = cost + price * np.arange(12)
        assert start.sum() <= budget
        np.testing.assert_allclose(priced[np.arange(200), start], priced.min(axis=1), atol=1e-12)


def test_trends_of_figure_1():
    """With the example's numbers and budgets 100..500: time falls, accuracy and energy rise, the
    objective falls.
    """
    found = [
        solve(Problem.from_dict(example(edge_budget=budget))) for budget in range(100, 501, 50)
    ]
    assert all(
        b.objective < a.objective and b.error < a.error and b.energy > a.energy
        for a, b in itertools.pairwise(found)
    )
    # integers: 9 users of 16 steps leave 6 of 150 unused, so time falls from every second budget to
    # the next
    assert all(b.time < a.time for a, b in zip(found, found[2:]))


INFEASIBLE = [
    (
        {"edge_budget": 100},
        "edge_budget: 100 is too small: the 12 users that only the edge can serve need at least 120 steps",
    ),
    (
        {"local__max_steps": [20] * 29 + [0], "edge_budget": 9},
        "edge_budget: 9 is too small: the 1 user that only the edge can serve needs at least 10 steps",
    ),
    (
        {"edge__max_steps": 0},
        "max_steps: user 18 (and 11 more): no step count is allowed: min_steps..max_steps is local 1..0 and edge 10..0",
    ),
    (
        {"deadline": 0.001},
        "deadline: user 0 (and 29 more): no step count satisfies deadline 0.001 s: at least 0.002 s is needed, 0.001 s more",
    ),
    (
        {"max_error": [1.0] * 29 + [0.001]},
        "max_error: user 29: no step count satisfies max_error 0.001: at least 0.00673795 is needed, 0.00574 more",
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
    assert np.mean([found.offload for found in drawn]) == pytest.approx(0.5, abs=0.05)
    for a, most in ((0, 20), (1, 50)):
        steps = [s for found in drawn for b, s in zip(found.offload, found.steps) if b == a]
        assert set(steps) == set(range(1, most + 1)) and np.mean(steps) == pytest.approx(
            (1 + most) / 2, rel=0.08
        )


def test_price_is_the_problems():
    problem = Problem.from_dict(example())
    assert (
        len({solve(problem, method).edge_price for method in ("exact", "greedy", "all_local")}) == 1
    )


def test_choices_prefer_the_best_local_step():
    choices = Choices.of(Problem.from_dict(tabled([[3, 1, 2], []], [[5], [4]], 9)))
    assert choices.cost.tolist() == [[1, 5], [math.inf, 4]] and choices.local_steps[0] == 2


def test_unknown_method():
    with pytest.raises(
        InputError,
        match="^solver: 'exat' is unknown; perhaps you meant 'exact'; allowed: exact, milp, ",
    ):
        solve(Problem.from_dict(example()), "exat")


def test_solver_stands_alone():
    """Importing it brings in neither the other packages nor torch, nor anything slow."""
    code = "import sys, solver; print(sorted({'torch', 'calibration', 'testbed', 'scipy', 'matplotlib'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
