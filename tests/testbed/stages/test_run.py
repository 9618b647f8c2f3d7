"""A whole run on the embedded models: what it leaves in its folder, and what is true of it."""

import json
import shutil
from pathlib import Path

import pytest

import solver
from testbed.cli import main
from testbed.report.run import missing
from testbed.runs.folder import RunFolder
from tests.testbed.stages.world import slow_down


@pytest.fixture(scope="module")
def folder(small_run):
    return RunFolder.read(small_run.folder)


def test_a_run_ends_with_the_path_of_its_report(small_run):
    report = small_run.folder / "report.html"
    assert small_run.out.splitlines()[-1] == str(report)
    assert report.stat().st_size > 50_000


def test_every_stage_left_its_file(small_run):
    schemas = {
        name: json.loads((small_run.folder / f"{name}.json").read_text())["schema"]
        for name in ("config", "profiles", "scenario", "problem", "allocation", "validation")
    }
    assert schemas == {
        "config": "run/1",
        "profiles": "profiles/2",
        "scenario": "scenario/1",
        "problem": "problem/1",
        "allocation": "allocation/1",
        "validation": "validation/1",
    }
    assert missing(RunFolder.read(small_run.folder)) == []


def test_the_offloaded_users_were_served_in_batches_and_their_completion_predicted(folder):
    serving, allocation = folder.serving(), folder.allocation()
    offloaded = [user for user, place in enumerate(allocation.offload) if place]
    assert list(serving.users) == offloaded != []
    assert serving.images.compared == len(offloaded) and serving.images.largest_difference <= 1
    assert all(
        row.low <= row.predicted <= row.high and row.measured > 0 for row in serving.requests
    )
    totals = {total.quantity for total in folder.validation().totals}
    assert {"edge in batches: makespan", "edge in batches: time (sum)"} <= totals
    assert "Completion, edge in batches" in folder.report_path.read_text()
    batches = json.loads((folder.path / "calibration" / "batches.json").read_text())
    assert set(batches["timings"]["tick"][0]) == {1, 2, 4}


def test_every_user_got_its_images_as_allocated(folder):
    allocation = folder.allocation()
    made = [record for record in folder.executed() if record.task.purpose == "user"]
    assert [(record.task.place, record.task.steps) for record in made] == [
        (("local", "edge")[place], steps)
        for place, steps in zip(allocation.offload, allocation.steps)
    ]
    for record in made:
        measured = record.measured
        assert folder.image_path("execution", record).is_file()
        assert len(measured.step_times) == record.task.steps
        assert measured.distance > 0 and 0 <= measured.clip_score <= 100
        assert measured.energy_j is None or measured.energy_j > 0


def test_execution_uses_prompts_and_seeds_that_calibration_did_not(folder):
    calibrated = [record.task for record in folder.records("calibration")]
    executed = [
        record.task for record in folder.records("execution") if record.task.purpose != "anchor"
    ]
    for field in ("prompt", "seed"):
        assert not {getattr(task, field) for task in calibrated} & {
            getattr(task, field) for task in executed
        }


def test_the_allocation_is_the_proven_optimum_of_the_problem(folder):
    allocation = folder.allocation()
    assert allocation.status == "optimal"
    assert solver.solve(folder.problem(), "milp").objective == pytest.approx(
        allocation.objective, rel=1e-7
    )


def test_other_methods_stand_beside_the_optimum(folder):
    baselines = {baseline.solver: baseline for baseline in folder.baselines()}
    assert {"exact", "greedy", "random", "paper"} <= baselines.keys()
    assert baselines["exact"].objective == folder.allocation().objective
    assert all(
        baseline.objective >= baselines["exact"].objective - 1e-9 for baseline in folder.baselines()
    )


def test_the_error_falls_with_the_steps(folder):
    for place in folder.profiles().places:
        for profile in place.classes:
            values = [point.value for point in profile.error.points]
            assert values[-1] < 0.7 * values[0], (place.place, profile.prompt_class)


@pytest.mark.slow
def test_a_prediction_that_fails_is_named_and_with_strict_the_exit_code_says_so(
    small_run, tmp_path, undrawn, capsys
):
    """Without it the code is 0: :mod:`test_failures` has a run of that kind."""
    run = Path(shutil.copytree(small_run.folder, tmp_path / "run"))
    slow_down(run)
    assert main(["run", str(small_run.config), "--out", str(run), "--strict"]) == 1
    assert main(["validate", str(run)]) == 0 and main(["validate", str(run), "--strict"]) == 1
    said = capsys.readouterr()
    assert said.err.count("FAIL: time (sum): predicted ") == 3
    assert said.out.splitlines()[-3:] == [
        str(run / "report.html"),
        str(run / "validation.json"),
        str(run / "validation.json"),
    ]
