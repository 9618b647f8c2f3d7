"""The tasks of a run: users' images, control images, and which records belong to a calibration."""

from dataclasses import replace

import pytest

from calibration.records.task import ModelSpec
from solver import Problem, solve
from solver.inputs import InputError
from testbed import config
from testbed.data.prompts import open_prompts
from testbed.runs.folder import RunFolder
from testbed.stages.tasks import (
    EXECUTION_SEED,
    check_execution,
    offloaded,
    sweep_records,
    user_tasks,
)

SPEC = ModelSpec("m", device="cpu", dtype="float32", scheduler="s", guidance=3.0)
SPECS = {"local": SPEC, "edge": SPEC}


def test_control_images_lie_between_those_of_users(small_config):
    settings = config.load(small_config)
    problem = replace(_problem(users=5), labels={"prompt_class": ["object"] * 5})
    allocation = solve(problem)
    tasks = user_tasks(settings, open_prompts("scenes"), SPECS, allocation, problem)
    purposes = [task.purpose for task in tasks]
    user, control = ["converged", "user"], ["anchor", "anchor"]
    assert purposes == [*user, *control, *user, *user, *user, *control, *user]
    assert {task.place for task in tasks if task.purpose == "anchor"} == {"local", "edge"}
    assert {task.steps for task in tasks if task.purpose == "anchor"} == {3}
    assert len({task.prompt for task in tasks if task.purpose == "user"}) == 5
    assert all(task.seed >= EXECUTION_SEED for task in tasks)
    served = offloaded(tasks)
    assert [task.user for task in served] == [n for n, a in enumerate(allocation.offload) if a]


def test_a_problem_that_names_no_prompt_classes_is_not_executed(small_config):
    problem = _problem(users=2)
    with pytest.raises(InputError, match="p.json: labels.prompt_class is missing"):
        check_execution(config.load(small_config), problem, solve(problem))


def test_only_records_of_the_opened_models_belong_to_a_calibration(small_run):
    records = RunFolder(small_run.folder).records("calibration")
    specs = {record.task.place: record.task.spec for record in records}
    assert sweep_records(records, specs) == records
    edge = {"edge": specs["edge"]}
    assert {record.task.place for record in sweep_records(records, edge)} == {"edge"}
    assert sweep_records(records, SPECS) == []
    executed = RunFolder(small_run.folder).records("execution")
    assert sweep_records(executed, specs) == []


def _problem(users):
    place = {
        "max_steps": 4,
        "step_time": 1.0,
        "overhead": 0.0,
        "power": 1.0,
        "error": {"family": "exponential", "scale": 1.0, "decay": 0.5},
        "utility": {"family": "saturating", "rate": 0.5},
    }
    weights = {"cost": 0.5, "utility": 0.5, "time": 0.01, "error": 1.0, "energy": 0.01}
    values = {"schema": "problem/1", "users": users, "edge_budget": 8, "weights": weights}
    edge = {**place, "step_time": 0.1}
    return Problem.from_dict({**values, "local": place, "edge": edge}, "p.json")
