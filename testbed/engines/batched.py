"""The step engine: requests with step counts of their own share one running batch, joining and
leaving it between ticks.

A tick is one call of the denoiser that takes every request in the batch one step on, both halves of
classifier-free guidance in the same call. Between ticks, of all requests present (arrived, not
finished), the first ``cap`` by an order's key make the next batch; the text of those chosen for the
first time is encoded together, those that have finished are decoded together.
:func:`calibration.serving.simulator.simulate` predicts these very times.
"""

import heapq
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor

from calibration.serving.simulator import ORDERS
from testbed.engines.networks import Stages
from testbed.engines.request_state import Sampler, schedule
from testbed.engines.stock import synchronised_clock

CAP = 16  # requests in a batch, where no better number was measured


@dataclass(frozen=True)
class Request:
    """One image asked for; ``arrival`` in seconds from the start of the run."""

    prompt: str
    seed: int
    steps: int
    guidance: float
    arrival: float = 0.0
    negative_prompt: str | None = None


@dataclass(frozen=True)
class Finished:
    """A served request: its image and when it was served, in seconds from the start of the run.

    ``joined``: when it was first chosen, before its text was encoded; ``finished``: after its
    decoding. ``text_time`` and ``decode_time`` are those of the calls, ``tick_times`` those of the
    ticks, that it shared with ``batch`` requests on average.
    """

    index: int  # its place among the requests of the run
    pixels: np.ndarray  # float32 in [0, 1], (height, width, 3)
    arrival: float
    joined: float
    finished: float
    text_time: float
    tick_times: list[float]
    decode_time: float
    batch: float

    @property
    def image(self):
        """uint8, (height, width, 3)."""
        return (self.pixels * 255).round().clip(0, 255).astype(np.uint8)

    @property
    def queue_time(self):
        return self.joined - self.arrival

    @property
    def service_time(self):
        """From first chosen until finished; what it was set aside for others in between is in it."""
        return self.finished - self.joined

    @property
    def end_to_end_time(self):
        return self.finished - self.arrival


@dataclass
class Log:
    """``(requests, seconds)`` of every call of each stage; ``schedule_time``: seconds for the
    schedules, before the run's start.
    """

    text: list[tuple[int, float]] = field(default_factory=list)
    tick: list[tuple[int, float]] = field(default_factory=list)
    decode: list[tuple[int, float]] = field(default_factory=list)
    schedule_time: float = 0.0


@dataclass(eq=False)
class _Running:
    """A request on its way; ``condition`` and ``sampler`` from when it joins."""

    index: int
    request: Request
    schedule: SchedulerMixin
    joined: float | None = None
    condition: dict | None = None
    sampler: Sampler | None = None
    log: Log = field(default_factory=Log)

    @property
    def arrival(self):
        return self.request.arrival

    @property
    def remaining(self):
        return len(self.schedule.timesteps) - (self.sampler.tick if self.sampler else 0)

    def finish(self, pixels, at):
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


