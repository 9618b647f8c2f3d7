"""problem/1: each wrong input has its one line."""

import json
import math
import re

import numpy as np
import pytest

from solver import InputError, Problem, solve
from solver.problem import MAX_OPTIONS
from tests.solver.places import random_places
from tests.solver.problems import (
    example,
)

NUMBER = "a finite number >= 0, or a list of 30 of them"


STEPS = f"an integer >= 0 and <= {MAX_OPTIONS // 30}, or a list of 30 of them"


TABLE = {"family": "table", "values": [0.5] * 20}


BAD = [  # a line that ends in ... is only the beginning
    ({"schema": "problem/3"}, "p: schema: found 'problem/3'; allowed: problem/1 or problem/2"),
    ({"users": ...}, "p: 'users' is missing"),
    ({"users": 0}, f"p: users: found 0; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"users": True}, f"p: users: found True; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"users": [30]}, f"p: users: found [30]; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"edge_budget": -1}, "p: edge_budget: found -1; allowed: an integer >= 0"),
    ({"edge_budget": 10.5}, "p: edge_budget: found 10.5; allowed: an integer >= 0"),
    ({"edge_budget": "300"}, "p: edge_budget: found '300'; allowed: an integer >= 0"),
    (
        {"edge_budgt": 3},
        "p: 'edge_budgt' is unknown; perhaps you meant 'edge_budget'; allowed: schema, users, "
        "edge_budget, ...",
    ),
    (
        {"weights": 1},
        "p: weights: found 1; allowed: an object with cost, utility, time, error, energy",
    ),
    ({"weights__time": ...}, "p: weights: 'time' is missing"),
    ({"weights__cost": -0.5}, f"p: weights.cost: found -0.5; allowed: {NUMBER}"),
    (
        {"local": [1]},
        "p: local: found [1]; allowed: an object with max_steps, step_time, overhead, power, "
        "error, utility",
    ),
    ({"local__overhead": ...}, "p: local: 'overhead' is missing"),
    (
        {"edge__step_tim": 1},
        "p: edge: 'step_tim' is unknown; perhaps you meant 'step_time'; allowed: max_steps, ...",
    ),
    ({"local__max_steps": 2.5}, f"p: local.max_steps: found 2.5; allowed: {STEPS}"),
    ({"local__max_steps": True}, f"p: local.max_steps: found True; allowed: {STEPS}"),
    ({"local__max_steps": 10**9}, f"p: local.max_steps: found 1000000000; allowed: {STEPS}"),
    ({"local__max_steps": 10**400}, "p: local.max_steps: found 1000..."),
    ({"edge__max_steps": [5] * 29}, f"p: edge.max_steps: found a list of 29; allowed: {STEPS}"),
    ({"edge__max_steps": [5] * 29 + [-1]}, f"p: edge.max_steps[29]: found -1; allowed: {STEPS}"),
    (
        {"edge__max_steps": [5] * 28 + [True, 1]},
        f"p: edge.max_steps[28]: found True; allowed: {STEPS}",
    ),
    (
        {"edge__min_steps": 0},
        f"p: edge.min_steps: found 0; allowed: an integer >= 1 and <= {MAX_OPTIONS}, or a list "
        "of 30 of them",
    ),
    ({"edge__step_time": math.nan}, f"p: edge.step_time: found nan; allowed: {NUMBER}"),
    ({"edge__step_time": None}, f"p: edge.step_time: found None; allowed: {NUMBER}"),
    (
        {"edge__step_time": [0.1] * 29 + ["0.1"]},
        f"p: edge.step_time[29]: found '0.1'; allowed: {NUMBER}",
    ),
    ({"edge__step_time": [[0.1]] * 30}, f"p: edge.step_time[0]: found [0.1]; allowed: {NUMBER}"),
    ({"local__overhead": math.inf}, f"p: local.overhead: found inf; allowed: {NUMBER}"),
    ({"local__power": -3}, f"p: local.power: found -3; allowed: {NUMBER}"),
    ({"local__power": {"coefficient": 1}}, "p: local.power: 'frequency' is missing"),
    (
        {"local__power": {"coefficient": 1, "frequency": 1e200}},
        f"p: local.power: found inf; allowed: {NUMBER}",
    ),
    ({"local__coefficient": 1}, "p: local: 'coefficient' is unknown; allowed: max_steps, ..."),
    (
        {"edge__error": 0.5},
        "p: edge.error: found 0.5; allowed: an object with a family: exponential, "
        "exponential_floor, ...",
    ),
    (
        {"edge__error__family": "exponental"},
        "p: edge.error.family: 'exponental' is unknown; perhaps you meant 'exponential'; ...",
    ),
    (
        {"edge__error__family": 3},
        "p: edge.error.family: found 3; allowed: exponential, exponential_floor, power_floor, "
        "table",
    ),
    (
        {"edge__utility__family": "exponential"},
        "p: edge.utility.family: 'exponential' is unknown; allowed: saturating, table",
    ),
    (
        {"edge__error__floor": 0.1},
        "p: edge.error: 'floor' is unknown; allowed: family, scale, decay",
    ),
    (
        {"edge__error__decay": 0},
        "p: edge.error.decay: found 0; allowed: a finite number > 0, or a list of 30 of them",
    ),
    ({"edge__utility": {"family": "saturating"}}, "p: edge.utility: 'rate' is missing"),
    (
        {"edge__error": TABLE},
        "p: edge.error.values: found 20 values; allowed: one for each of the 50 steps up to "
        "max_steps",
    ),
    (
        {"local__error": {**TABLE, "values": 0.5}},
        "p: local.error.values: found 0.5; allowed: a list of finite numbers >= 0, or 30 such "
        "lists",
    ),
    (
        {"local__error": {**TABLE, "values": [0.5] * 19 + [-1]}},
        "p: local.error.values[19]: found -1.0; allowed: finite numbers >= 0",
    ),
    (
        {"local__error": {**TABLE, "values": [0.5] * 19 + [True]}},
        "p: local.error.values: found [0.5, 0.5, 0.5, ...",
    ),
    (
        {"local__error": {**TABLE, "values": [[0.5] * 20] * 29}},
        "p: local.error.values: found 29 lists; allowed: ...",
    ),
    (
        {"local__error": {**TABLE, "values": [[0.5] * 20] * 29 + [[0.5] * 9]}},
        "p: local.error.values[29]: found 9 values; allowed: one for...",
    ),
    (
        {"local__error": {**TABLE, "values": [[0.5] * 20] * 29 + [0.5]}},
        "p: local.error.values: found [[0.5, ...",
    ),
    (
        {"local__utility": {**TABLE, "values": [[0.5] * 20] * 29 + [[math.nan] * 20]}},
        "p: local.utility.values[29][0]: found nan; allowed: finite numbers",
    ),
    ({"deadline": -1}, f"p: deadline: found -1; allowed: {NUMBER}"),
    ({"max_error": None}, f"p: max_error: found None; allowed: {NUMBER}"),
]


