"""problem/1: what is read is what was written, the curves are the paper's, and each wrong input has
its one line.
"""

import copy
import json
import math

import numpy as np
import pytest

from solver.inputs import InputError
from solver.problem import MAX_OPTIONS, Problem


def example(**changes):
    """The example of the format: 30 equal users, the paper's curves."""
    curves = {
        "error": {"family": "exponential", "scale": 1.0, "decay": 0.1},
        "utility": {"family": "saturating", "rate": 0.1},
    }
    problem = {
        "schema": "problem/1",
        "users": 30,
        "edge_budget": 300,
        "weights": {"cost": 0.5, "utility": 0.5, "time": 0.333, "error": 0.333, "energy": 0.333},
        "local": {
            "max_steps": 20,
            "step_time": 0.002,
            "overhead": 0.0,
            "power": 0.03375,
            **copy.deepcopy(curves),
        },
        "edge": {
            "max_steps": 50,
            "step_time": 0.001,
            "overhead": 0.0,
            "power": 10.0,
            **copy.deepcopy(curves),
        },
    }
    return edited(problem, **changes)


def edited(problem, **changes):
    """``problem`` with ``place__field=value``; a value of ``...`` deletes the field."""
    for name, value in changes.items():
        *parents, leaf = name.split("__")
        node = problem
        for parent in parents:
            node = node[parent]
        if value is ...:
            del node[leaf]
        else:
            node[leaf] = value
    return problem


def ragged():
    """Two users: lists, a table of different lengths, both optional limits, every optional field."""
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


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("data", [example(), ragged()], ids=["scalars", "lists"])
def test_round_trip(tmp_path, data, suffix):
    """Written and read again, in either format, a problem is the same object."""
    path = tmp_path / f"problem.{suffix}"
    problem = Problem.from_dict(data)
    problem.save(path)
    assert problem.to_dict() == data
    assert Problem.load(path).to_dict() == data
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # nothing half-written is left


def test_npz_made_by_hand(tmp_path):
    """Dotted names, schema too, as anyone's numpy would write them."""
    path = tmp_path / "p.npz"
    data, flat = example(users=2, edge__step_time=[0.5, 0.25]), {}
    for key, value in data.items():
        for name, inner in value.items() if isinstance(value, dict) else [(None, value)]:
            for last, leaf in inner.items() if isinstance(inner, dict) else [(None, inner)]:
                flat[".".join(part for part in (key, name, last) if part)] = np.asarray(leaf)
    assert {"schema", "edge.step_time", "local.error.decay"} <= set(flat)
    np.savez(path, **flat)
    assert Problem.load(path).to_dict() == data


def test_costs_are_equation_8():
    """Every entry against the formulas, one by one, in plain Python."""
    w1, w2, c1, c2, c3 = 0.3, 0.7, 0.2, 0.5, [0.3, 0.9]
    data = edited(
        ragged(),
        weights={"cost": w1, "utility": w2, "time": c1, "error": c2, "energy": c3},
        edge__overhead=0.04,
        edge__max_steps=[4, 3],
        edge__error={"family": "power_floor", "scale": 1.5, "exponent": [0.7, 1.2], "floor": 0.02},
    )
    cost = Problem.from_dict(data).cost("edge")
    assert cost.shape == (2, 4)
    for user in range(2):
        for s in range(1, 5):
            time = 0.04 + s * [0.001, 0.25][user]
            error = 1.5 * s ** -[0.7, 1.2][user] + 0.02
            value = w1 * (c1 * time + c2 * error + c3[user] * 10.0 * time) - w2 * (
                1 - math.exp(-0.1 * s)
            )
            allowed = s <= [4, 3][user] and time <= 5.0 and error <= [0.5, 0.6][user]
            assert cost[user, s - 1] == (pytest.approx(value, rel=1e-14) if allowed else math.inf)
    assert np.isfinite(cost).any() and not np.isfinite(cost).all()


def test_tables_and_floor():
    problem = Problem.from_dict(ragged())
    np.testing.assert_array_equal(problem.error("local"), [[0.9, 0.5, 0.4], [0.3, np.nan, np.nan]])
    np.testing.assert_array_equal(problem.utility("local"), [[0.1, -0.2, 0.3]] * 2)
    np.testing.assert_allclose(
        problem.error("edge")[1, :2],
        [2 * math.exp(-0.3) + 0.05, 2 * math.exp(-0.6) + 0.05],
        rtol=1e-14,
    )
    assert np.isfinite(problem.cost("local")).tolist() == [
        [False, True, True],
        [True, False, False],
    ]  # min_steps, max_error


