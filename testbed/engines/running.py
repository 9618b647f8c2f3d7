"""A request on its way through continuous batching."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from testbed.engines.request import Finished, Log, Request
from testbed.engines.request_state import RequestState, Schedule


@dataclass(eq=False)
class Running:
    """A request that has arrived and is not finished; ``joined`` (s) and ``state`` are set when it
    joins the batch, ``error`` when it fails.
    """

    index: int
    request: Request
    schedule: Schedule
    joined: float = 0.0
    state: RequestState = None  # type: ignore[assignment]  # whoever is in a batch has one
    log: Log = field(default_factory=Log)
    error: Exception | None = None

    @property
    def arrival(self) -> float:
        """Seconds from the start of the run."""
        return self.request.arrival

    @property
    def remaining(self) -> int:
        """Iterations that it still takes."""
        return len(self.schedule.timesteps) - (self.state.tick if self.state else 0)

    def finish(self, pixels: NDArray[np.float32], at: float) -> Finished:
        """It is decoded ``at`` s."""
        log = self.log
        text, _, decode = log.seconds
        sizes, seconds = zip(*log.tick)
        share = sum(spent / size for size, spent in (*log.text, *log.tick, *log.decode))
        return Finished(
            self.index,
            pixels,
            self.arrival,
            self.joined,
            at,
            text,
            list(seconds),
            decode,
            sum(sizes) / len(sizes),
            share,
        )