@pytest.mark.parametrize("changes, line", BAD, ids=[line[3:45] for _, line in BAD])
def test_bad_input_has_its_line(changes, line):
    with pytest.raises(InputError) as error:
        Problem.from_dict(example(**changes), where="p")
    message = str(error.value)
    assert (
        message.startswith(line[:-3]) and "\n" not in message
        if line.endswith("...")
        else message == line
    )


@pytest.mark.parametrize("value", [2**31, 2**63])
def test_weights_of_all_steps_fit_64_bits(value):
    """They came round as negative numbers."""
    data = random_places(11, users=3, split=True, tier=True)
    (split,) = data["splits"]
    for field, holder in (
        ("step_weight", data["edges"]["large"]),
        ("steps", data["splits"][split]),
        ("edge_steps", data["splits"][split]),
    ):
        before = holder[field]
        holder[field] = value if field == "step_weight" else [value, *before[1:]]
        spot = "edges.large.step_weight" if field == "step_weight" else f"{field}[0]"
        with pytest.raises(InputError, match=re.escape(f"{spot}: found {value}; allowed: ")):
            Problem.from_dict(data)
        holder[field] = before
    Problem.from_dict(data)


def test_not_an_object():
    with pytest.raises(
        InputError, match=r"^p: found \[\]; allowed: an object with schema, users, "
    ):
        Problem.from_dict([], where="p")


