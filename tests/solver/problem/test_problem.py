"""problem/1: what is read is what was written, and the costs are the paper's."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from solver import InputError, Problem
from tests.solver.problems import (
    edited,
    example,
    ragged,
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


def test_the_example_of_the_documentation_is_the_papers_instance():
    text = (Path(__file__).parents[3] / "docs" / "solver.md").read_text()
    block = text.partition("The paper's setting")[2].partition("```json")[2].partition("```")[0]
    assert Problem.from_dict(json.loads(block)).to_dict() == example()


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


def test_a_budget_beyond_64_bits_survives_a_file_of_either_kind(tmp_path):
    values = example(edge_budget=10**30)
    for name in ("p.json", "p.npz"):
        Problem.from_dict(values).save(tmp_path / name)
        assert Problem.load(tmp_path / name).edge_budget == pytest.approx(10**30, rel=1e-15)
