"""A scheduler of diffusers' for each request, so that requests at different steps of different
schedules share a batch.

A scheduler keeps one state and one index, and a multistep one its history. So each request has a
copy, stepped with the request's own slice of the batch. A config, a stochastic sampler and clipping
mean here what they mean in the pipeline's own call, to the bit.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import SchedulerMixin

from solver.inputs import InputError
from testbed.engines.adapters.adapter import Adapter, Condition


@dataclass(frozen=True, eq=False)
class Schedule:
    """A scheduler set to a number of steps, and the ``timesteps`` of its iterations: more than the
    steps for samplers of second order. ``scales``: whether it scales the network's input;
    ``taken``: which of what its step returns are the next latents.

    Its timesteps stay on the CPU, where its coefficients are: else every step would wait for the
    device.
    """

    scheduler: SchedulerMixin
    timesteps: torch.Tensor
    scales: bool
    taken: int


class RequestState:
    """A request between two iterations: its scheduler, its ``condition``, its ``latents`` (1,
    channels, height, width), and ``tick``, the iteration that comes next.

    ``schedule``: its scheduler is copied here. ``latents``: where the schedule begins. ``options``:
    what the pipeline's call passes to the scheduler's step.
    """

    def __init__(
        self,
        schedule: Schedule,
        condition: Condition,
        latents: torch.Tensor,
        options: dict[str, Any],
    ) -> None:
        self._schedule, self._scheduler = schedule, _copy(schedule.scheduler)
        self._options, self.condition, self.latents = options, condition, latents
        self.tick = 0

    def copy(self) -> "RequestState":
        """The same again, which goes its own way from here."""
        other = copy.copy(self)
        other._scheduler = _copy(self._scheduler)
        return other

    @property
    def bytes(self) -> int:
        """Of all that another machine needs to go on: the latents, and what a multistep scheduler
        keeps of earlier steps.
        """
        kept: list[Any] = [self.latents]
        for value in vars(self._scheduler).values():
            kept += value if isinstance(value, list) else [value]
        tensors = [value for value in kept if isinstance(value, torch.Tensor)]
        return sum(each.nbytes for each in tensors if each.shape == self.latents.shape)

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the next iteration, without axes, on the CPU."""
        return self._schedule.timesteps[self.tick]

    def network_input(self) -> torch.Tensor:
        """The latents, scaled for the network where the scheduler does so."""
        if not self._schedule.scales:
            return self.latents
        return self._scheduler.scale_model_input(self.latents, self.timestep)

    def step(self, output: torch.Tensor) -> None:
        """Go one iteration on, with the network's ``output`` for this request, shaped as the
        latents.
        """
        self.latents = self._scheduler.step(
            output, self.timestep, self.latents, **self._options, return_dict=False
        )[self._schedule.taken]
        self.tick += 1


def make_schedule(adapter: Adapter, steps: int) -> Schedule:
    """The :class:`Schedule` of ``steps`` steps, as the call of the adapter's pipeline makes it.

    Raises :class:`InputError` for steps that its scheduler or its network cannot take.
    """
    scheduler = _copy(adapter.pipeline.scheduler)
    if not 1 <= steps <= (adapter.most_steps or steps):
        raise InputError(
            f"steps: found {steps}; allowed: 1 to {adapter.most_steps}, for which the network of "
            f"a {type(adapter.pipeline).__name__} was distilled"
        )
    try:
        timesteps = adapter.set_timesteps(scheduler, steps)
    except Exception as error:  # a scheduler may raise anything
        reason = " ".join(str(error).split())
        raise InputError(
            f"steps: found {steps}; {type(scheduler).__name__} refuses: {reason}"
        ) from None
    if adapter.sets_begin_index and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return Schedule(scheduler, timesteps, adapter.scheduler_scales, adapter.taken(steps))


def _copy(scheduler: SchedulerMixin) -> SchedulerMixin:
    """A copy with a state of its own. Tensors and config are shared: no scheduler changes them in
    place.
    """
    shared = [
        value
        for name, value in vars(scheduler).items()
        if isinstance(value, torch.Tensor) or name == "_internal_dict"
    ]
    return copy.deepcopy(scheduler, {id(value): value for value in shared})