class BatchedEngine:
    """Serves requests on a pipeline that is :func:`testbed.engines.networks.served`, in batches of
    at most ``cap``, in one of ``ORDERS``.

    ``caps`` holds the cap of each stage: where memory runs out, the stage goes on with half as
    many. ``log``: of the last run. Each image is the one that the pipeline makes of the request
    alone, whatever else is in the batch.
    """

    def __init__(self, pipeline, cap=CAP, order="first_come"):
        self.stages, self._key = Stages(pipeline), ORDERS[order]
        self.caps = dict.fromkeys(("text", "tick", "decode"), cap)
        self.log = Log()
        self._schedules = {}
        self._assembled = (None, None)

    def run(self, requests):
        """Serve ``requests`` in real time, yielding a :class:`Finished` for each the moment that it
        is decoded.
        """
        self.log = Log()
        begun = self._clock()
        coming = [
            _Running(index, request, self._schedule(request.steps))
            for index, request in enumerate(requests)
        ]
        coming.sort(key=lambda running: running.arrival, reverse=True)
        present, start = [], self._clock()
        self.log.schedule_time = start - begun
        while coming or present:
            now = self._clock() - start
            while coming and coming[-1].arrival <= now:
                present.append(coming.pop())
            if not present:
                time.sleep(coming[-1].arrival - now)
                continue
            batch = heapq.nsmallest(self.caps["tick"], present, key=self._key)
            new = [running for running in batch if running.joined is None]
            for running in new:
                running.joined = now
            while new:
                new = new[self._encode(new) :]
            done = [running for running in self._tick(batch) if not running.remaining]
            present = [running for running in present if running.remaining]
            while done:
                images = self._decode(done)
                now = self._clock() - start
                for running, pixels in zip(done, images):
                    yield running.finish(pixels, now)
                done = done[len(images) :]

    def _clock(self):
        return synchronised_clock(self.stages.device)

    def _schedule(self, steps):
        if steps not in self._schedules:
            self._schedules[steps] = schedule(
                self.stages.pipeline.scheduler, steps, self.stages.begins
            )
        return self._schedules[steps]

    def _attempt(self, stage, work, items):
        """``work`` of the first ``items``, as many as cap and memory allow; returns it, those
        items, and when it was started.
        """
        while True:
            part, start = items[: self.caps[stage]], self._clock()
            try:
                return work(part), part, start
            except (RuntimeError, MemoryError) as error:
                if len(part) == 1 or not _out_of_memory(error):
                    raise
            self.caps[stage] = len(part) // 2
            if self.stages.device.type == "cuda":
                torch.cuda.empty_cache()

    def _note(self, stage, batch, start):
        call = (len(batch), self._clock() - start)
        for log in (self.log, *(running.log for running in batch)):
            getattr(log, stage).append(call)

    def _encode(self, new):
        """Encode the text of the first of ``new``, and draw their noise, each from its own seed;
        returns how many.
        """
        conditions, part, start = self._attempt(
            "text", lambda part: self.stages.encode([running.request for running in part]), new
        )
        for running, condition in zip(part, conditions):
            generator = torch.Generator("cpu").manual_seed(running.request.seed)
            noise = randn_tensor(
                (1, *self.stages.latent_shape),
                generator,
                self.stages.device,
                condition["encoder_hidden_states"].dtype,
            )
            running.condition, running.sampler = (
                condition,
                Sampler(running.schedule, noise, self.stages.step_options(generator)),
            )
        self._note("text", part, start)
        return len(part)

    @torch.no_grad()
    def _tick(self, batch):
        """Take the first of ``batch`` one step on; returns them. Memory can run out in the
        network's call: before any state is changed.
        """
        outputs, batch, start = self._attempt("tick", self._denoise, batch)
        for running, output in zip(batch, outputs.split(1)):
            running.sampler.step(output)
        self._note("tick", batch, start)
        return batch

    def _denoise(self, batch):
        """The network's outputs (requests, channels, height, width), guided; one call for both
        halves of all of them.
        """
        guided = [
            i for i, running in enumerate(batch) if self.stages.guided(running.request.guidance)
        ]
        inputs = [running.sampler.network_input() for running in batch]
        timesteps = [running.sampler.timestep for running in batch]
        rows, times = (
            torch.cat([values[i] for i in guided] + values)
            for values in (inputs, [time[None] for time in timesteps])
        )
        if self._assembled[0] != batch:
            conditions = [
                self.stages.negative(batch[i].request.negative_prompt) for i in guided
            ] + [running.condition for running in batch]
            self._assembled = (batch, self.stages.stack(conditions))
        outputs = self.stages.denoise(rows, times.to(self.stages.device), self._assembled[1])
        if not guided:
            return outputs
        without, outputs = outputs.split([len(guided), len(batch)])
        scale = torch.tensor([batch[i].request.guidance for i in guided], device=outputs.device)[
            :, None, None, None
        ]
        outputs[guided] = without + (scale * (outputs[guided] - without)).to(
            outputs.dtype
        )  # rounded where the pipeline's own call rounds
        return outputs

    def _decode(self, done):
        """Images of the first of ``done``."""
        images, part, start = self._attempt(
            "decode",
            lambda part: self.stages.decode(
                torch.cat([running.sampler.latents for running in part])
            ),
            done,
        )
        self._note("decode", part, start)
        return images


def _out_of_memory(error):
    """Whether an error says that memory ran out; CPU allocators have no class of their own for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        text in str(error).lower()
        for text in ("out of memory", "can't allocate memory", "not enough memory")
    )
