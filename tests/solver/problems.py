"""Problems for tests: the example of the format, tables of costs, and random instances."""

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from benchmarks.solver.oracles import edited, example
from solver import Problem, studies

SMALL = {"users": 5, "edge_budget": 60}  # changes to the example


def rows_by_name(problem, **settings):
    """The rows of a comparison by the name of the method."""
    return {row.solver: row for row in studies.compare(problem, **settings)}


def ragged():
    """Two users: lists, a table of different lengths, and every optional field."""
    return example(
        users=2,
        local__max_steps=[3, 1],
        local__min_steps=[2, 1],
        local__error={"family": "table", "values": [[0.9, 0.5, 0.4], [0.3]]},
        local__utility={"family": "table", "values": [0.1, -0.2, 0.3, 0.35]},
        edge__step_time=[0.001, 0.25],
        edge__error={
            "family": "exponential_floor",
            "scale": [1.0, 2.0],
            "decay": 0.3,
            "floor": 0.05,
        },
        deadline=5.0,
        max_error=[0.5, 0.6],
    )


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


def crowd(users, seed=0, **changes):
    """A problem of ``users`` users, all different, with a tight budget."""
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
