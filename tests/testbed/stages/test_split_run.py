"""A whole chain with split images on the embedded models, from the sweep to the report."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from calibration.records.split import Split, split_options
from solver import Problem, evaluate, solve
from testbed.cli import main
from testbed.runs.folder import RunFolder
from tests.testbed.stages.world import few_timings, pixels, records

pytestmark = pytest.mark.slow

TOTAL = 4
BYTES = 4 * 12 * 8 * 8  # of the embedded models' latents, in float32


@pytest.fixture(scope="module", autouse=True)
def hurried():
    with few_timings():
        yield


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    """The small run, to which split images were added, and its configuration."""
    base = tmp_path_factory.mktemp("splits")
    shutil.copytree(small_run.folder, base / "run")
    text = small_run.config.read_text()
    text = text.replace("[sweep]\n", f"[sweep]\nsplits = [{TOTAL}]\n")
    text = text.replace("local = { max_steps = 5 }", "local = { max_steps = 3 }")
    text = text.replace(
        "edge_budget = 20\n",
        "edge_budget = 6\ndevice_classes = { server-core = 1 }\n"
        "weights = { time = 0.0, energy = 0.0, error = 0.0, utility = 1.0 }\n",
    )
    (base / "splits.toml").write_text(text)
    assert main(["run", str(base / "splits.toml"), "--out", str(base / "run")]) == 0
    return base / "run", base / "splits.toml"


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory):
    """The same users, each with another split: executed, validated and reported."""
    out = shutil.copytree(run[0], tmp_path_factory.mktemp("shared") / "run")
    given = RunFolder.read(out).problem().to_dict()
    given["edges"]["edge"]["budget"] = 99
    problem = Problem.from_dict(given)
    options = [
        (index, int(steps), int(on_edge))
        for index, name in enumerate(problem.names)
        if name in problem.splits
        for steps, on_edge in zip(problem.splits[name].steps, problem.splits[name].edge_steps)
    ]
    offload, steps, edge_steps = zip(*(options[n % len(options)] for n in range(problem.users)))
    allocation = evaluate(problem, offload, steps, edge_steps=edge_steps)
    files = [out.parent / "problem.json", out.parent / "allocation.json"]
    problem.save(files[0])
    allocation.save(files[1])
    command = ["execute", "--problem", files[0], "--allocation", files[1], run[1], "--out", out]
    assert main([str(word) for word in command]) == 0
    for verb in ("validate", "report"):
        assert main([verb, str(out)]) == 0
    return RunFolder.read(out)


def test_the_sweep_adds_split_images_and_measures_nothing_again(run, small_run):
    made = RunFolder.read(run[0]).records("calibration")
    before = {each["id"] for each in records(small_run.folder / "calibration/records.jsonl")}
    added = [record for record in made if record.id not in before]
    assert len(before) + len(added) == len(made)
    counts = Counter((record.task.prompt_class, record.task.split) for record in added)
    assert set(counts.values()) == {3} and len(counts) == 3 * len(split_options(TOTAL))
    for record in added:
        task, handover = record.task, record.measured.handover
        assert (task.place, task.purpose, task.steps) == ("edge", "split", TOTAL)
        assert handover.bytes == BYTES and len(record.measured.step_times) == TOTAL
        assert task.local_model.model == "embedded:light" and record.measured.distance > 0


def test_profiles_gain_splits_and_keep_the_rest(run, small_run):
    before, after = (RunFolder.read(each).profiles() for each in (small_run.folder, run[0]))
    assert before.splits is None and after.splits.bytes == BYTES
    for name in before.classes():
        for place in ("local", "edge"):
            old, new = before.find(place, name), after.find(place, name)
            assert (old.error, old.utility, old.time) == (new.error, new.utility, new.time)
        points = after.splits.classes[name]
        assert {(p.split, p.steps) for p in points} == {(s, TOTAL) for s in split_options(TOTAL)}


def test_each_user_gets_its_image_made_as_its_split_says(shared):
    problem, allocation = shared.problem(), shared.allocation()
    made = [record for record in shared.executed() if record.task.purpose == "user"]
    assert len(made) == problem.users
    for record, offload, on_edge in zip(made, allocation.offload, allocation.edge_steps):
        first = problem.splits[problem.names[offload]].first
        assert record.task.split == Split(first, on_edge) and record.task.steps == TOTAL
        handover = record.measured.handover
        assert record.measured.time == pytest.approx(handover.local_time + handover.edge_time)
    images = [pixels(shared.image_path("execution", record)) for record in made]
    assert all(image.std() > 10 for image in images)
    assert not shared.serving() or not shared.validation().serving


def test_the_validation_holds_splits_against_their_predictions(shared):
    validation, allocation = shared.validation(), shared.allocation()
    assert all(user.split and user.images == 1 for user in validation.users)
    for name in ("error", "utility"):
        total = next(row for row in validation.totals if row.quantity.startswith(name))
        assert total.inside, total
        assert total.predicted == pytest.approx(getattr(allocation, name))
    assert all(user.time.measured > 0 for user in validation.users)
    page = shared.report_path.read_text()
    for user in validation.users:
        assert user.split.name(user.steps) in page
    assert (shared.path / "report" / "splits.csv").exists()


def test_the_executed_gain_of_splits_lies_in_its_interval(run, tmp_path):
    """Against the same users on the same prompts, without splits; utility counts alone."""
    shared = RunFolder.read(run[0]).validation()
    assert any(user.split for user in shared.users)
    out = shutil.copytree(run[0], tmp_path / "without")
    problem = RunFolder.read(out).problem().to_dict()
    del problem["splits"]
    alone = executed(out, run[1], problem)
    assert not any(user.split for user in alone.users)
    best, rest = (
        next(row for row in each.totals if row.quantity == "objective") for each in (shared, alone)
    )
    predicted, measured = rest.predicted - best.predicted, rest.measured - best.measured
    half = np.hypot(best.high - best.predicted, rest.high - rest.predicted)
    assert predicted > 0 and measured > 0
    assert abs(measured - predicted) <= half < abs(best.predicted)


def executed(out, config, problem):
    """The validation of the best allocation of a problem, executed in the folder ``out``."""
    path = out.parent / "p.json"
    path.write_text(json.dumps(problem))
    solve(Problem.load(path)).save(out.parent / "a.json")
    command = ["execute", "--problem", path, "--allocation", out.parent / "a.json", config]
    assert main([str(word) for word in [*command, "--out", out]]) == 0
    assert main(["validate", str(out)]) == 0
    return RunFolder.read(out).validation()
