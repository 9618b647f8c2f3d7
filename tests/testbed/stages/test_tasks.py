"""The tasks of a run: users' images, control images, and which records belong to a calibration."""

import itertools
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from calibration.records.split import Split
from calibration.records.task import ModelSpec, Task
from solver import Problem, evaluate, solve
from solver.inputs import InputError
from testbed import config
from testbed.data.prompts import open_prompts
from testbed.runs.folder import RunFolder
from testbed.stages.checks import check_execution, check_scenario
from testbed.stages.execute import execute
from testbed.stages.rig import allocated_steps
from testbed.stages.tasks import (
    EXECUTION_SEED,
    check_calibrated,
    offloaded,
    sweep_records,
    user_tasks,
)
from testbed.stages.validate import validate
from tests.calibration.world import MODELS, record

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


def test_control_images_are_made_anew_exactly_where_an_image_beside_them_is(small_config):
    """Those of another day would take that day's speed off today's times."""
    settings, problem = config.load(small_config), _problem(users=7)
    problem = replace(problem, labels={"prompt_class": ["object"] * 7})

    def tasks(steps, before=()):
        allocation = evaluate(problem, [0] * 7, steps)
        return user_tasks(settings, open_prompts("scenes"), SPECS, allocation, problem, before)

    def kept(asked, again):
        """Which control images, two behind users 0, 1 to 3, and 4 to 6, are the same."""
        pairs = zip(asked, again, strict=True)
        return [task == other for task, other in pairs if task.purpose == "anchor"]

    same, other = [2] * 7, [2, 2, 2, 2, 3, 2, 2]
    first = tasks(same)
    assert len({task.id for task in first}) == len(first)
    assert kept(first, tasks(same)) == [True] * 6
    assert kept(first, tasks(other)) == [True] * 4 + [False] * 2
    # an earlier version numbered them by user
    number = itertools.count()
    old = [
        replace(task, seed=EXECUTION_SEED + 3 * (next(number) // 2))
        if task.purpose == "anchor"
        else task
        for task in first
    ]
    made = {task.id for task in old}
    assert kept(old, tasks(same, made)) == [True] * 6
    assert kept(old, tasks(other, made)) == [True] * 4 + [False] * 2
    assert kept(first, tasks(same, made - {old[-1].id})) == [False] * 4 + [True] * 2


def test_a_problem_that_names_no_prompt_classes_is_not_executed(small_config):
    problem = _problem(users=2)
    with pytest.raises(InputError, match="p.json: labels.prompt_class is missing"):
        check_execution(config.load(small_config), problem, solve(problem))


def test_a_user_of_a_split_gets_one_task_of_both_models_and_the_edges_converged_image(small_config):
    settings, problem = config.load(small_config), _with_split(_problem(users=4))
    offload, steps, edge_steps = [0, 1, 2, 2], [3, 3, 4, 4], [0, 3, 1, 2]
    allocation = evaluate(problem, offload, steps, edge_steps=edge_steps)
    other = replace(SPEC, model="light")
    specs = {"local": other, "edge": SPEC}
    tasks = user_tasks(settings, open_prompts("scenes"), specs, allocation, problem)
    of_users = [task for task in tasks if task.purpose == "user"]
    splits = [None, None, Split("local", 1), Split("local", 2)]
    assert [task.split for task in of_users] == splits
    assert [task.local_model for task in of_users] == [None, None, other, other]
    assert [task.place for task in of_users] == ["local", "edge", "edge", "edge"]
    converged = {task.target_key for task in tasks if task.purpose == "converged"}
    assert {task.target_key for task in of_users} == converged
    assert [task.user for task in offloaded(tasks)] == [1], "both models at once: in no batch"
    assert all(Task.from_dict(task.to_dict()) == task for task in tasks)
    with pytest.raises(InputError, match="found both; allowed to be executed: .*sweep.splits"):
        check_execution(settings, problem, allocation)
    measured = replace(settings, sweep=replace(settings.sweep, splits=(4,)))
    check_execution(measured, problem, allocation)


def test_only_records_of_the_opened_models_belong_to_a_calibration(small_run):
    records = RunFolder(small_run.folder).records("calibration")
    specs = {record.task.place: record.task.spec for record in records}
    assert sweep_records(records, specs) == records
    edge = {"edge": specs["edge"]}
    assert {record.task.place for record in sweep_records(records, edge)} == {"edge"}
    assert sweep_records(records, SPECS) == []
    executed = RunFolder(small_run.folder).records("execution")
    assert sweep_records(executed, specs) == []


def test_an_image_that_was_timed_and_made_in_a_batch_counts_once():
    """A sweep that was adaptive and then fixed asks for it in both ways."""
    timed, batched, other = (
        record(steps=8, purpose=purpose, prompt=prompt)
        for purpose, prompt in (("sweep", "a"), ("untimed", "a"), ("untimed", "b"))
    )
    converged = record(steps=8, purpose="converged", prompt="a")
    records = [batched, other, timed, converged]
    assert sweep_records(records, MODELS) == [other, timed, converged]


def test_images_of_other_weights_than_those_of_the_profiles_are_refused(small_run, tmp_path):
    """A folder's or a hub's model may be another one than at the calibration."""
    folder = RunFolder(shutil.copytree(small_run.folder, tmp_path / "run"))
    tasks = folder.path / "execution" / "tasks.json"
    before = tasks.read_bytes()
    specs = {record.task.place: record.task.spec for record in folder.executed()}
    changed = {**specs, "edge": replace(specs["edge"], revision="new")}
    rig = SimpleNamespace(
        config=folder.need(config.Config), prompts=open_prompts("scenes"), specs=changed
    )
    said = "edge.revision: was calibrated as '.*', is now 'new'; `testbed calibrate`"
    with pytest.raises(InputError, match=said):
        execute(rig, folder)
    assert tasks.read_bytes() == before
    path = folder.path / "execution" / "records.jsonl"
    path.write_text(path.read_text().replace(str(specs["edge"].revision), "new"))
    with pytest.raises(InputError, match=said):
        validate(rig.config, None, folder)
    check_calibrated([], changed, folder.path)


def _with_split(problem):
    data = problem.to_dict()
    edge = {**data.pop("edge"), "budget": data.pop("edge_budget")}
    table = {name: [0.5, 0.4] for name in ("time", "energy", "error", "utility")}
    split = {"edge": "edge", "first": "local", "steps": [4, 4], "edge_steps": [1, 2], **table}
    labels = {"prompt_class": ["object"] * problem.users}
    added = {"edges": {"edge": edge}, "splits": {"both": split}, "labels": labels}
    return Problem.from_dict({**data, **added, "schema": "problem/2"}, "p.json")


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


def test_the_largest_steps_of_every_edge_are_those_that_are_measured(small_config):
    text = small_config.read_text().replace("edge_budget = 20\n", "")
    edges = '[[scenario.edges]]\nname = "cell"\nbudget = 9\nmax_steps = 64\n'
    small_config.write_text(text + edges)
    with pytest.raises(InputError, match="scenario: cell.max_steps: found 64; allowed: at most 6"):
        check_scenario(config.load(small_config))


def test_steps_at_a_second_edge_are_those_of_the_edges_model():
    allocation = replace(solve(_problem(users=3)), offload=[0, 1, 2], steps=[1, 2, 60])
    told = allocated_steps(allocation)
    assert [each["allocation: steps"] for each in told.values()] == [[1], [2, 60]]
