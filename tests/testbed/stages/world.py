"""Runs in processes of their own, killed when they have come so far, and what they left."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image

from tests.conftest import ROOT


def start(*arguments):
    """Start ``testbed`` with these arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(*arguments):
    """What ``testbed`` with these arguments prints, in a process of its own, which must succeed."""
    process = start(*arguments)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out


def records(path):
    """The lines of a file of records, as they are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
