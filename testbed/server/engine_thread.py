"""The one thread that drives the engine. Jobs come in by a queue, their ends go back to asyncio."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calibration.serving.quote import Ahead, Quoter
from solver.online import Pace
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Log, Outcome, Request
from testbed.engines.threads import using
from testbed.server.protocol import Refused

#: What takes a picture on the way: after so many iterations, its pixels in [0, 1].
OnPartial = Callable[[int, NDArray[np.float32]], None]
#: A call is overdue after this many times its predicted seconds, and a second.
OVERDUE, GRACE = 10.0, 1.0


@dataclass(eq=False)
class Job:
    """An image on its way: ``remaining`` iterations, and whether its text is ``encoded``.

    ``weight``: what a second of delay costs; ``due``: when it must be done, on the engine's clock.
    ``partials``: numbers of iterations after which ``on_partial`` gets the picture so far.
    ``on_partial`` and ``done`` belong to the event loop.
    """

    index: int
    request: Request
    remaining: int
    done: asyncio.Future[Outcome]
    partials: frozenset[int]
    on_partial: OnPartial
    weight: float
    due: float
    encoded: bool = False
    iterations: int = field(init=False)

    def __post_init__(self) -> None:
        self.iterations = self.remaining


class EngineStopped(Refused):
    """The engine's thread ended before the image was made."""

    def __init__(self) -> None:
        super().__init__(503, "engine_stopped", "the engine has stopped", retry_after=5)


class EngineThread:
    """Runs ``engine`` in a thread of its own, with ``threads`` of torch; all else of this class
    belongs to the event loop.

    ``on_calls`` is told, in the loop, of the calls of every iteration. The pace is that of
    iterations whose requests are guided as at ``guidance``, at which batches were timed.
    """

    def __init__(
        self,
        engine: BatchedEngine,
        quoter: Quoter,
        threads: int,
        on_calls: Callable[[Log], None],
        guidance: float,
    ) -> None:
        self.engine, self.quoter, self.jobs = engine, quoter, dict[int, Job]()
        self._threads, self._on_calls = threads, on_calls
        self._commands: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.loop = asyncio.get_running_loop()
        self._busy_since: float | None = None  # when the present call began
        self._expected = 0.0  # its predicted seconds, at pace 1
        self._speed, self._rested = Pace(), time.perf_counter()
        self._guided = engine.networks.guided(guidance)
        self._count, self._ended = 0, False
        self._thread = threading.Thread(target=self._drive, name="engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        requests: Sequence[Request],
        partials: frozenset[int],
        on_partial: OnPartial,
        weight: float,
        due: float,
    ) -> list[Job]:
        """Hand ``requests`` over, with what a :class:`Job` has of each.

        Raises :class:`InputError` for steps that the scheduler refuses, and :class:`EngineStopped`.
        """
        if self._ended:
            raise EngineStopped()
        jobs = []
        for request in requests:
            iterations = self.engine.iterations(request.steps)
            future: asyncio.Future[Outcome] = self.loop.create_future()
            told = partials, on_partial, weight, due
            jobs.append(Job(self._count, request, iterations, future, *told))
            self._count += 1
        for job in jobs:
            self.jobs[job.index] = job
            self._commands.put(partial(self.engine.add, job.index, job.request))
        return jobs

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Whoever of ``jobs`` is not done leaves before the next iteration."""
        for job in jobs:
            if self.jobs.pop(job.index, None):
                job.done.cancel()
                self._commands.put(partial(self.engine.cancel, job.index))

    def ahead(self) -> tuple[list[Ahead], float]:
        """Who will be there when the present call ends, in order of arrival, and when that is: in
        so many seconds.
        """
        since = self._busy_since
        expected = self.pace * self._expected
        underway = 0.0 if since is None else since + expected - time.perf_counter()
        jobs, now = [job for job in self.jobs.values() if job.remaining], self.engine.now()
        ahead = [Ahead(job.remaining, job.encoded, job.weight, job.due - now) for job in jobs]
        return ahead, max(underway, 0.0)

    @property
    def pace(self) -> float:
        """How many times as long as the quoter's calls say iterations take."""
        busy = self._busy_since is not None
        return self._speed.after(0.0 if busy else time.perf_counter() - self._rested)

    def health(self) -> str:
        """``ok``; ``stuck`` where a call is overdue by its own prediction; ``stopped``."""
        since = self._busy_since
        if self._ended or not self._thread.is_alive():
            return "stopped"
        long = GRACE + OVERDUE * max(1.0, self.pace) * self._expected
        late = since is not None and time.perf_counter() - since > long
        return "stuck" if late else "ok"

    def close(self) -> None:
        """End the thread after its present iteration."""
        self._commands.put(None)
        self._thread.join(timeout=10)

    def _drive(self) -> None:
        try:
            with using(self._threads):
                while self._take_commands():
                    self._advance()
        finally:
            self._ended = True
            self.loop.call_soon_threadsafe(self._stop)

    def _take_commands(self) -> bool:
        """Do what was asked for meanwhile, waiting while there is nothing else to do; False at the
        end.
        """
        while not self.engine.present or not self._commands.empty():
            command = self._commands.get()
            if command is None:
                return False
            command()
        return True

    def _advance(self) -> None:
        jobs = self.jobs  # read alone: it may change meanwhile
        present = sorted(self.engine.present, key=lambda running: running.index)
        batch = present[: self.engine.caps["tick"]]
        new = sum(running.state is None for running in batch)
        ends = sum(running.remaining == 1 for running in batch)
        counts = (np.array(count) for count in (new, len(batch), ends))
        self._expected = float(self.quoter.calls.seconds(*counts))
        usual = all(
            self.engine.networks.guided(running.request.guidance) == self._guided
            for running in batch
        )
        begun = time.perf_counter()
        self._speed.rest(begun - self._rested)
        self._busy_since = begun
        for running in batch:
            if job := jobs.get(running.index):
                job.remaining, job.encoded = running.remaining - 1, True
        outcomes = self.engine.advance()
        for running in batch:
            job = jobs.get(running.index)
            if job and (made := job.iterations - running.remaining) in job.partials:
                pixels = self.engine.preview(running.index)
                if pixels is not None and np.isfinite(pixels).all():
                    self.loop.call_soon_threadsafe(job.on_partial, made, pixels)
        log, self.engine.log = self.engine.log, Log()
        if log.tick and usual:  # no call, where all failed
            self._speed.add(self._expected, sum(log.seconds))
        self._rested, self._busy_since = time.perf_counter(), None
        self.loop.call_soon_threadsafe(self._hand_over, outcomes, log)

    def _hand_over(self, outcomes: list[Outcome], log: Log) -> None:
        for outcome in outcomes:
            job = self.jobs.pop(outcome.index, None)
            if job and not job.done.done():
                job.done.set_result(outcome)
        self._on_calls(log)

    def _stop(self) -> None:
        for job in self.jobs.values():
            if not job.done.done():
                job.done.set_exception(EngineStopped())
        self.jobs.clear()
