"""Images that could not be made: a line for each in ``failures.jsonl``, beside the records.

A record stays what it always was, a finished task. The same command tries again what failed.
"""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from calibration.records.task import Task
from calibration.schema import Schema, frozen, limits
from solver.inputs import check_kind
from testbed.runs.damaged import unless_damaged
from testbed.runs.lines import ForeignFile, append, whole
from testbed.runs.store import begins_a_record

NAME = "failures.jsonl"
_LONGEST = 500  # characters of a reason


@frozen
class Failure(Schema):
    """A ``task`` whose image, ``id`` in the store, could not be made, and the ``reason``."""

    id: str
    task: Task = limits(key="asked")
    reason: str


class FailureLog:
    """The failures of a store's ``folder`` in the last attempt."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def add(self, task_id: str, task: Task, error: Exception) -> Failure:
        """Write down what a task failed of."""
        said = " ".join(str(error).split())[:_LONGEST]
        failure = Failure(task_id, task, f"{type(error).__name__}: {said}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append(self.path, json.dumps(failure.to_dict()), begins_a_record)
        return failure

    @contextmanager
    def attempt(self, task_id: str, task: Task, kept: Container[str] = ()) -> Iterator[None]:
        """What the work on ``task`` fails of is its own failure, is written down, and ends nothing.

        Errors of the disk go through: no other task would be spared them. What is in ``kept`` was
        measured again in vain, and keeps its record.
        """
        try:
            yield
        except (OSError, ForeignFile):
            raise
        except Exception as error:
            if task_id not in kept:
                self.add(task_id, task, error)

    def failures(self) -> list[Failure]:
        """All of them, but for the beginning of a last line; raises :class:`InputError` naming a
        line that is none.
        """
        if not self.path.exists():
            return []
        check_kind(self.path)
        lines = whole(self.path, self.path.read_bytes())
        return [Failure.from_dict(values, where) for where, values in lines]

    def earlier(self) -> list[Failure]:
        """Those of an earlier process; none, with a warning, where the file is damaged."""
        return unless_damaged(self.failures, self.path) or []

    def forget(self) -> None:
        """Begin anew: they are tried again."""
        self.path.unlink(missing_ok=True)

    def summary(self, title: str, images: int) -> str:
        """How many of ``images`` failed and why the first did, in one line."""
        failures = self.failures()
        return (
            f"{title}: {len(failures)} of {images} images failed, the first of them of "
            f"{failures[0].reason} (all: {self.path}); the same command tries these again"
        )
