"""Run jobs one after another, each in a process group of its own, for a bounded time.

The processes are forked from one that has imported the libraries, which takes longer than many a
job. Nothing may touch the GPU before the fork: where something did, the child starts Python anew.
"""

import faulthandler
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from benchmarks.gpu.notes import Notes, said
from benchmarks.gpu.setting import Setting

LAST_LINES = 80
_LEAST_SECONDS = 3.0  # under which no job is begun
_TRIAL_PATIENCE = 4  # times as long as on a GPU, where a trial shares its cores with others
_POLL = 0.05  # s between two looks at a job's process
_PATIENCE = 10.0  # s that a killed process is waited for: one in the driver may not end


Run = Callable[[Notes, Setting], str]


@dataclass(frozen=True)
class Job:
    """A measurement: ``run(notes, setting)`` notes what it measures and returns a line that tells
    it. ``run`` may be ``MODULE:NAME`` of :mod:`benchmarks.gpu.jobs`, which is imported where it
    runs. ``seconds``: at most; ``needs``: packages without which it is left out; ``trial``: whether
    a trial on a CPU runs it.
    """

    part: str
    name: str
    seconds: float
    run: Run | str
    needs: tuple[str, ...] = ()
    trial: bool = True

    def function(self) -> Run:
        """What runs."""
        if not isinstance(self.run, str):
            return self.run
        module, _, name = self.run.partition(":")
        return getattr(importlib.import_module(f"benchmarks.gpu.jobs.{module}"), name)


def run_jobs(jobs: Sequence[Job], out: Path, setting: Setting, seconds: float) -> bool:
    """Run ``jobs`` within ``seconds`` in all, a line for each; returns whether all are done."""
    end, states = time.monotonic() + seconds, []
    for job in jobs:
        notes, left = Notes(out, job.part, job.name), end - time.monotonic()
        missing = [name for name in job.needs if importlib.util.find_spec(name) is None]
        if missing:
            notes.begin(state="left out", reason=f"not installed: {', '.join(missing)}")
        elif left < _LEAST_SECONDS:
            notes.begin(state="left out", reason="the time was over")
        else:
            most = job.seconds * (_TRIAL_PATIENCE if setting.small else 1)
            _run(job, notes, replace(setting, ends=time.monotonic() + min(most, left)))
        states.append(report(notes))
    return states == ["done"] * len(jobs)


def report(notes: Notes) -> str:
    """Print how a job ended; returns its state."""
    job = notes.read()
    spent = f"{job['seconds']:.0f} s" if "seconds" in job else ""
    text = job["line"] if job["state"] == "done" else f"{job['state']}: {job['reason']}"
    print(f"{notes.part + ' ' + notes.job:16}{spent:>6}  {text}", flush=True)
    return job["state"]


def _run(job: Job, notes: Notes, setting: Setting) -> None:
    start = time.monotonic()
    notes.begin(state="running", shrink=setting.shrink)
    with tempfile.TemporaryFile() as log:
        pid = os.fork()
        if not pid:
            _child(job, notes, setting, log.fileno())
        _lead_group(pid)
        try:
            code = _wait(pid, setting.ends)
        finally:
            _kill(pid)
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    seconds = time.monotonic() - start
    notes.add(seconds=seconds)
    if code is None:
        _wait(pid, time.monotonic() + _PATIENCE)
        notes.add(state="failed", reason=f"stopped after {seconds:.0f} s")
    elif code < 0:
        notes.add(state="failed", reason=f"ended by {signal.Signals(-code).name}")
    elif notes.read()["state"] == "running":
        notes.add(state="failed", reason=f"ended with exit code {code}")
    if code != 0:
        notes.add(last_lines=lines)


def _wait(pid: int, end: float) -> int | None:
    """The exit code of a child, minus the signal's number if one ended it; None if it runs on."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(_POLL)


def _lead_group(pid: int) -> None:
    """Make a process the leader of a group of its own; parent and child both do, as either may be
    the first to need it.
    """
    try:
        os.setpgid(pid, pid)
    except OSError:  # it has ended, or runs another program already
        pass


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _child(job: Job, notes: Notes, setting: Setting, log: int) -> NoReturn:
    code = 1
    try:
        _lead_group(os.getpid())
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (open(fd, "w", buffering=1, closefd=False) for fd in (1, 2))
        if _is_in_bad_fork():
            command = [sys.executable, "-m", "benchmarks.gpu", str(notes.path.parent)]
            command += ["--job", f"{job.part}.{job.name}", "--seconds", f"{setting.left:.1f}"]
            command += ["--device", setting.device] + ["--shrink"] * setting.small
            os.execv(sys.executable, command)
        code = run_here(job, notes, setting)
    except BaseException:
        traceback.print_exc()
    finally:  # it must never go on as its parent does
        os._exit(code)


def _is_in_bad_fork() -> bool:
    """Whether the process that this one was forked from had touched the GPU, as torch sees it."""
    torch = sys.modules.get("torch")
    return torch is not None and getattr(torch.cuda, "_is_in_bad_fork", lambda: False)()


def run_here(job: Job, notes: Notes, setting: Setting) -> int:
    """Run a job in this process; returns 0 when it is done, 1 where it failed."""
    faulthandler.enable(2)
    if setting.left < float("inf"):  # where it hangs is told before it is killed
        faulthandler.dump_traceback_later(max(0.1, setting.left - 1.0), file=2)
    try:
        setting.prepare()
        line = job.function()(notes, setting)
    # a job may fail in any way: the next ones are to run
    except BaseException as error:
        traceback.print_exc()
        notes.add(state="failed", reason=said(error))
        return 1
    finally:
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        sys.stderr.flush()
    notes.add(state="done", line=line)
    return 0
