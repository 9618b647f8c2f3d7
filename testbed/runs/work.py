"""Tasks on their way into a store: their converged images, what times so far say, what failed."""

import warnings
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from calibration.records.task import Task
from calibration.sweep.calls import UNTIMED, Call
from calibration.sweep.disturbance import DISTURBED, Disturbances
from solver.inputs import InputError
from testbed.engines.threads import Threads
from testbed.environment import alike
from testbed.metrics.pixels import distance
from testbed.runs.failures import FailureLog
from testbed.runs.store import Pixels, RecordStore


def open_calls(
    calls: Sequence[Call],
    store: Container[str],
    failed: Container[str],
    before: Container[str],
    processes: int,
) -> list[Call]:
    """The ``calls`` with tasks that ``store`` does not hold, without those that ``failed``.

    A call is made as a whole again, so that its images are the same. What failed ``before``, when
    an earlier process tried, is made without the others. So is what is missing where more calls are
    half done than an interruption of so many ``processes`` leaves: the sweep has grown.
    """
    chosen: list[Call] = []
    half_done: list[tuple[int, Call]] = []
    for call in calls:
        tasks = tuple(t for t in call.tasks if t.id not in store and t.id not in failed)
        if tasks and all(task.id in before for task in tasks):
            call = replace(call, tasks=tasks)
        elif tasks and len(tasks) < len(call.tasks):
            half_done.append((len(chosen), replace(call, tasks=tasks)))
        if tasks:
            chosen.append(call)
    if len(half_done) > processes:
        for index, rest in half_done:
            chosen[index] = rest
    return chosen


def interrupted(
    store: RecordStore, tasks: Sequence[Task], processes: int, attempts: int
) -> set[str]:
    """The ids of the ``tasks`` whose image was disturbed, and whose process was killed before it
    had timed it again, up to ``attempts`` times: of each process the last in ``store`` alone.
    """
    last, disturbances = set(list(store)[-processes:]), Disturbances()
    timed = [task for task in tasks if task.purpose not in UNTIMED and task.id in store]
    for task in timed:
        if task.id not in last:
            disturbances.add(task, store[task.id].measured)
    measured = [(task, store[task.id].measured) for task in timed if task.id in last]
    return {
        task.id
        for task, of_task in measured
        if of_task.attempts < attempts and disturbances.excess(task, of_task) > DISTURBED
    }


def check_setups(
    store: RecordStore,
    tasks: Sequence[Task],
    setups: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, Any],
    threads: Mapping[str, Threads],
) -> None:
    """Raise :class:`InputError` where earlier records of ``tasks`` were measured on other set-ups
    than these, by place, or timed on another machine than that of the ``environment``: their times
    would not compare with those of the images that are missing.

    Another torch, or other ``threads``, by place, are warned of.
    """
    for task in tasks:
        before = store[task.id].environment.get("pipeline") if task.id in store else None
        for name, value in setups[task.place].items():
            if before and before[name] != value:
                raise InputError(
                    f"{store.path}: {task.place}.{name}: was {before[name]!r} when this run "
                    f"began, now {value!r}; {_way_back(name, before[name])}"
                )
    _check_machine(store, tasks, environment, threads)


def _way_back(name: str, before: Any) -> str:
    """What to do where a set-up's ``name`` is not what it was; not all of them are keys."""
    if name == "link":
        return "allowed: the preset and method of [link] as they were, or another --out"
    if name == "resolution" and isinstance(before, str):
        return "allowed: a server that makes images of that size, or another --out"
    return f"set {name} = {before!r}"


def _check_machine(
    store: RecordStore,
    tasks: Sequence[Task],
    environment: Mapping[str, Any],
    threads: Mapping[str, Threads],
) -> None:
    timed = {task.id: task for task in tasks if task.purpose not in UNTIMED}
    missing = {(task.place, task.spec) for task in timed.values() if task.id not in store}
    changes = set()
    for record in store.records() if missing else []:
        task, before = record.task, record.environment
        # a fit takes all of a sweep, and a server times itself
        counts = task.purpose == "sweep" or task.id in timed
        if not counts or (task.place, task.spec) not in missing or record.measured.transfer:
            continue
        machine, now = before.get("machine"), environment["machine"]
        if isinstance(machine, str) and not alike(machine, now):
            raise InputError(
                f"{store.path}: {task.place}: found images that were timed on {machine!r}, and "
                f"others are missing; this machine is {now!r}; allowed: the same machine, or "
                "another --out"
            )
        used = threads[task.place].single if task.place in threads else None
        for name, value in (("torch", environment["torch"]), ("threads", used)):
            if None not in (value, before.get(name)) and value != before[name]:
                changes.add(
                    f"{store.path}: {task.place}: images were timed with {name} {before[name]}, "
                    f"and others are now with {value}: their times may not compare"
                )
    for said in sorted(changes):
        warnings.warn(said, stacklevel=3)


class Work:
    """``tasks`` to be recorded in ``store``, with the progress ``bar`` of a run."""

    def __init__(self, store: RecordStore, tasks: Sequence[Task], bar: tqdm) -> None:
        self.store, self.tasks, self.bar = store, tasks, bar
        self.failures = FailureLog(store.folder)
        self.converged = {task.target_key: task.id for task in tasks if task.purpose == "converged"}
        self.disturbances = Disturbances()
        for task in tasks:
            if task.purpose not in UNTIMED and task.id in store:
                self.disturbances.add(task, store[task.id].measured)

    def distance(self, task: Task, image: Pixels) -> float | None:
        """The distance of an image to its converged one; None where there is none."""
        target = self.converged.get(task.target_key)
        if target == task.id:
            return 0.0
        if target is None or target not in self.store:
            return None
        return distance(image, self.store.image(target))

    def attempt(self, task: Task) -> AbstractContextManager[None]:
        """What the work on ``task`` fails of is its own failure."""
        return self.failures.attempt(task.id, task, kept=self.store)
