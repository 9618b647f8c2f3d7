"""A run folder: what it takes for its own, and what it holds."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest

from calibration.profiles.profile import Profiles
from solver import inputs
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import Problem
from testbed import config
from testbed.report.format import toml
from testbed.report.run import missing
from testbed.runs import guard
from testbed.runs.failures import FailureLog
from testbed.runs.folder import RunFolder
from tests.testbed.runs.world import IMAGE, ended, filled, record


@pytest.fixture
def settings(small_config):
    return config.load(small_config)


def changed(path, old, new):
    """The configuration in ``path`` with a change."""
    path.write_text(path.read_text().replace(old, new))
    return config.load(path)


def open_and_die(settings, path):
    """Open a run folder; kill -9 comes in the moment before ``config.json`` is there."""
    inputs.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    RunFolder.open(settings, path)


def test_kill_9_while_the_configuration_is_first_written_does_not_pin_the_folder(
    tmp_path, settings
):
    assert ended(open_and_die, settings, tmp_path / "run") == -9
    assert list((tmp_path / "run").glob(".config.json.*"))
    folder = RunFolder.open(settings, tmp_path / "run")
    assert folder.config() == settings
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "config.json"]


def test_parts_of_files_that_killed_writers_left_are_swept_and_nothing_else(tmp_path, settings):
    folder = RunFolder.open(settings, tmp_path / "run")
    filled(folder.path / "calibration")
    parts = [
        folder.path / ".problem.json.abcd_123",
        folder.path / "calibration" / ".batches.json.abcd_123",
        folder.path / "calibration" / "images" / ".id0.png.abcd_123",
        folder.path / ".report.html.abcd_123",
        folder.path / ".online.svg.abcd_123",
        folder.path / "report" / ".run.toml.abcd_123",
        folder.path / "report" / ".splits.csv.abcd_123",
        folder.path / "online" / "1" / ".000007.png.abcd_123",
        folder.path / "online" / "references" / "images" / ".a.png.abcd_123",
    ]
    others = [folder.path / ".notes.txt.abcd_123", folder.path / ".problem.json.backup-of-mine"]
    for path in parts + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    RunFolder.open(settings, folder.path)
    assert not any(path.exists() for path in parts) and all(path.exists() for path in others)
    assert len(list((folder.path / "calibration" / "images").iterdir())) == 3


def test_the_root_of_a_disk_of_its_own_is_a_folder_for_a_run(tmp_path, settings):
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    assert RunFolder.open(settings, tmp_path / "disk").config() == settings
    assert (tmp_path / "disk" / "lost+found").is_dir()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("thesis.txt", "mine", "not empty and not a run folder; choose another --out"),
        ("config.json", '{"mine": 1}', "config.json: schema: found None; allowed: 'run/1'"),
        ("config.json", "mine", "config.json: not valid JSON"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, settings, name, content, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        RunFolder.open(settings, folder)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == content


def test_a_folder_that_cannot_be_is_refused_before_anything_is_opened(
    tmp_path, settings, monkeypatch
):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: found a file; allowed: a folder"):
        guard.check(settings, tmp_path / "file" / "run")
    guard.check(settings, tmp_path / "a" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write all
    with pytest.raises(InputError, match="cannot be written to; allowed: a folder that can"):
        guard.check(settings, tmp_path / "a" / "run")


def test_a_configuration_is_compared_only_if_something_was_measured(
    tmp_path, small_config, settings
):
    folder = RunFolder.open(settings, tmp_path / "run")
    other = changed(small_config, "converged_steps = 12", "converged_steps = 20")
    assert RunFolder.open(other, folder.path).config() == other
    filled(folder.path / "calibration", count=1)
    with pytest.raises(InputError, match="sweep: this run folder was made with .*20.*not .*12"):
        RunFolder.open(settings, folder.path)
    assert folder.config() == other


@pytest.mark.parametrize(
    "old, new",
    [
        ("prompts_per_class = 3", "prompts_per_class = 5"),
        ("steps = [1, 2, 3, 6]", "steps = [1, 2, 3, 6, 9]"),
        ("images_per_user = 1", "images_per_user = 2"),
        ("users = 6", "users = 7"),
    ],
)
def test_a_measured_sweep_may_grow_and_its_scenario_change(
    tmp_path, small_config, settings, old, new
):
    folder = RunFolder.open(settings, tmp_path / "run")
    filled(folder.path / "execution", count=1)
    other = changed(small_config, old, new)
    assert RunFolder.open(other, folder.path).config() == other


def test_a_run_folder_of_before_prompts_had_noises_of_their_own_is_not_mixed_with_them(
    tmp_path, small_config, settings
):
    folder = RunFolder.open(settings, tmp_path / "run")
    filled(folder.path / "calibration", count=1)
    before = json.loads((folder.path / "config.json").read_text())
    del before["sweep"]["noise"]
    (folder.path / "config.json").write_text(json.dumps(before))
    with pytest.raises(
        InputError, match="sweep: this run folder was made with .*'noise': 'shared'"
    ):
        RunFolder.open(settings, folder.path)
    shared = 'converged_steps = 12\nnoise = "shared"'
    again = changed(small_config, "converged_steps = 12", shared)
    assert RunFolder.open(again, folder.path).config() == again


def test_a_run_folder_of_before_sweeps_were_timed_in_part_is_refused_and_can_still_be_read(
    tmp_path, settings
):
    folder = RunFolder.open(settings, tmp_path / "run")
    filled(folder.path / "calibration", count=1)
    before = json.loads((folder.path / "config.json").read_text())
    del before["sweep"]["timed"]
    (folder.path / "config.json").write_text(json.dumps(before))
    with pytest.raises(InputError, match="sweep.timed is missing: .*choose another --out"):
        RunFolder.open(settings, folder.path)
    assert json.loads((folder.path / "config.json").read_text()) == before
    assert RunFolder.read(folder.path).config().sweep.steps == settings.sweep.steps


def test_what_is_missing_is_named_with_the_verb_that_makes_it(tmp_path, settings):
    folder = RunFolder.open(settings, tmp_path / "run")
    assert folder.profiles() is None and folder.records("calibration") == []
    assert missing(folder) == [
        "calibration records (calibration/records.jsonl): `testbed calibrate` makes them",
        "execution records (execution/records.jsonl): `testbed execute` makes them",
        "fitted profiles (profiles.json): `testbed calibrate` makes it",
        "scenario (scenario.json): `testbed allocate` makes it",
        "problem (problem.json): `testbed allocate` makes it",
        "allocation (allocation.json): `testbed allocate` makes it",
        "predictions held against measurements (validation.json): `testbed validate` makes it",
    ]
    with pytest.raises(
        InputError, match="profiles.json .* is missing; `testbed calibrate` makes it"
    ):
        folder.need(Profiles)
    with pytest.raises(InputError, match="tasks.json: no such file; `testbed execute`"):
        folder.executed()


def test_a_lost_configuration_is_put_back_or_taken_from_the_report(
    tmp_path, small_config, settings
):
    folder = RunFolder.open(settings, tmp_path / "run")
    filled(folder.path / "calibration", count=1)
    kept = (folder.path / "config.json").read_bytes()
    (folder.path / "config.json").unlink()
    said = "config.json.* is missing; put it back, .* or choose another --out"
    with pytest.raises(InputError, match=said):
        folder.need(config.Config)
    with pytest.raises(InputError, match=said):
        RunFolder.open(settings, folder.path)
    reported = folder.path / "report" / "run.toml"
    reported.parent.mkdir()
    reported.write_text(toml(replace(settings, defaulted=()).to_dict()))
    with pytest.raises(InputError, match="put it back, .* or give .*run.toml as CONFIG"):
        folder.need(config.Config)
    other = changed(small_config, "converged_steps = 12", "converged_steps = 20")
    with pytest.raises(InputError, match="run.toml: sweep: this run folder was made with"):
        RunFolder.open(other, folder.path)
    assert RunFolder.open(config.load(reported), folder.path).config() == config.load(reported)
    (folder.path / "config.json").write_bytes(kept)
    assert RunFolder.open(settings, folder.path).config() == settings


def test_the_images_of_records_are_read_without_touching_the_folder(tmp_path, settings):
    folder = RunFolder.open(settings, tmp_path / "run")
    folder.store("execution").add(record("a"), IMAGE)
    (made,) = folder.records("execution")
    assert (folder.image("execution", made) == IMAGE).all()
    assert folder.image_path("execution", made) == folder.path / "execution/images/a.png"


@pytest.mark.parametrize(
    "name, content, message",
    [
        (None, None, "no such folder"),
        ("notes.txt", "hello", "not a run folder: it has none of config.json, profiles.json"),
        ("config.json", '{"schema": "run/2"}', "schema: found 'run/2'; allowed: 'run/1'"),
        ("allocation.json", "{", "allocation.json: not valid JSON"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, name, content, message):
    path = tmp_path / "run"
    if name:
        path.mkdir()
        (path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        RunFolder.read(path).config()


def test_baselines_are_a_list(tmp_path, settings):
    folder = RunFolder.open(settings, tmp_path / "run")
    (folder.path / "baselines.json").write_text("{}")
    with pytest.raises(InputError, match="baselines.json: found dict; allowed: a list"):
        folder.baselines()


def test_the_beginning_of_a_last_failure_is_none(tmp_path):
    log = FailureLog(tmp_path)
    failure = log.add("a", record("a").task, ValueError("one"))
    with open(log.path, "a") as file:
        file.write('{"id": "b", "asked": {"pl')
    assert log.failures() == [failure]
    log.add("c", record("c").task, ValueError("two"))
    assert [each.id for each in log.failures()] == ["a", "c"]


def test_a_folder_is_read_where_its_reference_is_not(tmp_path, settings):
    photos = tmp_path / "photos"
    photos.mkdir()
    quality = replace(settings.quality, reference=str(photos))
    folder = RunFolder.open(replace(settings, quality=quality), tmp_path / "run")
    photos.rmdir()
    assert folder.need(config.Config).quality.reference == str(photos)


def test_another_allocation_leaves_no_validation_of_the_one_before(small_run, tmp_path):
    folder = RunFolder(shutil.copytree(small_run.folder, tmp_path / "run"))
    problem, allocation = folder.need(Problem), folder.need(Allocation)
    folder.adopt(problem, allocation)
    assert folder.validation() is not None
    (folder.path / "allocation.json").write_text("{")
    with pytest.warns(UserWarning, match="the damaged one is kept as allocation.json.damaged"):
        folder.adopt(problem, allocation)
    assert folder.validation() is None and folder.need(Allocation) == allocation


def test_other_profiles_or_images_have_no_verdicts(small_run, tmp_path):
    for name in ("profiles", "tasks"):
        folder = RunFolder(shutil.copytree(small_run.folder, tmp_path / name))
        profiles, tasks = folder.need(Profiles), [record.task for record in folder.executed()]
        folder.save(profiles)
        folder.save_tasks(tasks)
        assert folder.validation() is not None and folder.report_path.exists()
        if name == "profiles":
            folder.save(replace(profiles, environment={"torch": "another"}))
        else:
            folder.save_tasks(tasks[1:])
        assert folder.validation() is None and not folder.report_path.exists()
