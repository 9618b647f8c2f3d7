"""Processes of their own, forked from one that has imported what they need: to import the libraries
anew takes each of them longer than most of what it is started for.
"""

import importlib
import multiprocessing
import os
import sys
import tempfile
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.reduction import DupFd

import pytest

import testbed.cli
from tests.conftest import ROOT, draw_nothing, time_less

_IMPORTED = ["testbed.cli", "testbed.stages.run", "testbed.server.app", "testbed.report.page"]
_IMPORTED += ["testbed.server.opening", "testbed.commands.doctor", "benchmarks.serving.engine"]


class Forked:
    """``MODULE.main()`` with these arguments in a process of its own, which times batches less and
    draws no plots.

    As of :class:`subprocess.Popen`: ``pid``, ``stdout``, ``poll()``, ``communicate()``, ...
    """

    def __init__(self, *arguments, module="testbed.cli", **environment):
        fork = multiprocessing.get_context("forkserver")
        fork.set_forkserver_preload(_IMPORTED)
        self._errors = tempfile.TemporaryFile()
        reading, writing = os.pipe()
        with open(writing, "wb") as written:
            self._process = fork.Process(
                target=_run,
                args=(
                    module,
                    list(map(str, arguments)),
                    {**os.environ, **environment},
                    _Later(written.fileno()),
                    _Later(self._errors.fileno()),
                ),
            )
            self._process.start()
        self.stdout, self.pid = open(reading, encoding="utf-8"), self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        """The exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout=None):
        """The exit code, when it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, "it runs on"
        return self._process.exitcode

    def communicate(self, timeout=None):
        """What it prints on stdout and stderr until it ends."""
        with self.stdout:
            printed = self.stdout.read()
        self.wait(timeout)
        with self._errors:
            self._errors.seek(0)
            return printed, self._errors.read().decode()

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()


def prepare():
    """Fork the process that forks them from this one, whose tests have imported the libraries, too.

    To be called before any test has started a thread or changed anything. Where there is a GPU,
    which a fork of a process that asked for it cannot use, the first of them starts that process.
    """
    import torch

    if torch.cuda.is_available():
        return
    for module in _IMPORTED:
        importlib.import_module(module)
    resource_tracker.ensure_running()  # it is started in the way that is replaced
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(util, "spawnv_passfds", _fork)
        forkserver.ensure_running()


def _fork(_, arguments, descriptors):
    """As :func:`multiprocessing.util.spawnv_passfds` of an interpreter with ``-c``, which is not
    started; returns the process's id.
    """
    if process := os.fork():
        return process
    first = 3
    for number in (*sorted(descriptors), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, number)
        first = number + 1
    try:
        exec(arguments[-1], {})
    finally:
        os._exit(0)


class _Later:
    """A file descriptor that is duplicated for the process when it is started."""

    def __init__(self, number):
        self._number = number

    def __reduce__(self):
        return _opened, (DupFd(self._number),)


def _opened(duplicate):
    return duplicate.detach()


def _run(module, arguments, environment, out, errors):
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2((out, errors)[number - 1], number)
    os.close(out), os.close(errors)
    sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        time_less(patch, rounds=2)
        draw_nothing(patch)
        sys.exit(importlib.import_module(module).main())


def main():
    """As ``torchrun --standalone --nproc-per-node 2 -m testbed.cli``, with forked processes."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(config, _share)(sys.argv[1:])


def _share(arguments):
    sys.exit(testbed.cli.main(arguments))
