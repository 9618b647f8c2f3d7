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
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from calibration.serving.simulator import ORDERS
from solver.inputs import InputError
from testbed.engines.networks import Networks
from testbed.engines.out_of_memory import Parts
from testbed.engines.request import Failed, Finished, Log, Outcome, Request
from testbed.engines.request_state import RequestState, Schedule
from testbed.engines.running import Running
from testbed.engines.stock import image_name, not_finite, synchronised_clock
from testbed.models.memory import unjudged

Output = TypeVar("Output")

CAP = 16  # requests in a batch, where no better number was measured


@dataclass(frozen=True, eq=False)
class _Assembled:
    """What the denoiser's call takes beside latents and timesteps, while the batch stays the same.

    ``guided``: positions of the requests with a second half; ``rows``: the same on the device, None
    where it is all of them; ``scale``: their guidance scales, (guided, 1, 1, 1). Made before the
    call, since a copy to the device waits for all that was asked of it before.
    """

    batch: Sequence[Running]
    arguments: dict[str, Any]
    guided: list[int]
    rows: torch.Tensor | None
    scale: torch.Tensor


class BatchedEngine:
    """Serves requests on a pipeline without an
    :func:`testbed.engines.networks.unsupported_reason`, in batches of at most ``cap``, in one of
    ``ORDERS``.

    :meth:`add` a request, :meth:`cancel` it, and :meth:`advance` all that are present by an
    iteration: :meth:`run` is a loop over these, and so is a server. One thread calls them.

    Each image is the one that the pipeline makes of the request alone, whatever else is in the
    batch, and a request that fails takes no other with it: its outcome is :class:`Failed`. ``log``:
    the calls since it was last replaced, in a run those of the last one. ``skip_idle``: where
    nobody is present, a run's clock goes on to the next arrival, which is not waited for.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        cap: int = CAP,
        order: str = "first_come",
        skip_idle: bool = False,
    ) -> None:
        self._skip_idle = skip_idle
        self.networks, self._key = Networks(pipeline), ORDERS[order]
        self._parts = {
            kind: Parts(cap, self.networks.device) for kind in ("text", "tick", "decode")
        }
        self.log = Log()
        self.present: list[Running] = []  # arrived, not finished
        self._start = self._clock()
        self._schedules: dict[int, Schedule] = {}
        self._assembled: _Assembled | None = None

    @property
    def caps(self) -> dict[str, int]:
        """The cap of each kind of call: where memory runs out, calls of that kind go on with half
        as many requests.
        """
        return {kind: parts.most for kind, parts in self._parts.items()}

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Serve ``requests`` as they arrive, and yield the outcome of each the moment that it is
        decoded, or fails.
        """
        self.log, self.present = Log(), []
        begun, coming = self._clock(), []
        for index, request in enumerate(requests):
            try:
                self._schedule(request.steps)
            except InputError as error:
                yield Failed(index, error)
            else:
                coming.append((index, request))
        coming.sort(key=lambda item: item[1].arrival, reverse=True)
        self._start = self._clock()
        self.log.schedule_time = self._start - begun
        while coming or self.present:
            now = self.now()
            while coming and coming[-1][1].arrival <= now:
                self.add(*coming.pop())
            if self.present:
                yield from self.advance()
            elif self._skip_idle:
                self._start -= coming[-1][1].arrival - now
            else:
                time.sleep(coming[-1][1].arrival - now)

    def now(self) -> float:
        """Seconds since the start: of the engine, or of its last run."""
        return time.perf_counter() - self._start

    def add(self, index: int, request: Request) -> None:
        """A request arrives; it is chosen at one of the next iterations. ``index`` names it.

        Raises :class:`InputError` for steps that the scheduler cannot take.
        """
        self.present.append(Running(index, request, self._schedule(request.steps)))

    def take_over(self, begun: Sequence[Running], requests: Sequence[Request]) -> None:
        """Go on with requests that another engine has ``begun``, now as these ``requests``: their
        text is encoded by this engine's own encoders.
        """
        start = self._clock()
        for running, request, condition in zip(begun, requests, self.networks.encode(requests)):
            running.request, running.state.condition = request, condition
        self._note("text", list(begun), start)
        self.present += begun

    def cancel(self, index: int) -> bool:
        """A request leaves, and what it holds is freed; returns whether it was present."""
        return self._leave({running for running in self.present if running.index == index})

    def advance(self) -> list[Outcome]:
        """Take the batch one iteration on; returns the outcomes of those that ended with it.

        The text of those chosen for the first time is encoded before, and those that finish are
        decoded after. Nothing is done where nobody is present.
        """
        batch = heapq.nsmallest(self._parts["tick"].most, self.present, key=self._key)
        if not batch:
            return []
        now = self._clock() - self._start
        new = [running for running in batch if running.state is None]
        for running in new:
            running.joined = now
        self._encode(new)
        self._iterate([running for running in batch if not running.error])
        done = [running for running in batch if not running.error and not running.remaining]
        self._leave({running for running in batch if running.error or not running.remaining})
        finished = list(self._decode(done))
        failed = [Failed(running.index, running.error) for running in batch if running.error]
        return [*failed, *finished]

    def preview(self, index: int) -> NDArray[np.float32] | None:
        """The image so far of a request in the batch, pixels in [0, 1], (height, width, 3); None
        where it has no steps yet, or none can be made. Costs a decoding.
        """
        for running in self.present:
            if running.index == index and running.state is not None:
                with unjudged(self.networks.pipeline):
                    ((_, pixels),) = self._parts["decode"].each([running], self._images)
                return None if isinstance(pixels, Exception) else pixels[0]
        return None

    def iterations(self, steps: int) -> int:
        """Iterations that a request of ``steps`` steps takes: more with some samplers."""
        return len(self._schedule(steps).timesteps)

    def _schedule(self, steps: int) -> Schedule:
        if steps not in self._schedules:
            self._schedules[steps] = self.networks.schedule(steps)
        return self._schedules[steps]

    def _clock(self) -> float:
        return synchronised_clock(self.networks.device)

    def _leave(self, gone: set[Running]) -> bool:
        """Those ``gone`` are present no more, and nothing here holds what they hold."""
        if self._assembled and not gone.isdisjoint(self._assembled.batch):
            self._assembled = None
        present = len(self.present)
        self.present = [running for running in self.present if running not in gone]
        return len(self.present) < present

    def _note(self, kind: str, batch: Sequence[Running], start: float) -> None:
        call = (len(batch), self._clock() - start)
        for log in (self.log, *(running.log for running in batch)):
            getattr(log, kind).append(call)

    def _calls(
        self, kind: str, call: Callable[[Sequence[Running]], Output], batch: Sequence[Running]
    ) -> Iterator[tuple[Sequence[Running], Output, float]]:
        """``call`` of all of ``batch``, part by part: its requests, its output, and when it was
        started. Those that make it fail have their ``error``, and the others are without them.
        """

        def started(part: Sequence[Running]) -> tuple[float, Output]:
            return self._clock(), call(part)

        for part, outcome in self._parts[kind].each(batch, started):
            if isinstance(outcome, Exception):
                part[0].error = outcome
            else:
                start, output = outcome
                yield part, output, start

    def _encode(self, new: list[Running]) -> None:
        """Encode the text of ``new``, and draw their noise."""
        for part, states, start in self._calls("text", self._states, new):
            for running, state in zip(part, states):
                running.state = state
            self._note("text", part, start)

    def _states(self, new: Sequence[Running]) -> list[RequestState]:
        """First states of ``new``: the text of all encoded together, noise from each own seed."""
        networks = self.networks
        networks.forget_negatives()
        conditions = networks.encode([running.request for running in new])
        return [
            networks.begin(running.schedule, condition, running.request.seed)
            for running, condition in zip(new, conditions)
        ]

    @torch.no_grad()
    def _iterate(self, batch: list[Running]) -> None:
        """Take ``batch`` one step on. A call that fails has changed no state: those are the
        schedulers', which take their step after it.
        """
        for part, outputs, start in self._calls("tick", self._denoise, batch):
            for running, output in zip(part, outputs.split(1)):
                try:
                    running.state.step(output)
                except Exception as error:
                    running.error = error
            self._note("tick", part, start)

    def _assemble(self, batch: Sequence[Running]) -> _Assembled:
        if self._assembled is None or self._assembled.batch != batch:
            networks, requests = self.networks, [running.request for running in batch]
            guided = [i for i, request in enumerate(requests) if networks.guided(request.guidance)]
            conditions = [networks.negative(requests[i].negative_prompt) for i in guided]
            conditions += [running.state.condition for running in batch]
            scale = torch.tensor([requests[i].guidance for i in guided], device=networks.device)
            rows = None
            if len(guided) < len(batch):
                rows = torch.tensor(guided, dtype=torch.int64, device=networks.device)
            arguments = networks.stack(conditions)
            self._assembled = _Assembled(batch, arguments, guided, rows, scale[:, None, None, None])
        return self._assembled

    def _denoise(self, batch: Sequence[Running]) -> torch.Tensor:
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
        outputs = self.networks.denoise(latents, times, assembled.arguments)
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

    def _images(self, done: Sequence[Running]) -> NDArray[np.float32]:
        return self.networks.decode(torch.cat([running.state.latents for running in done]))

    def _decode(self, done: list[Running]) -> Iterator[Finished]:
        """The images of ``done``; those that are not finite are errors."""
        for part, images, start in self._calls("decode", self._images, done):
            self._note("decode", part, start)
            now = self._clock() - self._start
            for running, pixels in zip(part, images):
                request = running.request
                name = image_name(self.networks.pipeline, request.prompt, request.steps)
                running.error = not_finite(pixels, name)
                if not running.error:
                    yield running.finish(pixels, now)
