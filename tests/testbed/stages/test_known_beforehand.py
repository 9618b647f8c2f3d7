"""What is known before the sweep is told then: of an own problem, of room, and of step counts."""

import pytest

import testbed
from solver import Problem, solve
from solver.inputs import InputError
from testbed import config
from testbed.cli import main
from testbed.stages import rig
from testbed.stages.checks import check_scenario
from testbed.stages.rig import allocated_steps, steps_of_users
from testbed.stages.run import check
from tests.solver.problems import example

LABELS = {"prompt_class": ["object", "object"]}


@pytest.fixture
def opened(monkeypatch):
    """The configurations and step counts that models are opened for; opening ends there."""
    asked = []

    def open_models(settings, **options):
        asked.append((settings, options["steps"]))
        raise InputError("opened")

    monkeypatch.setattr(rig, "Rig", open_models)
    return asked


def problem(**changes):
    return Problem.from_dict(example(users=2, **changes) | {"labels": LABELS}, "p.json")


def refuse(problem):
    raise ValueError("not this one")


def test_an_infeasible_problem_is_refused_before_a_model_is_opened(small_config, tmp_path, opened):
    nobody = problem(local__max_steps=0, edge_budget=1)
    with pytest.raises(InputError, match="edge_budget"):
        testbed.run(config.load(small_config), tmp_path / "run", problem=nobody)
    assert not opened and not (tmp_path / "run").exists()


def test_a_method_that_cannot_take_the_problem_is_refused_before_the_sweep(small_config, tmp_path):
    with pytest.raises(InputError, match="refuse: ValueError: not this one"):
        check(config.load(small_config), tmp_path / "run", f"{__name__}:refuse", problem())


def test_samplers_are_asked_about_the_steps_of_ones_own_problem(small_config, tmp_path, opened):
    own = problem()
    with pytest.raises(InputError, match="opened"):
        testbed.run(config.load(small_config), tmp_path / "run", problem=own)
    ((_, steps),) = opened
    assert steps == allocated_steps(solve(own)) != steps_of_users(config.load(small_config))


@pytest.mark.parametrize(
    "edge, room",
    [
        ("edge_budget = 5\n", 5),
        ('edges = [{ name = "a", budget = 9, slots = 2 }, { name = "b", budget = 3 }]\n', 5),
        ('edges = [{ name = "a", budget = 9, max_steps = 0 }, { name = "b", budget = 4 }]\n', 4),
    ],
)
def test_an_edge_with_too_little_room_for_all_is_refused_before_the_sweep(small_config, edge, room):
    text = small_config.read_text().replace("max_steps = 5", "max_steps = 0")
    small_config.write_text(text.replace("edge_budget = 20\n", edge))
    with pytest.raises(InputError, match=f"local.max_steps: found 0, .* 6 users .* for {room} at"):
        check_scenario(config.load(small_config))
    small_config.write_text(text.replace("edge_budget = 20\n", "edge_budget = 6\n"))
    check_scenario(config.load(small_config))


def test_samplers_are_asked_about_the_steps_of_every_edge(small_config):
    text = small_config.read_text().replace("edge_budget = 20\n", "")
    text = text.replace("edge = { max_steps = 6 }", "edge = { max_steps = 2 }")
    small_config.write_text(text + 'edges = [{ name = "cell", budget = 9, max_steps = 6 }]\n')
    steps = steps_of_users(config.load(small_config))
    assert [max(map(max, counts.values())) for counts in steps.values()] == [5, 6]


def test_a_run_from_python_settles_what_the_command_line_settles(small_config, tmp_path, opened):
    text = small_config.read_text().replace("prompts_per_class = 3\n", "")
    small_config.write_text(text.replace("converged_steps = 12\n", "").replace(", 6]", ", 6, 96]"))
    with pytest.raises(InputError, match="opened"):
        testbed.run(testbed.load_config(small_config), tmp_path / "run")
    assert main(["run", str(small_config), "--out", str(tmp_path / "run")]) == 2
    (own, _), (given, _) = opened
    assert own == given and own.sweep.converged_steps == 192
