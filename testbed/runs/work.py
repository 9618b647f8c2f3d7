"""Tasks on their way into a store: their converged images, what times so far say, what failed."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from tqdm import tqdm

from calibration.records.task import Task
from calibration.sweep.calls import UNTIMED, Call
from calibration.sweep.disturbance import Disturbances
from solver.inputs import InputError
from testbed.metrics.pixels import distance
from testbed.runs.failures import FailureLog
from testbed.runs.store import ForeignFile, Pixels, RecordStore

Made = TypeVar("Made")


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


def in_batch_or_alone(
    tasks: Sequence[Task], make: Callable[[Sequence[Task]], Iterator[tuple[Task, Made]]]
) -> Iterator[tuple[Task, Made | Exception]]:
    """Each of ``tasks`` with what ``make`` gives of all together, or its own error.

    Where making them together fails, those that are not done yet are made one by one, so that what
    fails of one is its own. An image made alone may differ from one of a batch in its last bits.
    """
    done: set[str] = set()
    try:
        for task, made in make(tasks):
            done.add(task.id)
            yield task, made
        return
    except Exception as error:
        if len(tasks) == 1:
            yield tasks[0], error
            return
    for task in tasks:
        if task.id not in done:
            yield from in_batch_or_alone([task], make)


class Work:
    """``tasks`` to be recorded in ``store``, with the progress ``bar`` of a run."""

    def __init__(self, store: RecordStore, tasks: Sequence[Task], bar: tqdm) -> None:
        self.store, self.tasks, self.bar = store, tasks, bar
        self.failures = FailureLog(store.folder)
        self.converged = {task.target_key: task.id for task in tasks if task.purpose == "converged"}
        self.disturbances = Disturbances()
        for task in tasks:
            if task.purpose not in UNTIMED and task.id in store:
                self.disturbances.add(task.place, store[task.id].measured)

    def distance(self, task: Task, image: Pixels) -> float | None:
        """The distance of an image to its converged one; None where there is none."""
        target = self.converged.get(task.target_key)
        if target == task.id:
            return 0.0
        if target is None or target not in self.store:
            return None
        return distance(image, self.store.image(target))

    @contextmanager
    def attempt(self, task: Task) -> Iterator[None]:
        """What the work on ``task`` fails of is its own failure, is written down, and ends nothing.

        Errors of the disk go through: no other task would be spared them.
        """
        try:
            yield
        except (OSError, ForeignFile):
            raise
        except Exception as error:
            if task.id not in self.store:  # measured again in vain, it keeps its record
                self.failures.add(task.id, task, error)