def test_overflowing_cost():
    with pytest.raises(
        InputError,
        match="^problem: edge: user 0: the cost of 14 steps is too large to be summed up$",
    ):
        Problem.from_dict(
            example(users=1, weights__energy=1.0, edge__step_time=1e299, edge__power=1.14)
        ).cost("edge")


def test_files_that_cannot_be_read(tmp_path):
    """The line names the file."""
    broken, bare, pickled, clash = (
        tmp_path / name for name in ("broken.npz", "bare.npz", "pickled.npz", "clash.npz")
    )
    broken.write_bytes(b"PK\x03\x04 half a file")
    np.savez(pickled, users=np.array([{}], dtype=object))
    with bare.open("wb") as file:
        np.save(file, np.ones(3))
    np.savez(clash, **{"local.power": 1.0, "local.power.coefficient": 1.0})
    (tmp_path / "p.json").write_text(json.dumps(example(users=-1)))
    for path, line in [
        (tmp_path / "none.npz", "no such file"),
        (tmp_path / "none.json", "no such file"),
        (broken, "not a readable .npz file of plain arrays: "),
        (bare, "not a readable .npz file of plain arrays: "),
        (pickled, "not a readable .npz file of plain arrays: "),
        (clash, "local.power.coefficient: 'power' is a value as well; "),
        (tmp_path / "p.json", "users: found -1; allowed: an integer >= 1"),
    ]:
        with pytest.raises(InputError) as error:
            Problem.load(path)
        assert str(error.value).startswith(f"{path}: {line}") and "\n" not in str(error.value)


def test_npz_is_as_strict_as_json(tmp_path):
    path = tmp_path / "p.npz"
    Problem.from_dict(example(users=2)).save(path)
    good = dict(np.load(path))
    for name, value, line in [
        ("local.max_steps", np.array([True, False]), "local.max_steps: found array"),
        ("edge.step_time", np.array([0.1, np.nan]), "edge.step_time[1]: found nan; "),
        ("edge.step_time", np.ones((2, 2)), "edge.step_time: found array"),
        (
            "edge.stepp_time",
            np.ones(2),
            "edge: 'stepp_time' is unknown; perhaps you meant 'step_time'",
        ),
    ]:
        np.savez(path, **good | {name: value})
        with pytest.raises(InputError) as error:
            Problem.load(path)
        assert str(error.value).startswith(f"{path}: {line}")
    table = {
        "edge.error.family": "table",
        "edge.error.values": np.array([[0.5] * 50, [0.5] * 49 + [np.nan]]),
    }
    rest = {name: value for name, value in good.items() if not name.startswith("edge.error")}
    np.savez(path, **rest | table)
    with pytest.raises(
        InputError,
        match=r"edge.error.values\[1\]: found 49 values; allowed: one for each of the 50 steps",
    ):
        Problem.load(path)


def test_values_beyond_a_splits_options_are_not_read():
    """As those beyond max_steps are not; a row that was longer met a makespan in a traceback."""
    data = random_places(1, users=3, split=True, makespan=True, allowed=True)
    before = solve(Problem.from_dict(data))
    (split,) = data["splits"].values()
    for name in ("time", "allowed"):
        split[name] = [[*row, 1.0] for row in split[name]]
    assert solve(Problem.from_dict(data)).objective == before.objective


def test_a_batch_whose_only_options_have_no_room():
    """Without steps at the edge no option was left, which no array could hold."""
    data = random_places(11, users=1, split=False, makespan=True)
    data["local"]["max_steps"] = 0
    for edge in data["edges"].values():
        edge["max_steps"] = 0
    with pytest.raises(InputError, match="user 0: no step count is allowed"):
        solve(Problem.from_dict(data))
