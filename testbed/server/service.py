"""Requests on their way through the server: admitted, handed to the engine, encoded, counted."""

import asyncio
import json
import random
import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solver.inputs import InputError
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import check_call
from testbed.engines.request import Failed, Finished, Request
from testbed.engines.stock import to_uint8
from testbed.runs.lines import append
from testbed.server import protocol
from testbed.server.admission import Admission, Admitted, Queue, Wish
from testbed.server.answers import ImageMetrics, ServedImage
from testbed.server.engine_thread import EngineThread, Job, OnPartial
from testbed.server.metrics import Metrics
from testbed.server.opening import Opened
from testbed.server.protocol import Generation, Refused, begins_a_record

RECENT = 100  # requests that are remembered
#: What a record says of an image's request, beside its metrics.
ASKED = ("prompt", "negative_prompt", "seed", "guidance")


@dataclass(frozen=True)
class Order:
    """A request that was let in: its body, and for each image a job and what was promised."""

    key: str
    body: Generation
    seed: int
    jobs: list[Job]
    admitted: list[Admitted]


class Service:
    """What the routes call; belongs to the event loop that it is made in."""

    def __init__(self, opened: Opened, policy: str, queue: int, records: Path | None) -> None:
        self.opened, self.draining, self._records = opened, False, records
        self.engine = EngineThread(
            BatchedEngine(opened.pipeline, opened.quoter.cap),
            opened.quoter,
            opened.threads,
            lambda log: self.metrics.calls(log),
            opened.config.guidance,
        )
        self.admission = Admission(self.engine, opened.worth, opened.scenario, policy, queue)
        self.metrics = Metrics(
            lambda: self.queue().running, lambda: self.queue().waiting, lambda: self.price
        )
        self.recent: deque[ImageMetrics] = deque(maxlen=RECENT)
        self._arrivals: deque[float] = deque(maxlen=50)
        self._files = ThreadPoolExecutor(1, "files")
        self.size = "{}x{}".format(*opened.size)

    def now(self) -> float:
        """Seconds on the engine's clock."""
        return self.engine.engine.now()

    def queue(self) -> Queue:
        """The queue now."""
        ahead, _ = self.engine.ahead()
        count, cap, now = len(self.engine.jobs), self.opened.quoter.cap, self.now()
        recent = [at for at in self._arrivals if now - at < 60]
        return Queue(
            running=min(count, cap),
            waiting=max(0, count - cap),
            remaining=tuple(request.iterations for request in ahead),
            cap=cap,
            arrival_rate=len(recent) / max(now - recent[0], 1.0) if recent else 0.0,
        )

    @property
    def price(self) -> float:
        """What one more step costs the others now, as the policy charges it."""
        rows, _ = self.admission.forecast(Wish())
        return float(np.diff(rows.price[:2]).sum())

    def health(self) -> str:
        """``ok``, ``draining``, ``stuck`` or ``stopped``."""
        health = self.engine.health()
        return "draining" if health == "ok" and self.draining else health

    def order(self, body: Generation, arrived: float, on_partial: OnPartial) -> Order:
        """Let a request in that ``arrived`` at this time of the engine's clock.

        Raises :class:`Refused`, and :class:`InputError` for a negative prompt that the model does
        not take.
        """
        if self.draining:
            raise Refused(503, "draining", "the server ends; ask another", retry_after=5)
        self._check(body)
        admitted = self.admission.admit(Wish.of(body), body.n, self.queue())
        first, config, seed = admitted[0], self.opened.config, body.seed
        seed = random.getrandbits(32) if seed is None else seed
        guidance, negative = body.guidance_scale, body.negative_prompt
        negative = config.negative_prompt if negative is None else negative or None
        if negative:
            check_call(self.opened.pipeline, first.steps, negative)
        requests = [
            Request(
                body.prompt,
                (seed + image) % 2**63,
                promise.steps,
                config.guidance if guidance is None else guidance,
                arrived,
                negative,
            )
            for image, promise in enumerate(admitted)
        ]
        self._arrivals.append(arrived)
        count = body.partial_images
        taken = self.engine.engine.iterations(first.steps)
        made = frozenset(round(taken * i / (count + 1)) for i in range(1, count + 1)) - {0, taken}
        due = np.inf if first.deadline is None else arrived + first.deadline
        jobs = self.engine.submit(requests, made, on_partial, first.weight, due)
        return Order(uuid.uuid4().hex, body, seed, jobs, admitted)

    async def serve(self, order: Order) -> list[ServedImage]:
        """The images of an ``order``; raises :class:`Refused` where one fails. Whoever is not
        waited for any more is cancelled.
        """
        try:
            return await asyncio.gather(
                *(self._image(order, image, job) for image, job in enumerate(order.jobs))
            )
        finally:
            self.cancel(order)

    def cancel(self, order: Order) -> None:
        """Give up what is not done of an ``order``."""
        left = [job for job in order.jobs if job.index in self.engine.jobs]
        self.metrics.ended("abort", len(left))
        self.engine.cancel(left)

    async def encode(self, pixels: NDArray[np.float32], body: Generation) -> bytes:
        """The file of an image, made in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(
            self._files,
            lambda: protocol.encode(to_uint8(pixels), body.output_format, body.output_compression),
        )

    def close(self) -> None:
        """End the threads."""
        self.engine.close()
        self._files.shutdown()

    async def _image(self, order: Order, image: int, job: Job) -> ServedImage:
        outcome = await job.done
        if isinstance(outcome, Failed):
            self.metrics.ended("error")
            text = f"image {image}: {type(outcome.error).__name__}: {outcome.error}"
            raise Refused(500, "generation_failed", text[:500])
        start = time.perf_counter()
        data = await self.encode(outcome.pixels, order.body)
        encode, promise = time.perf_counter() - start, order.admitted[image]
        worth = self.opened.worth
        metrics = ImageMetrics.of(
            f"{order.key}-{image}", promise, outcome, encode, worth.watts, worth.basis
        )
        self._note(metrics, outcome, promise)
        if self._records:
            await self._record(self._records, order, job, metrics)
        return ServedImage(data, job.request.seed, metrics)

    def _note(self, metrics: ImageMetrics, outcome: Finished, promise: Admitted) -> None:
        self.metrics.served(metrics)
        self.recent.appendleft(metrics)
        ratio = outcome.end_to_end_time / promise.raw
        self.admission.quotes.finished(ratio, promise.met, metrics.inside)

    async def _record(self, path: Path, order: Order, job: Job, metrics: ImageMetrics) -> None:
        """Write down a served image before it is answered; the loop does not wait for the disk.

        Raises :class:`Refused` where that fails.
        """
        asked = {name: getattr(job.request, name) for name in ASKED}
        asked |= {"user": order.body.user, "prompt_class": order.body.prompt_class}
        line = json.dumps({"time": time.time(), **asked, "metrics": metrics.to_dict()})
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._files, append, path, line, begins_a_record)
        except (OSError, InputError) as error:
            raise Refused(500, "not_recorded", f"the image was made, but: {error}") from None

    def _check(self, body: Generation) -> None:
        """Raise :class:`Refused` for a model or a size that is not served."""
        name = self.opened.name
        if body.model not in (None, name):
            text = f"model: found {body.model[:60]!r}; allowed: {name!r}"
            raise Refused(404, "model_not_found", text, "model")
        if body.size not in ("auto", self.size):
            text = f"size: found {body.size[:60]!r}; allowed: 'auto' or '{self.size}'"
            raise Refused(400, "invalid_value", text, "size")
