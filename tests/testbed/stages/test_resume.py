"""Runs that were killed, shared by two processes, or begun a second time."""

import json
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from testbed.cli import main
from testbed.runs.folder import RunFolder
from tests.forked import Forked
from tests.testbed.stages.world import (
    first_attempts,
    kill_when,
    pixels,
    records,
    unfinished,
    wait_for,
)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_images_and_values(
    small_run, tmp_path, undrawn
):
    """In the middle of a batch of its calibration, then after the first images of its execution."""
    out, calibration, before = unfinished(small_run.folder, tmp_path / "run")
    execution = out / "execution" / "records.jsonl"
    kept = {}
    for path, count in ((calibration, len(before) + 4), (execution, 5)):
        kill_when(Forked("run", small_run.config, "--out", out), path, count)
        kept[path] = path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
    allocation = (out / "allocation.json").read_bytes()
    assert main(["run", str(small_run.config), "--out", str(out)]) == 0
    # what had been finished was not done again, in either stage
    assert all(path.read_bytes().startswith(lines) for path, lines in kept.items())
    ids = [record["id"] for path in kept for record in first_attempts(records(path))]
    assert len(ids) == len(set(ids))
    # nothing that was decided changed by being interrupted
    old, new = json.loads(allocation), json.loads((out / "allocation.json").read_bytes())
    assert {**old, "seconds": 0} == {**new, "seconds": 0}
    # the images and their values are those of the undisturbed run
    by_id = {
        record["id"]: record for record in records(small_run.folder / "calibration/records.jsonl")
    }
    mine = records(calibration)
    assert {record["id"] for record in mine} == set(by_id)
    for record in mine:
        other = by_id[record["id"]]
        ours = pixels(out / "calibration" / record["image"])
        theirs = pixels(small_run.folder / "calibration" / other["image"])
        assert np.abs(ours - theirs).max() == 0, record["asked"]
        for value in ("clip_score", "distance"):
            assert record["measured"][value] == other["measured"][value]


@pytest.mark.slow
def test_two_processes_make_what_one_makes_and_one_that_dies_costs_only_what_it_had_not_finished(
    small_run, tmp_path
):
    run = small_run.folder
    out, path, before = unfinished(run, tmp_path / "run")
    command = ["run", small_run.config, "--out", out]
    first = Forked(*command, module="tests.forked")
    wait_for(first, path, len(before) + 4)
    workers = psutil.Process(first.pid).children()
    assert len(workers) == 2
    workers[1].kill()
    first.communicate(timeout=120)
    assert first.returncode != 0
    kept = path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
    again = Forked(*command, module="tests.forked")
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    assert said.splitlines()[-1] == str(out / "report.html")
    assert said.count("report.html") == 1
    assert path.read_bytes().startswith(kept)
    mine, theirs = (
        {record["id"]: record for record in records(folder / "calibration" / "records.jsonl")}
        for folder in (out, run)
    )
    assert mine.keys() == theirs.keys() and len(mine) == len(first_attempts(records(path)))
    for key, record in mine.items():
        ours, other = (pixels(folder / "calibration" / record["image"]) for folder in (out, run))
        # torchrun gives each process one thread: sums round otherwise
        assert np.abs(ours - other).max() <= 1, record["asked"]
        assert record["measured"]["clip_score"] == pytest.approx(
            theirs[key]["measured"]["clip_score"], abs=0.5
        )
    made = first_attempts(records(out / "execution" / "records.jsonl"))
    assert len({record["id"] for record in made}) == len(made)
    ours, other = (_frechet(folder) for folder in (out, run))
    assert ours == pytest.approx(other, rel=0.01)


def _frechet(run):
    """The Fréchet distances of a run's sweep, in order."""
    return [
        point.value
        for place in RunFolder.read(run).profiles().places
        for profile in place.classes
        for point in profile.frechet
    ]


def test_a_finished_run_does_nothing_again(small_run, tmp_path, capsys, undrawn):
    """Nor where products that are made of records were damaged meanwhile: they are made again."""
    run = Path(shutil.copytree(small_run.folder, tmp_path / "run"))
    products = [run / name for name in ("profiles.json", "problem.json", "execution/tasks.json")]
    for path in products:
        path.write_text('{"half')
    before = {path: path.read_bytes() for path in run.glob("*/records.jsonl")}
    assert main(["run", str(small_run.config), "--out", str(run)]) == 0
    assert {path: path.read_bytes() for path in run.glob("*/records.jsonl")} == before
    said = capsys.readouterr()
    assert said.out.strip() == str(run / "report.html")
    for path in products:
        assert f"the damaged one is kept as {path.name}.damaged" in said.err
        assert path.with_name(f"{path.name}.damaged").read_text() == '{"half'