@pytest.mark.parametrize("inside", [True, False], ids=["value of power", "in place of power"])
def test_paper_power(inside):
    """Eqs. (5), (6): k f^3; 0.01 x 1.5^3 = 0.03375 W."""
    paper = {"coefficient": 0.01, "frequency": [1.5] * 29 + [3.0]}
    data = example(local__power=paper) if inside else example(local__power=...)
    data["local"] |= {} if inside else paper
    energy = Problem.from_dict(data).energy("local")
    assert energy[0, 9] == pytest.approx(0.03375 * 10 * 0.002, rel=1e-14)
    assert energy[29, 9] == pytest.approx(8 * energy[0, 9], rel=1e-14)


def test_min_steps_for_both_places():
    """Beside deadline and max_error it holds for both, unless a place has its own."""
    problem = Problem.from_dict(example(min_steps=4, edge__min_steps=2))
    assert (np.isfinite(problem.cost("local")).sum(), np.isfinite(problem.cost("edge")).sum()) == (
        30 * 17,
        30 * 49,
    )


def test_a_limit_counts_as_met_where_equal():
    problem = Problem.from_dict(example(users=1, edge__step_time=0.25, deadline=1.0))
    assert np.isfinite(problem.cost("edge")).sum() == 4


def test_whole_floats_are_integers():
    assert (
        Problem.from_dict(
            example(users=30.0, edge_budget=3e2, local__max_steps=np.float64(20))
        ).to_dict()
        == example()
    )


def test_large_columns():
    """As many users as anyone will have, from arrays: the whole table equals the formula."""
    users = 50_000
    step_time = np.random.default_rng(0).uniform(0.001, 0.1, users)
    problem = Problem.from_dict(
        example(users=users, edge__step_time=step_time, weights__utility=0.0, weights__error=0.0)
    )
    want = 0.5 * 0.333 * (1 + 10.0) * step_time[:, None] * np.arange(1, 51)
    np.testing.assert_allclose(problem.cost("edge"), want, rtol=1e-13)


NUMBER = "a finite number >= 0, or a list of 30 of them"
STEPS = f"an integer >= 0 and <= {MAX_OPTIONS // 30}, or a list of 30 of them"
TABLE = {"family": "table", "values": [0.5] * 20}
BAD = [  # a line that ends in ... is only the beginning
    ({"schema": "problem/2"}, "p: schema: found 'problem/2'; allowed: problem/1"),
    ({"users": ...}, "p: 'users' is missing"),
    ({"users": 0}, f"p: users: found 0; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"users": True}, f"p: users: found True; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"users": [30]}, f"p: users: found [30]; allowed: an integer >= 1 and <= {MAX_OPTIONS}"),
    ({"edge_budget": -1}, "p: edge_budget: found -1; allowed: an integer >= 0"),
    ({"edge_budget": 10.5}, "p: edge_budget: found 10.5; allowed: an integer >= 0"),
    ({"edge_budget": "300"}, "p: edge_budget: found '300'; allowed: an integer >= 0"),
    (
        {"edge_budgt": 3},
        "p: 'edge_budgt' is unknown; perhaps you meant 'edge_budget'; allowed: schema, users, edge_budget, ...",
    ),
    (
        {"weights": 1},
        "p: weights: found 1; allowed: an object with cost, utility, time, error, energy",
    ),
    ({"weights__time": ...}, "p: weights: 'time' is missing"),
    ({"weights__cost": -0.5}, f"p: weights.cost: found -0.5; allowed: {NUMBER}"),
    (
        {"local": [1]},
        "p: local: found [1]; allowed: an object with max_steps, step_time, overhead, power, error, utility",
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
        f"p: edge.min_steps: found 0; allowed: an integer >= 1 and <= {MAX_OPTIONS}, or a list of 30 of them",
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
        "p: edge.error: found 0.5; allowed: an object with a family: exponential, exponential_floor, ...",
    ),
    (
        {"edge__error__family": "exponental"},
        "p: edge.error.family: 'exponental' is unknown; perhaps you meant 'exponential'; ...",
    ),
    (
        {"edge__error__family": 3},
        "p: edge.error.family: found 3; allowed: exponential, exponential_floor, power_floor, table",
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
        "p: edge.error.values: found 20 values; allowed: one for each of the 50 steps up to max_steps",
    ),
    (
        {"local__error": {**TABLE, "values": 0.5}},
        "p: local.error.values: found 0.5; allowed: a list of finite numbers >= 0, or 30 such lists",
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
    found = str(error.value)
    assert (
        found.startswith(line[:-3]) and "\n" not in found if line.endswith("...") else found == line
    )


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


def test_labels_survive_both_formats_and_wrong_ones_are_named(tmp_path):
    data = example(labels={"prompt_class": ["scene"] * 30})
    for name in ("p.json", "p.npz"):
        Problem.from_dict(data).save(tmp_path / name)
        assert Problem.load(tmp_path / name).labels == data["labels"]
    for wrong in (["scene"], "scene", [1] * 30):
        with pytest.raises(
            InputError, match="labels.prompt_class: found .*; allowed: a list of 30 strings"
        ):
            Problem.from_dict(example(labels={"prompt_class": wrong}))
