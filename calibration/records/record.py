"""One finished task: what was asked, what was measured, and on what machine.

A record is one line of ``records.jsonl``. Version history of its format: negative prompts,
``energy_parts_j``, ``clock_hz`` and ``batch`` were added; lines without them are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from calibration.checks import need, table
from calibration.records.task import Task
from calibration.schema import Schema, limits


@dataclass(frozen=True)
class Measured(Schema):
    """Times in seconds, energy in joules (None: not metered), quality values (None: not scored).

    ``time`` is the whole call's; ``batch`` images were made by it. ``energy_parts_j`` are the
    counters' own joules, ``clock_hz`` the mean clock of the processor. The last fields are those of
    a request that was served: its ``engine``, its ``arrival``, and its seconds in the ``queue``, in
    ``service``, and from arrival until finished (``end_to_end``).
    """

    text_time: float = limits(least=0)
    step_times: tuple[float, ...]
    decode_time: float
    time: float
    energy_j: float | None
    energy_parts_j: dict[str, float] | None = None
    clock_hz: float | None = None
    meter: str | None = None
    batch: int = 1
    clip_score: float | None = None
    distance: float | None = None
    engine: str | None = limits(omit_none=True, default=None)
    arrival: float | None = limits(omit_none=True, default=None)
    queue_time: float | None = limits(omit_none=True, default=None)
    service_time: float | None = limits(omit_none=True, default=None)
    end_to_end_time: float | None = limits(omit_none=True, default=None)
    engine_note: str | None = limits(omit_none=True, default=None)


@dataclass(frozen=True)
class Record:
    """A finished ``task``: its ``id`` in the store, what was ``measured``, the ``environment`` it
    ran in (machine, versions, threads, pipeline set-up: free-form), and its ``image``, a path
    relative to the store (None: not stored yet).
    """

    id: str
    task: Task
    measured: Measured
    environment: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as its JSON line has it."""
        values = {
            "id": self.id,
            "asked": self.task.to_dict(),
            "measured": self.measured.to_dict(),
            "environment": dict(self.environment),
        }
        return values if self.image is None else {**values, "image": self.image}

    @classmethod
    def from_dict(cls, values: object, where: str = "record") -> Self:
        """The inverse of :meth:`to_dict`; raises :class:`InputError` naming ``where``."""
        read = table(where, values, ("id", "asked", "measured", "environment", "image"))
        need(where, read, ("asked", "measured"))
        task = Task.from_dict(read["asked"], f"{where}: asked")
        measured = Measured.from_dict(read["measured"], f"{where}: measured")
        environment = table(f"{where}: environment", read.get("environment", {}))
        return cls(read.get("id", task.id), task, measured, environment, read.get("image"))
