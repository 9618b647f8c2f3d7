"""Continuous batching: requests with step counts of their own share one running batch, and join and
leave it between iterations.

An iteration is one call of the denoiser that takes every request in the batch one step on, both
halves of classifier-free guidance in the same call. Between iterations, of all requests present
(arrived, not finished), the first ``cap`` by an order's key make the next batch. The text of those
chosen for the first time is encoded together, and those that have finished are decoded together.
:func:`calibration.serving.simulator.simulate` predicts these very times.
"""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray

from calibration.serving.simulator import ORDERS
from testbed.engines.networks import Networks
from testbed.engines.request import Finished, Log, Request
from testbed.engines.request_state import RequestState, schedule
from testbed.engines.stock import synchronised_clock

CAP = 16  # requests in a batch, where no better number was measured

Output = TypeVar("Output")


@dataclass(eq=False)
class _Running:
    """A request on its way; ``joined`` and ``state`` are set when it joins the batch."""

    index: int
    request: Request
    schedule: SchedulerMixin
    joined: float = 0.0
    state: RequestState = None  # type: ignore[assignment]  # whoever is in a batch has one
    log: Log = field(default_factory=Log)

    @property
    def arrival(self) -> float:
        return self.request.arrival

    @property
    def remaining(self) -> int:
        return len(self.schedule.timesteps) - (self.state.tick if self.state else 0)

    def finish(self, pixels: NDArray[np.float32], at: float) -> Finished:
        text, decode = (
            sum(seconds for _, seconds in calls) for calls in (self.log.text, self.log.decode)
        )
        sizes, seconds = zip(*self.log.tick)
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
        )


@dataclass(frozen=True, eq=False)
class _Assembled:
    """What the denoiser's call takes beside latents and timesteps, while the batch stays the same.

    ``guided``: positions of the requests with a second half; ``rows``: the same on the device, None
    where it is all of them; ``scale``: their guidance scales, (guided, 1, 1, 1). Made before the
    call, since a copy to the device waits for all that was asked of it before.
    """

    batch: list[_Running]
    arguments: dict[str, Any]
    guided: list[int]
    rows: torch.Tensor | None
    scale: torch.Tensor


