"""Two runs on one folder at once: the second one is refused, whatever became of the first one."""

import errno
import importlib
import multiprocessing
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from solver.inputs import InputError
from testbed import config
from testbed.cli import main
from testbed.runs import lock as lock_module
from testbed.runs.folder import RunFolder
from testbed.runs.lock import lock
from testbed.runs.store import RecordStore
from tests.testbed.runs.world import ended, filled


def hold(folder, locked):
    """Take the lock, tell of it, and keep it."""
    held = lock(folder)
    assert held
    locked.set()
    signal.pause()


@pytest.fixture
def holder(tmp_path):
    """Another process, which has the lock on ``tmp_path / "run"``."""
    fork = multiprocessing.get_context("fork")
    locked = fork.Event()
    process = fork.Process(target=hold, args=(tmp_path / "run", locked))
    process.start()
    assert locked.wait(30)
    yield process
    process.kill()
    process.join()


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
    holder.join()
    assert lock(tmp_path / "run") is not None


def test_the_lock_is_held_as_long_as_someone_in_the_process_needs_it(tmp_path):
    held = lock(tmp_path / "run")
    assert lock(tmp_path / "run") is held
    del held
    assert ended(lock, tmp_path / "run") == 0


@pytest.fixture
def launch(monkeypatch):
    """Environment of a process that a launcher started."""

    def started(rank, processes):
        for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", processes)):
            monkeypatch.setenv(name, str(value))

    return started


def test_the_other_processes_of_one_launch_need_no_lock(holder, tmp_path, launch):
    launch(1, 2)
    assert lock(tmp_path / "run") is None


def test_a_rank_of_a_job_scheduler_is_no_launch(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(InputError, match=f"process {holder.pid}"):
        lock(tmp_path / "run")


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, None])
def lockless(request, monkeypatch):
    """A file system without locks, by what it says; None: a system without fcntl, as Windows."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    module = None if request.param is None else SimpleNamespace(flock=refuse, LOCK_EX=2, LOCK_NB=4)
    monkeypatch.setattr(lock_module, "fcntl", module)
    monkeypatch.setattr(lock_module, "_warned", set())


def test_one_process_goes_on_with_a_warning_where_files_cannot_be_locked(lockless, tmp_path):
    with pytest.warns(UserWarning, match="files cannot be locked there .* goes on") as caught:
        held = lock(tmp_path)
        store = filled(tmp_path)
    assert held and len(store) == len(RecordStore(tmp_path)) == 3
    assert len(caught) == 1, "said once"


def test_several_processes_are_refused_where_files_cannot_be_locked(
    lockless, tmp_path, launch, small_config
):
    launch(0, 2)
    with pytest.raises(InputError, match="cannot be locked .*allowed: one process, or --out"):
        RunFolder.open(config.load(small_config), tmp_path / "run")
    assert not list(tmp_path.glob("run/*/*")), "before the first image"


def test_an_error_of_a_lock_that_is_another_one_is_not_hidden(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(lock_module, "fcntl", SimpleNamespace(flock=refuse, LOCK_EX=2, LOCK_NB=4))
    with pytest.raises(OSError, match="broken disk"):
        lock(tmp_path)


def import_anew():
    """Import the commands and run folders on a system without fcntl."""
    ours = ("solver", "calibration", "testbed")
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]
    sys.modules["fcntl"] = None
    importlib.import_module("testbed.cli")
    assert importlib.import_module("testbed.runs.lock").fcntl is None
    importlib.import_module("testbed.runs.folder")


def test_without_fcntl_every_verb_can_be_imported():
    assert ended(import_anew) == 0
