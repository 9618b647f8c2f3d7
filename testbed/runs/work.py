"""Tasks on their way into a store: their converged images, what times so far say, what failed."""

from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from calibration.records.task import Task
from calibration.sweep.calls import UNTIMED, Call
from calibration.sweep.disturbance import Disturbances
from solver.inputs import InputError
from testbed.metrics.pixels import distance
from testbed.runs.failures import FailureLog
from testbed.runs.store import Pixels, RecordStore


def open_calls(
    calls: Sequence[Call], store: RecordStore, failed: Container[str], before: Container[str]
) -> list[Call]:
    """The ``calls`` with tasks that ``store`` does not hold, without those that ``failed``.

    A call is made as a whole again, so that its images are the same. What failed ``before``, when
    an earlier process tried, is made without the others.
    """
    chosen = []
    for call in calls:
        tasks = tuple(t for t in call.tasks if t.id not in store and t.id not in failed)
        if tasks:
            alone = all(task.id in before for task in tasks)
            chosen.append(replace(call, tasks=tasks) if alone else call)
    return chosen


def check_setups(
    store: RecordStore, tasks: Sequence[Task], setups: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise :class:`InputError` where earlier records of ``tasks`` were measured on other set-ups
    than these, by place: their times would not compare.
    """
    for task in tasks:
        before = store[task.id].environment.get("pipeline") if task.id in store else None
        for name, value in setups[task.place].items():
            if before and before[name] != value:
                raise InputError(
                    f"{store.path}: {task.place}.{name}: was {before[name]!r} when this run "
                    f"began, now {value!r}; set {name} = {before[name]!r}"
                )


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
