"""A request for an image, and its outcome: what making it took, or why it failed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Measured
from testbed.engines.stock import Generated, ImageError, not_finite, to_uint8


@dataclass(frozen=True)
class Request:
    """One image that is asked for; ``arrival`` in seconds from the start of the run."""

    prompt: str
    seed: int
    steps: int
    guidance: float
    arrival: float = 0.0
    negative_prompt: str | None = None


@dataclass(frozen=True)
class Finished:
    """A served request: its image and when it was served, in seconds from the start of the run.

    ``index`` is its place among the requests of the run. It ``joined`` when it was first chosen,
    before its text was encoded, and ``finished`` after its decoding. ``text_time`` and
    ``decode_time`` are those of the calls, ``tick_times`` those of the iterations, which it shared
    with ``batch`` requests on average. ``share_time``: its part of all these, an equal one of each.
    """

    index: int
    pixels: NDArray[np.float32]  # in [0, 1], (height, width, 3)
    arrival: float
    joined: float
    finished: float
    text_time: float
    tick_times: list[float]
    decode_time: float
    batch: float
    share_time: float

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image, (height, width, 3)."""
        return to_uint8(self.pixels)

    @property
    def queue_time(self) -> float:
        """Seconds from arrival until first chosen."""
        return self.joined - self.arrival

    @property
    def service_time(self) -> float:
        """Seconds from first chosen until finished, with those in which others went before it."""
        return self.finished - self.joined

    @property
    def end_to_end_time(self) -> float:
        """Seconds from arrival until finished."""
        return self.finished - self.arrival

    def measured(self) -> Measured:
        """What was measured of the request, as a record holds it.

        Its seconds of text, steps and decoding are those of calls that it shared; ``time`` is all
        of its service. No meter can tell its energy from that of the others.
        """
        return Measured(
            text_time=self.text_time,
            step_times=tuple(self.tick_times),
            decode_time=self.decode_time,
            time=self.service_time,
            energy_j=None,
            batch=self.batch,
            engine="batched",
            arrival=self.arrival,
            queue_time=self.queue_time,
            service_time=self.service_time,
            end_to_end_time=self.end_to_end_time,
        )


@dataclass(frozen=True)
class Made:
    """An image, shape (height, width, 3), of request ``index``, made by a call for it, and what was
    measured.
    """

    index: int
    image: NDArray[np.uint8]
    about: Measured

    def measured(self) -> Measured:
        """What was measured."""
        return self.about

    @property
    def end_to_end_time(self) -> float:
        """Seconds from arrival until the image was here."""
        return self.about.end_to_end_time or 0.0


@dataclass(frozen=True)
class Failed:
    """A request, named by its ``index``, that ended without an image, and why."""

    index: int
    error: Exception


Outcome: TypeAlias = Finished | Failed
Image = TypeVar("Image", bound=Finished | Made)


def all_made(outcomes: Iterable[Image | Failed]) -> list[Image]:
    """The ``outcomes``, where each is an image; raises what the first of the others failed of."""
    images = []
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            raise outcome.error
        images.append(outcome)
    return images


def run_through(outcomes: Iterable[Image | Failed]) -> None:
    """Have all ``outcomes`` made for the time that they take, which an image that is not finite
    takes as well; raises what the first of the others failed of.
    """
    for outcome in outcomes:
        if isinstance(outcome, Failed) and not isinstance(outcome.error, ImageError):
            raise outcome.error


def outcomes_of(done: Generated, measured: Measured, first: int = 0) -> list[Made | Failed]:
    """Outcomes of the images of a pipeline's call, counted from ``first``: those that are not
    finite have failed.
    """
    return [
        Failed(index, error)
        if (error := not_finite(pixels, name))
        else Made(index, to_uint8(pixels), measured)
        for index, (pixels, name) in enumerate(zip(done.pixels, done.names), first)
    ]


@dataclass
class Log:
    """Batch size and seconds of every call of each kind; ``schedule_time``: seconds for the
    schedules, before the run's start.
    """

    text: list[tuple[int, float]] = field(default_factory=list)
    tick: list[tuple[int, float]] = field(default_factory=list)
    decode: list[tuple[int, float]] = field(default_factory=list)
    schedule_time: float = 0.0

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Seconds of all calls of each kind: text, tick, decode."""
        text, tick, decode = (
            sum(seconds for _, seconds in calls) for calls in (self.text, self.tick, self.decode)
        )
        return text, tick, decode
