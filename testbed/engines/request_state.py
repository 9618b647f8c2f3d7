"""A scheduler of diffusers' for each request, so that requests at different steps of different
schedules share a batch.

A scheduler keeps one state and one index, and a multistep one its history. So each request has a
copy, stepped with the request's own slice of the batch. A config, a stochastic sampler and clipping
mean here what they mean in the pipeline's own call, to the bit.
"""

import copy
from typing import Any

import torch
from diffusers import SchedulerMixin

from solver.inputs import InputError
from testbed.engines.networks import Condition


class RequestState:
    """A request between two iterations: its scheduler, its ``condition``, its ``latents`` (1,
    channels, height, width), and ``tick``, the iteration that comes next.

    ``scheduler``: made by :func:`schedule`, copied here. ``noise``: the request's standard normal
    latents. ``options``: what the pipeline's call passes to the scheduler's step.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        condition: Condition,
        noise: torch.Tensor,
        options: dict[str, Any],
    ) -> None:
        self._scheduler, self._options, self.condition = _copy(scheduler), options, condition
        self.latents = noise * scheduler.init_noise_sigma
        self.tick = 0

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the next iteration, without axes, on the CPU."""
        return self._scheduler.timesteps[self.tick]

    def network_input(self) -> torch.Tensor:
        """The latents as the scheduler scales them for the network."""
        return self._scheduler.scale_model_input(self.latents, self.timestep)

    def step(self, output: torch.Tensor) -> None:
        """Go one iteration on, with the network's ``output`` for this request, shaped as the
        latents.
        """
        self.latents = self._scheduler.step(
            output, self.timestep, self.latents, **self._options, return_dict=False
        )[0]
        self.tick += 1


def schedule(scheduler: SchedulerMixin, steps: int, sets_begin_index: bool) -> SchedulerMixin:
    """A copy of ``scheduler`` set to ``steps`` steps. It takes one iteration for each of its
    ``timesteps``: more than ``steps`` for samplers of second order.

    Its timesteps stay on the CPU, where its coefficients are: else every step would wait for the
    device. ``sets_begin_index``: the pipeline's call tells the scheduler where it begins. Raises
    :class:`InputError` for steps that the scheduler cannot take.
    """
    scheduler = _copy(scheduler)
    try:
        scheduler.set_timesteps(steps, device="cpu")
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"steps: found {steps}; {type(scheduler).__name__} refuses: {reason}"
        ) from None
    if sets_begin_index and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return scheduler


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
