"""Shared fixtures: a small run configuration on the embedded models, and a finished run of it."""

import contextlib
import io
import os
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock
from hypothesis.internal.conjecture import providers

import testbed

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a network
# the same examples each time; `--hypothesis-profile default` looks for others
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.load_profile("fixed")
# constants of whatever modules are loaded by then would make them others
providers._get_local_constants = lambda: providers._local_constants

# where it lies; it must be imported before torch, which then reads how long threads wait
ROOT = Path(testbed.__file__).parent.parent
SMALL = """
[local]
model = "embedded:light"
[edge]
model = "embedded:edge"
[quality]
reference_size = 40
[sweep]
steps = [1, 2, 3, 6]
prompts_per_class = 3
timed = 2
converged_steps = 12
batches = [1, 2, 4]
[execute]
images_per_user = 1
[scenario]
users = 6
edge_budget = 20
local = { max_steps = 5 }
edge = { max_steps = 6 }
"""


@dataclass(frozen=True)
class SmallRun:
    """A finished run's ``folder``, its ``config`` file, and what it printed (``out``)."""

    folder: Path
    config: Path
    out: str


@pytest.fixture
def small_config(tmp_path):
    """Path of a configuration that runs the whole chain in seconds."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, worker_id):
    """A whole run of the small configuration, finished in one go; tests that write copy it.

    The first process of the tests that needs it makes it, with the torch that it has loaded.
    """
    folder = make_once("small", _run_small, tmp_path_factory, worker_id)
    return SmallRun(folder / "run", folder / "small.toml", (folder / "said").read_text())


def make_once(name, make, tmp_path_factory, worker_id):
    """A folder ``name`` that all processes of the tests share: the first one that asks for it fills
    it by ``make(folder)``, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _run_small(folder):
    from testbed.cli import main

    config = folder / "small.toml"
    config.write_text(SMALL)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        time_less(patch)
        assert main(["run", str(config), "--out", str(folder / "run")]) == 0
    (folder / "said").write_text(said.getvalue())


def time_less(patch, rounds=4):
    """Batches are timed and served fewer times than in a run whose numbers count, and no image is
    timed again because other processes, as those of the tests, disturbed it.
    """
    from testbed.commands import doctor
    from testbed.engines.timing import time_batches
    from testbed.stages import batch, calibrate, executor

    patch.setattr(doctor, "_ROUNDS", 2)
    patch.setattr(calibrate, "time_batches", partial(time_batches, rounds=rounds))
    patch.setattr(batch, "RUNS", 2)
    patch.setattr(executor, "ATTEMPTS", 1)


def draw_nothing(patch):
    """Pages are made without plots, which take most of a report's time."""
    from testbed.report import agreement, allocation
    from testbed.report.curves import batching, equal_time, plot

    for module in (agreement, allocation, batching, equal_time, plot):
        patch.setattr(module, "svg_uri", lambda *_, **__: "data:image/svg+xml;base64,")


@pytest.fixture
def undrawn(monkeypatch):
    """As :func:`draw_nothing` says."""
    draw_nothing(monkeypatch)


def pytest_collection_modifyitems(items):
    import torch

    items.sort(key=_turns(items))

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def pytest_collection_finish(session):
    """What slow tests start in processes of their own is forked from this one as it is now."""
    forked = sys.modules.get("tests.forked")
    if forked and any("slow" in item.keywords for item in session.items):
        forked.prepare()


def _turns(items):
    """The key of the order in which files are dealt to the processes (by their number of tests,
    unless ``--no-loadscope-reorder`` is given): the long ones of whole runs first. The first of
    them makes the shared run; meanwhile another process has those that need none.
    """
    long = [item for item in items if {"stages", "scripts"} & set(item.path.parts)]
    paths = {item.path for item in long}
    sharing = [item.path for item in long if "small_run" in item.fixturenames]
    return lambda item: (item.path not in paths, item.path not in sharing[:1], item.path in sharing)
