"""Two runs on one folder at once: the second one is refused, whatever became of the first one."""

import subprocess
import sys

import pytest

from solver.inputs import InputError
from testbed.cli import main
from testbed.runs.lock import lock
from tests.conftest import ROOT

HOLD = (
    "import pathlib, sys, time\n"
    "from testbed.runs.lock import lock\n"
    "held = lock(pathlib.Path(sys.argv[1]))\n"
    "print('held' if held else 'none', flush=True)\n"
    "time.sleep(600)\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process, which has the lock on ``tmp_path / "run"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_on_a_folder_is_refused_with_the_first_ones_process(
    holder, tmp_path, small_config, capsys
):
    command = ["calibrate", str(small_config), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"process {holder.pid} runs in it" in said and said.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_kill_9_gives_the_lock_back(holder, tmp_path):
    with pytest.raises(InputError, match=f"process {holder.pid}"):
        lock(tmp_path / "run")
    holder.kill()
    holder.wait()
    assert lock(tmp_path / "run") is not None


def test_the_lock_is_held_as_long_as_someone_in_the_process_needs_it(tmp_path):
    held = lock(tmp_path / "run")
    assert lock(tmp_path / "run") is held
    del held
    done = subprocess.run(
        [sys.executable, "-c", HOLD.replace("time.sleep(600)", ""), tmp_path / "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "held\n", done.stderr


def test_the_other_processes_of_one_launch_need_no_lock(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert lock(tmp_path / "run") is None
