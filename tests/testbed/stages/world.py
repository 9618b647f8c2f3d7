"""Runs in processes of their own, killed when they have come so far, and what they left."""

import json
import os
import shutil
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw_nothing, time_less
from tests.forked import Forked


@contextmanager
def few_timings():
    """What is timed again and again for a median, which no test within looks at, is timed twice,
    and pages are made without plots, which none looks at either.
    """
    with pytest.MonkeyPatch.context() as patch:
        time_less(patch, rounds=2)
        draw_nothing(patch)
        yield


def output_of(*arguments):
    """What ``testbed`` with these arguments prints, in a process of its own, which must succeed."""
    process = Forked(*arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def records(path):
    """The lines of a file of records, as they are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def unfinished(run, folder, missing=24):
    """A copy of a finished run as if it had been stopped during its calibration.

    Its last ``missing`` images are to be made, and all that comes after; batches were timed, and
    the users were served in batches.
    Returns the copy, its file of records, and the lines that this holds.
    """
    shutil.copytree(run, folder)
    for path in [*folder.glob("*.json"), folder / "calibration" / "features.npz"]:
        if path.name not in ("config.json", "serving.json"):
            path.unlink()
    for name in ("execution", "report"):
        shutil.rmtree(folder / name)
    (folder / "report.html").unlink()
    path = folder / "calibration" / "records.jsonl"
    lost = {record["id"] for record in first_attempts(records(path))[-missing:]}
    kept = [
        line for line in path.read_bytes().splitlines(True) if json.loads(line)["id"] not in lost
    ]
    path.write_bytes(b"".join(kept))
    for name in lost:
        (folder / "calibration" / "images" / f"{name}.png").unlink()
    return folder, path, kept


def slow_down(run):
    """Let the users' images of a finished run have taken ten times as long as they did; returns the
    records.
    """
    path = run / "execution" / "records.jsonl"
    lines = records(path)
    for record in lines:
        record["measured"]["time"] *= 10
    path.write_text("".join(json.dumps(record) + "\n" for record in lines))
    return lines


def first_attempts(lines):
    """Lines of records without those of further attempts to time an image."""
    return [record for record in lines if "attempts" not in record["measured"]]


def pixels(path):
    """An image, as integers that can be subtracted."""
    return np.asarray(Image.open(path), int)


def wait_for(process, path, count):
    """Return as soon as ``path`` holds ``count`` lines."""
    deadline = time.monotonic() + 600
    while len(path.read_bytes().splitlines() if path.exists() else []) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_when(process, path, count):
    """kill -9 ``process`` as soon as ``path`` holds ``count`` lines."""
    wait_for(process, path, count)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
