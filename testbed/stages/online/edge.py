"""An edge that serves in real time, in a thread of its own, beside those who decide."""

import threading
import time
import warnings
from collections.abc import Callable, Sequence

from calibration.records.record import Measured
from calibration.serving.online import Desk
from solver.online import Backlog
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Failed, Finished, Log, Outcome, Request
from testbed.engines.threads import using
from testbed.runs.store import Pixels

#: Of a request's index, its steps and the time, s: what the engine is asked for.
Requests = Callable[[int, int, float], Request]


class Edge:
    """An ``engine`` that makes one iteration after the other while anyone is present.

    The ``backlog`` follows it: what it tells of the future begins with the iteration that is under
    way, corrected by how long each really took. A request whose image fails is served at home from
    then on. :meth:`decide` and the engine's bookkeeping exclude each other; its calls of the
    network do not wait for anyone.
    """

    def __init__(self, engine: BatchedEngine, backlog: Backlog, desk: Desk, threads: int) -> None:
        self.images: dict[int, tuple[Pixels, Measured]] = {}
        self.ratios: list[float] = []  # measured over expected seconds of each iteration
        self.failures: list[Exception] = []  # of images, in turn
        self._engine, self._backlog, self._desk = engine, backlog, desk
        self._state, self._closed = threading.Condition(), False
        self._coming: dict[int, Request] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._serve, args=(threads,), name="edge", daemon=True
        )

    def start(self) -> None:
        """Start the clock and the engine."""
        self._begun = time.perf_counter()
        self._thread.start()

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begun

    def decide(self, indices: list[int], request: Requests) -> float:
        """Decide on requests, and take on those for the edge; returns when, s."""
        with self._state:
            if self._error is not None:  # nobody serves any more
                raise self._error
            now = self.now()
            self._backlog.clock = max(self._backlog.clock, now)
            for index, steps in self._desk.decide(self._backlog, now, indices):
                if steps:
                    self._desk.join(self._backlog, now, index, steps)
                    self._coming[index] = request(index, steps, now)
            self._state.notify()
        return now

    def close(self) -> None:
        """Wait until all are served; raises what the engine failed of."""
        with self._state:
            self._closed = True
            self._state.notify()
        self._thread.join()
        if self._error is not None:
            raise self._error
        warn_of(self.failures)

    def _serve(self, threads: int) -> None:
        try:
            with using(threads):
                while self._begin():
                    self._end(self._engine.advance())
        except Exception as error:  # noqa: BLE001 told by close, in the thread that waits
            self._error = error

    def _begin(self) -> bool:
        """Wait for somebody, and let all join who have come; False when nobody will."""
        with self._state:
            while not (self._coming or self._engine.present or self._closed):
                self._state.wait()
            for index, request in self._coming.items():
                self._engine.add(index, request)
            self._coming.clear()
            if not self._engine.present:
                return False
            begun = self.now()
            self._expected = self._backlog.begin(begun)
            self._engine.log = Log()
        return True

    def _end(self, ended: list[Outcome]) -> None:
        with self._state:
            text, tick, decode = self._engine.log.seconds
            now = self.now()
            done = {each.name: each for each in self._backlog.end(now, text, tick, decode)}
            failed = False
            for outcome in ended:
                if isinstance(outcome, Failed):
                    failed = True
                    self.failures.append(outcome.error)
                    if done.pop(outcome.index, None) is None:  # before its last iteration
                        self._backlog.leave(outcome.index)
                    self._desk.refuse(outcome.index, now)
                else:
                    self.images[outcome.index] = outcome.image, outcome.measured()
            if not failed:  # else they are no whole calls
                self.ratios.append((text + tick + decode) / self._expected)
            if not done.keys() == {made.index for made in ended if isinstance(made, Finished)}:
                raise RuntimeError("the engine's batches are not those that were expected")
            self._desk.finish(list(done.values()))


def warn_of(failures: Sequence[Exception]) -> None:
    """Warn of images that the edge could not make."""
    if failures:
        warnings.warn(
            f"{len(failures)} requests failed at the edge, the first of {failures[0]}: they were "
            "served at home from then on",
            stacklevel=3,
        )
