"""Records and images for the tests of run folders, and processes that use them."""

import multiprocessing

import numpy as np

from calibration.records.record import Measured, Record
from calibration.records.task import Task
from testbed.runs.store import RecordStore

IMAGE = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
TASK = Task(
    place="edge",
    model="m",
    device="cpu",
    dtype="float32",
    scheduler="s",
    prompt="a big red ball",
    prompt_class="object",
    seed=0,
    steps=2,
    guidance=3.0,
)


def record(name, time=1.0):
    """A record of an image that took ``time`` seconds."""
    return Record(name, TASK, Measured(0.1, (0.2, 0.2), 0.1, time, energy_j=None))


def ended(target, *args):
    """The exit code of a call in a process of its own: 1 where it raises, -9 where it is killed."""
    process = multiprocessing.get_context("fork").Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode


def filled(folder, count=3):
    """A store with records ``id0``, ``id1``, ..., each with an image of its own."""
    store = RecordStore(folder)
    for i in range(count):
        store.add(record(f"id{i}", i / 7), IMAGE + i)
    return store
