"""Each stage works from the files of a run folder alone, as a verb of its own."""

import json
import shutil
from pathlib import Path

import pytest

from testbed.cli import main
from testbed.runs.folder import RunFolder
from tests.testbed.stages.world import first_attempts, output_of, records

PRODUCTS = ("profiles", "scenario", "problem", "allocation", "baselines", "validation")


@pytest.fixture
def run(small_run, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(small_run.folder, tmp_path / "run"))


def values(folder, name):
    """A product, without the seconds that a solver took."""
    product = json.loads((folder / f"{name}.json").read_text())
    return {**product, "seconds": 0} if name == "allocation" else product


def images(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in sorted(folder.glob("*/images/*"))
    }


@pytest.fixture(scope="module")
def elsewhere(small_run, tmp_path_factory):
    """Files of a scenario, a problem and an allocation, made of a run's profiles outside of it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    scenario, problem, allocation = (folder / name for name in ("s.toml", "p.json", "a.json"))
    scenario.write_text(
        "users = 4\nedge_budget = 9\nlocal = { max_steps = 3 }\nedge = { max_steps = 5 }\n"
    )
    profiles = ["--profiles", str(small_run.folder / "profiles.json")]
    assert main(["problem", *profiles, "--scenario", str(scenario), "-o", str(problem)]) == 0
    assert main(["solve", str(problem), "-o", str(allocation)]) == 0
    return scenario, problem, allocation


def execute(elsewhere, small_run, out):
    """Execute the allocation in the folder ``out``."""
    _, problem, allocation = map(str, elsewhere)
    files = ["--allocation", allocation, "--problem", problem, str(small_run.config)]
    assert main(["execute", *files, "--out", str(out)]) == 0


@pytest.mark.slow
def test_the_stages_one_by_one_give_what_a_run_in_one_process_gives(small_run, run, capsys):
    """The measurements are kept, as times differ from run to run; an image is made again, then its
    record is put back. No stage runs in the process of the one before it: three that open models,
    which takes seconds, run in that of the tests, and the others in their own.
    """

    def said_here(*arguments):
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    for name in PRODUCTS:
        (run / f"{name}.json").unlink()
    (run / "calibration" / "features.npz").unlink()
    (run / "execution" / "tasks.json").unlink()
    (run / "report.html").unlink()
    executed = run / "execution" / "records.jsonl"
    measured, last = executed.read_bytes(), records(executed)[-1]
    kept = [line for line in measured.splitlines(True) if last["id"].encode() not in line[:40]]
    executed.write_bytes(b"".join(kept))
    (run / "execution" / last["image"]).unlink()

    assert said_here("calibrate", small_run.config, "--out", run) == f"{run / 'profiles.json'}\n"
    assert output_of("allocate", run) == f"{run / 'allocation.json'}\n"
    problem, allocation = run.parent / "p.json", run.parent / "a.json"
    scenario = ["--scenario", run / "scenario.json"]
    output_of("problem", "--profiles", run / "profiles.json", *scenario, "-o", problem)
    output_of("solve", problem, "-o", allocation)
    files = ["--allocation", allocation, "--problem", problem]
    out = said_here("execute", *files, small_run.config, "--out", run)
    assert out.splitlines()[-1] == str(executed)
    assert [record["id"] for record in records(executed)][-1] == last["id"]
    executed.write_bytes(measured)
    assert output_of("validate", run).splitlines()[-1] == str(run / "validation.json")
    assert said_here("batch", run) == f"{run / 'serving.json'}\n"
    assert output_of("report", run) == f"{run / 'report.html'}\n"

    for name in (*PRODUCTS, "serving", "config"):
        assert values(run, name) == values(small_run.folder, name), name
    assert images(run) == images(small_run.folder)


def test_a_problem_and_an_allocation_from_elsewhere_are_executed_and_validated(
    run, elsewhere, small_run, capsys
):
    """`testbed execute` once left a folder that nothing could validate."""
    execute(elsewhere, small_run, run)
    assert not (run / "validation.json").exists(), "it was of another allocation"
    assert main(["batch", str(run)]) == 0
    assert main(["validate", str(run)]) == 2, "the scenario is of another problem"
    assert "--scenario" in capsys.readouterr().err
    assert main(["validate", str(run), "--scenario", str(elsewhere[0])]) == 0
    folder = RunFolder.read(run)
    validation, allocated = folder.validation(), folder.allocation()
    assert [user.steps for user in validation.users] == allocated.steps
    assert all(user.images == 1 for user in validation.users) and len(validation.users) == 4
    offloaded = [user for user, place in enumerate(allocated.offload) if place]
    assert list(validation.serving.users) == offloaded


def test_an_execution_without_a_calibration_says_what_a_validation_needs(
    elsewhere, small_run, tmp_path, capsys
):
    out = tmp_path / "execution"
    execute(elsewhere, small_run, out)
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "execution" / "records.jsonl")
    made = [
        record
        for record in first_attempts(records(out / "execution" / "records.jsonl"))
        if record["asked"]["purpose"] == "user"
    ]
    steps = json.loads(elsewhere[2].read_text())["steps"]
    assert [record["asked"]["steps"] for record in made] == steps
    for verb in ("batch", "validate"):
        assert main([verb, str(out)]) == 2
        assert "is missing; `testbed " in capsys.readouterr().err


def test_users_are_served_in_batches_again_where_nothing_was_kept(run, small_run, capsys):
    (run / "serving.json").unlink()
    assert main(["batch", str(run)]) == 0
    again, before = RunFolder.read(run).serving(), RunFolder.read(small_run.folder).serving()
    assert (again.asked, again.users, again.cap) == (before.asked, before.users, before.cap)
    assert [row.predicted for row in again.requests] == [row.predicted for row in before.requests]
    assert again.runs != before.runs


def test_features_that_were_not_kept_whole_are_extracted_again(run, small_run):
    (run / "calibration" / "features.npz").write_bytes(b"damaged")
    assert main(["validate", str(run)]) == 0
    assert values(run, "validation") == values(small_run.folder, "validation")
    assert RunFolder.read(run).features().ids == RunFolder.read(small_run.folder).features().ids


def test_an_unfinished_execution_is_not_validated(run, capsys):
    executed = run / "execution" / "records.jsonl"
    executed.write_bytes(executed.read_bytes().split(b"\n", 1)[1])
    assert main(["validate", str(run)]) == 2
    assert "1 of 16 images are missing; `testbed execute`" in capsys.readouterr().err
