"""One finished task: what was asked, what was measured, and on what machine.

A record is one line of ``records.jsonl``. Version history of the format, of which every version is
read: at first the times, ``energy_j``, ``meter``, ``clip_score`` and ``distance`` of an image; then
``energy_parts_j``, ``clock_hz`` and ``batch``; then negative prompts, and the times of served
requests; then ``attempts``; then the ``transfer`` of an image that a server made; then the
``handover`` of a split image.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from calibration.records.split import HandOver
from calibration.records.task import Task
from calibration.schema import Schema, frozen, limits


@frozen
class Transfer(Schema):
    """How an image came from a server: seconds to ``connect`` (of which the TCP handshake took
    ``round_trip``), to ``send`` the request, to ``wait`` for the answer, to ``receive`` it; bytes
    of both, with their heads.

    ``server``: seconds that the server says it took, None where it does not. ``retries``: how often
    it said to come again. ``basis``: measured, or emulated where the ``link`` is, which is then its
    name and method. ``quoted``: seconds until done as the server quoted them on arrival, and
    whether the interval that it gave was ``kept``; None where it quotes none.
    """

    round_trip: float = limits(least=0)
    connect: float = limits(least=0)
    send: float = limits(least=0)
    wait: float = limits(least=0)
    receive: float = limits(least=0)
    bytes_up: int = limits(least=0)
    bytes_down: int = limits(least=0)
    server: float | None = limits(least=0, default=None)
    retries: int = limits(least=0, default=0)
    basis: str = limits(choices=("measured", "emulated"), default="measured")
    link: str | None = limits(omit_none=True, default=None)
    quoted: float | None = limits(least=0, omit_none=True, default=None)
    kept: bool | None = limits(omit_none=True, default=None)

    @property
    def total(self) -> float:
        """Seconds from the beginning until the answer was there."""
        return self.connect + self.send + self.wait + self.receive

    @property
    def service(self) -> float:
        """Seconds that count as the server's: what it says, else the wait."""
        return self.wait if self.server is None else min(self.server, self.total)

    @property
    def seconds(self) -> float:
        """Seconds on the way."""
        return self.total - self.service


@frozen
class Measured(Schema):
    """Times in seconds, energy in joules (None: not metered), quality values (None: not scored).

    ``time`` is that of the whole call, which made ``batch`` images (of a served request: the mean
    number of requests that shared its calls). ``energy_parts_j`` are each counter's joules,
    ``clock_hz`` the mean clock of the processor. A served request also has its ``engine``, its
    ``arrival``, and its seconds in the queue, in service, and from arrival until finished.
    ``attempts``: how often the image was measured because of disturbances; this is the least
    disturbed measurement. Of a server's image ``time`` is the server's, and ``step_times`` are
    equal parts of what it says of its steps, or none; how it came is its ``transfer``. Of a split
    image ``step_times`` and ``text_time`` are those of both models, and ``handover`` tells them
    apart.
    """

    text_time: float = limits(least=0)
    step_times: tuple[float, ...]
    decode_time: float
    time: float
    energy_j: float | None
    energy_parts_j: dict[str, float] | None = None
    clock_hz: float | None = None
    meter: str | None = None
    batch: int | float = 1
    clip_score: float | None = None
    distance: float | None = None
    engine: str | None = limits(omit_none=True, default=None)
    arrival: float | None = limits(omit_none=True, default=None)
    queue_time: float | None = limits(omit_none=True, default=None)
    service_time: float | None = limits(omit_none=True, default=None)
    end_to_end_time: float | None = limits(omit_none=True, default=None)
    engine_note: str | None = limits(omit_none=True, default=None)
    transfer: Transfer | None = limits(omit_none=True, default=None)
    handover: HandOver | None = limits(omit_none=True, default=None)
    attempts: int = limits(least=1, default=1)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; a served request has no quality values, not even null, and a single
        attempt is not told.
        """
        values = super().to_dict()
        if self.attempts == 1:
            del values["attempts"]
        if self.engine is not None and self.clip_score is None:
            del values["clip_score"], values["distance"]
        return values


@frozen
class Record(Schema):
    """A finished ``task``: its ``id`` in the store, what was ``measured``, the ``environment`` it
    ran in (machine, versions, threads, pipeline set-up: free-form), and its ``image``, a path
    relative to the store (None: not stored yet).
    """

    id: str
    task: Task = limits(key="asked")
    measured: Measured
    environment: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = limits(omit_none=True, default=None)


def as_of(tasks: Sequence[Task], records: Sequence[Record]) -> list[Record]:
    """``records`` of ``tasks``, in the same order, with the distances that these tasks ask for.

    A distance is kept only where the converged image is among ``tasks``. What follows from the
    result is then the same whatever other images were made before, and in whatever order.
    """
    converged = {task.target_key for task in tasks if task.purpose == "converged"}
    return [
        record
        if task.target_key in converged
        else dataclasses.replace(
            record, measured=dataclasses.replace(record.measured, distance=None)
        )
        for task, record in zip(tasks, records, strict=True)
    ]