class BatchedEngine:
    """Serves requests on a pipeline without an
    :func:`testbed.engines.networks.unsupported_reason`, in batches of at most ``cap``, in one of
    ``ORDERS``.

    ``caps`` holds the cap of each kind of call: where memory runs out, calls of that kind go on
    with half as many requests. ``log``: of the last run. Each image is the one that the pipeline
    makes of the request alone, whatever else is in the batch.
    """

    def __init__(
        self, pipeline: DiffusionPipeline, cap: int = CAP, order: str = "first_come"
    ) -> None:
        self.networks, self._key = Networks(pipeline), ORDERS[order]
        self.caps = dict.fromkeys(("text", "tick", "decode"), cap)
        self.log = Log()
        self._schedules: dict[int, SchedulerMixin] = {}
        self._assembled: _Assembled | None = None

    def run(self, requests: Sequence[Request]) -> Iterator[Finished]:
        """Serve ``requests`` in real time, and yield a :class:`Finished` for each the moment that
        it is decoded.
        """
        self.log = Log()
        begun = self._clock()
        coming = [
            _Running(index, request, self._schedule(request.steps))
            for index, request in enumerate(requests)
        ]
        coming.sort(key=lambda running: running.arrival, reverse=True)
        present: list[_Running] = []
        start = self._clock()
        self.log.schedule_time = start - begun
        while coming or present:
            now = self._clock() - start
            while coming and coming[-1].arrival <= now:
                present.append(coming.pop())
            if not present:
                time.sleep(coming[-1].arrival - now)
                continue
            batch = heapq.nsmallest(self.caps["tick"], present, key=self._key)
            new = [running for running in batch if running.state is None]
            for running in new:
                running.joined = now
            while new:
                new = new[self._encode(new) :]
            done = [running for running in self._iterate(batch) if not running.remaining]
            present = [running for running in present if running.remaining]
            while done:
                images = self._decode(done)
                now = self._clock() - start
                for running, pixels in zip(done, images):
                    yield running.finish(pixels, now)
                done = done[len(images) :]

    def iterations(self, steps: int) -> int:
        """Iterations that a request of ``steps`` steps takes: more with some samplers."""
        return len(self._schedule(steps).timesteps)

    def _schedule(self, steps: int) -> SchedulerMixin:
        if steps not in self._schedules:
            self._schedules[steps] = schedule(
                self.networks.pipeline.scheduler, steps, self.networks.sets_begin_index
            )
        return self._schedules[steps]

    def _clock(self) -> float:
        return synchronised_clock(self.networks.device)

    def _attempt(
        self, kind: str, call: Callable[[list[_Running]], Output], batch: list[_Running]
    ) -> tuple[Output, list[_Running], float]:
        """``call`` of the first of ``batch``, as many as cap and memory allow; returns its output,
        those requests, and when it was started.
        """
        while True:
            part, start = batch[: self.caps[kind]], self._clock()
            try:
                return call(part), part, start
            except (RuntimeError, MemoryError) as error:
                if len(part) == 1 or not _out_of_memory(error):
                    raise
            self.caps[kind] = len(part) // 2
            if self.networks.device.type == "cuda":
                torch.cuda.empty_cache()

    def _note(self, kind: str, batch: list[_Running], start: float) -> None:
        call = (len(batch), self._clock() - start)
        for log in (self.log, *(running.log for running in batch)):
            getattr(log, kind).append(call)

    def _encode(self, new: list[_Running]) -> int:
        """Encode the text of the first of ``new``, and draw their noise, each from its own seed;
        returns how many.
        """
        networks = self.networks
        conditions, part, start = self._attempt(
            "text", lambda part: networks.encode([running.request for running in part]), new
        )
        for running, condition in zip(part, conditions):
            generator = torch.Generator("cpu").manual_seed(running.request.seed)
            shape, dtype = (1, *networks.latent_shape), condition.text.dtype
            noise = randn_tensor(shape, generator, networks.device, dtype)
            options = networks.step_options(generator)
            running.state = RequestState(running.schedule, condition, noise, options)
        self._note("text", part, start)
        return len(part)

    @torch.no_grad()
    def _iterate(self, batch: list[_Running]) -> list[_Running]:
        """Take the first of ``batch`` one step on; returns them. Memory can run out in the
        network's call: before any state is changed.
        """
        outputs, batch, start = self._attempt("tick", self._denoise, batch)
        for running, output in zip(batch, outputs.split(1)):
            running.state.step(output)
        self._note("tick", batch, start)
        return batch

    def _assemble(self, batch: list[_Running]) -> _Assembled:
        if self._assembled is None or self._assembled.batch != batch:
            networks, requests = self.networks, [running.request for running in batch]
            guided = [i for i, request in enumerate(requests) if networks.guided(request.guidance)]
            conditions = [networks.negative(requests[i].negative_prompt) for i in guided]
            conditions += [running.state.condition for running in batch]
            scale = torch.tensor([requests[i].guidance for i in guided], device=networks.device)
            self._assembled = _Assembled(
                batch,
                networks.stack(conditions),
                guided,
                None
                if len(guided) == len(batch)
                else torch.tensor(guided, dtype=torch.int64, device=networks.device),
                scale[:, None, None, None],
            )
        return self._assembled

    def _denoise(self, batch: list[_Running]) -> torch.Tensor:
        """The network's outputs (requests, channels, height, width), guided; one call for both
        halves of all of them.
        """
        assembled = self._assemble(batch)
        guided, rows, scale = assembled.guided, assembled.rows, assembled.scale
        inputs = [running.state.network_input() for running in batch]
        timesteps = [running.state.timestep[None] for running in batch]
        latents, times = (
            torch.cat([values[i] for i in guided] + values) for values in (inputs, timesteps)
        )
        outputs = self.networks.denoise(
            latents, times.to(self.networks.device), assembled.arguments
        )
        if not guided:
            return outputs
        without, outputs = outputs.split([len(guided), len(batch)])
        conditional = outputs if rows is None else outputs[rows]
        # rounded where the pipeline's own call rounds
        led = without + (scale * (conditional - without)).to(outputs.dtype)
        if rows is None:
            return led
        outputs[rows] = led
        return outputs

    def _decode(self, done: list[_Running]) -> NDArray[np.float32]:
        """Images of the first of ``done``."""
        images, part, start = self._attempt(
            "decode",
            lambda part: self.networks.decode(
                torch.cat([running.state.latents for running in part])
            ),
            done,
        )
        self._note("decode", part, start)
        return images


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: CPU allocators have no error class of their own for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        text in str(error).lower()
        for text in ("out of memory", "can't allocate memory", "not enough memory")
    )
