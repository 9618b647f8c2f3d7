"""One of diffusers' schedulers for each request, so that requests at different steps of different
schedules share a batch.

A scheduler keeps one state and one index, and a multistep one its history: therefore a copy a
request, stepped with the request's own slice of the batch. A config, a stochastic sampler,
clipping: all mean here what they mean in the pipeline's own call, to the bit.
"""

import copy

import torch

from solver.inputs import InputError


class Sampler:
    """A request's state between ticks: its scheduler, its latents (1, channels, height, width), the
    tick that comes next.

    ``scheduler``: made by :func:`schedule`, copied here. ``noise``: the request's standard normal
    latents. ``options``: what the pipeline's call hands to the scheduler's step.
    """

    def __init__(self, scheduler, noise, options):
        self._scheduler, self._options = _copy(scheduler), options
        self.latents = noise * scheduler.init_noise_sigma
        self.tick = 0

    @property
    def timestep(self):
        return self._scheduler.timesteps[self.tick]

    def network_input(self):
        """The latents, scaled as the scheduler wants the network to see them."""
        return self._scheduler.scale_model_input(self.latents, self.timestep)

    def step(self, output):
        """One tick on, with the network's output for this request, shaped as the latents."""
        self.latents = self._scheduler.step(
            output, self.timestep, self.latents, **self._options, return_dict=False
        )[0]
        self.tick += 1


def schedule(scheduler, steps, begins):
    """A copy of ``scheduler`` set to ``steps`` steps; ``len(it.timesteps)`` ticks: more than steps
    for samplers of second order.

    Its timesteps stay on the CPU, where its coefficients are, or every step would wait for the
    device. ``begins``: whether the pipeline's call tells the scheduler where it begins. Raises
    :class:`InputError` for steps that the scheduler cannot take.
    """
    scheduler = _copy(scheduler)
    try:
        scheduler.set_timesteps(steps, device="cpu")
    except ValueError as error:
        raise InputError(
            f"steps: found {steps}; {type(scheduler).__name__} refuses: {' '.join(str(error).split())}"
        ) from None
    if begins and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return scheduler


def _copy(scheduler):
    """A copy with a state of its own; tensors and config, which no scheduler changes in place, are
    shared.
    """
    shared = [
        value
        for name, value in vars(scheduler).items()
        if isinstance(value, torch.Tensor) or name == "_internal_dict"
    ]
    return copy.deepcopy(scheduler, {id(value): value for value in shared})
