"""Samplers: which step counts a scheduler takes, and which classes can take a model's config.

Both are found by trial on a few numbers, with the scheduler's own ``step``: what a class refuses,
and what it ignores, differs between classes and versions of diffusers.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin

from solver.inputs import InputError, check_keys
from testbed.models.library_errors import reason

#: Step counts up to this one are tried one by one to say what is allowed.
_TRIED = 100
#: Of the trial of a class: steps, mean and standard deviation of what is sampled, and the standard
#: deviation of the network's error: some classes take a step that no error may be in.
_TRIAL_STEPS, _MEAN, _SPREAD, _ERROR = 24, 0.7, 0.1, 0.02
#: Without these fields a class does not know what the network was trained for.
_NEEDED = ("beta_schedule", "prediction_type")

#: The network's output from its input and the timestep.
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def check_steps(scheduler: SchedulerMixin, asked: Mapping[str, Iterable[int]]) -> None:
    """Raise :class:`InputError` for a step count that ``scheduler`` does not take, of those that
    each setting in ``asked`` asks for.
    """
    refused: dict[int, str | None] = {}
    for setting, counts in asked.items():
        for steps in counts:
            if steps not in refused:
                refused[steps] = refusal(scheduler, steps)
            if said := refused[steps]:
                raise InputError(
                    f"{setting}: found {steps}; allowed: {_allowed(scheduler, steps)} "
                    f"with {type(scheduler).__name__}, which says: {said}"
                )


def refusal(scheduler: SchedulerMixin, steps: int) -> str | None:
    """What goes wrong in a sampling of ``steps`` steps; None where nothing does."""
    try:
        noise = torch.Generator().manual_seed(0)
        result = _sample(
            scheduler, steps, lambda latents, _: torch.randn(latents.shape, generator=noise)
        )
    except Exception as error:  # a scheduler may raise anything
        return reason(error)
    return None if result.isfinite().all() else "its result is not finite"


def set_steps(scheduler: SchedulerMixin, steps: int, **options: Any) -> torch.Tensor:
    """Set ``scheduler`` to ``steps`` steps, on the CPU; returns the timesteps at which the network
    is called. ``options``: of its ``set_timesteps``.
    """
    angles = "intermediate_timesteps" in _takes(scheduler.set_timesteps)  # SCMScheduler
    if angles and steps != 2:
        options["intermediate_timesteps"] = None  # by default it is between two steps
    scheduler.set_timesteps(steps, device="cpu", **options)
    return scheduler.timesteps[:-1] if angles else scheduler.timesteps  # its last one is the end


def next_count(scheduler: SchedulerMixin, least: int) -> int:
    """The smallest step count of at least ``least`` that ``scheduler`` takes, or ``least``."""
    counts = range(least, least + _TRIED)
    return next((steps for steps in counts if refusal(scheduler, steps) is None), least)


def usable(scheduler: SchedulerMixin) -> list[str]:
    """Names of the classes that sample what a model with this ``scheduler`` was trained on, of
    those that diffusers calls compatible and that the installed packages suffice for.
    """
    return sorted(
        name for name, kind in _compatible(scheduler).items() if misfit(scheduler, kind) is None
    )


def replaced(scheduler: SchedulerMixin, name: str) -> SchedulerMixin:
    """Diffusers' class ``name``, made from the config of ``scheduler``.

    Raises :class:`InputError` for a class that is unknown, or that gives noise with this config.
    """
    kinds = _compatible(scheduler)
    if name not in kinds:
        check_keys("scheduler", [name], usable(scheduler))
    if said := misfit(scheduler, kinds[name]):
        allowed = ", ".join(usable(scheduler))
        raise InputError(f"scheduler: found {name}: {said}; allowed: {allowed}")
    return kinds[name].from_config(scheduler.config)


def misfit(own: SchedulerMixin, kind: type[Any] | None = None) -> str | None:
    """Why the class ``kind`` (None: its own) gives noise by the config of ``own``, if it does.

    It samples a normal distribution whose exact denoiser is known: of x = sqrt(a) x0 + sqrt(1 - a)
    e, at noise level a, the mean of x0 is that of two normal distributions multiplied. A class that
    takes other noise levels than the model knows, or enlarges small errors, ends far from it. One
    that draws noise of its own ends elsewhere a second time.
    """
    kind = kind or type(own)
    ignored = [name for name in _NEEDED if name in own.config and name not in _takes(kind.__init__)]
    try:
        with warnings.catch_warnings(action="ignore"):
            scheduler = kind.from_config(own.config)
    except ImportError as error:
        return reason(error)
    except Exception as error:  # a scheduler may raise anything
        return f"it does not take this model's config: {reason(error)}"
    if ignored:
        return f"it is made for other models: it ignores {' and '.join(ignored)}"
    levels = getattr(own, "alphas_cumprod", None)
    if levels is None or own.config.get("prediction_type") not in _OUTPUTS:
        return None  # not a process of which the exact denoiser is known here
    output = _OUTPUTS[own.config.prediction_type]
    try:
        result, again = (
            _sample(scheduler, _TRIAL_STEPS, _nearly_exact(levels, output)) for _ in range(2)
        )
    except Exception as error:
        return f"it fails by this model's config: {reason(error)}"
    if not (result - _MEAN).square().mean().sqrt() < 4 * _SPREAD:  # or it is not a number
        return "it gives noise: it takes other noise levels than this model was trained on"
    if not torch.equal(result, again):
        return "its noise is not of the seed: no image could be made again"
    return None


def _nearly_exact(levels: torch.Tensor, output: Callable[..., torch.Tensor]) -> Network:
    """The network that knows the normal distribution but for a small error; ``levels``: a at each
    timestep.
    """
    known, errors = levels.double().numpy(), torch.Generator().manual_seed(2)

    def network(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        level = float(np.interp(float(timestep), np.arange(len(known)), known))
        signal, noise = level**0.5, max(1 - level, 1e-12) ** 0.5
        gain = signal * _SPREAD**2 / (level * _SPREAD**2 + 1 - level)
        clean = _MEAN + gain * (latents - signal * _MEAN)
        clean = clean + _ERROR * torch.randn(latents.shape, generator=errors)
        return output(signal, noise, clean, (latents - signal * clean) / noise)

    return network


def _compatible(scheduler: SchedulerMixin) -> dict[str, type[Any]]:
    return {kind.__name__: kind for kind in (*scheduler.compatibles, type(scheduler))}


def _takes(function: Callable[..., Any]) -> Iterable[str]:
    return inspect.signature(function).parameters


#: What a network of each ``prediction_type`` puts out: of signal and noise level, image and noise.
_OUTPUTS: dict[str, Callable[..., torch.Tensor]] = {
    "epsilon": lambda _signal, _noise, _clean, epsilon: epsilon,
    "sample": lambda _signal, _noise, clean, _epsilon: clean,
    "v_prediction": lambda signal, noise, clean, epsilon: signal * epsilon - noise * clean,
}


def _sample(scheduler: SchedulerMixin, steps: int, network: Network) -> torch.Tensor:
    """What comes of ``steps`` steps by a copy of ``scheduler`` on small latents."""
    tensors = [value for value in vars(scheduler).values() if isinstance(value, torch.Tensor)]
    scheduler = copy.deepcopy(scheduler, {id(tensor): tensor for tensor in tensors})
    options: dict[str, Any] = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    generator = torch.Generator().manual_seed(1)
    extra = {"generator": generator} if "generator" in _takes(type(scheduler).step) else {}
    latents = torch.randn(1, 4, 4, 4, generator=generator)
    with warnings.catch_warnings(action="ignore"):
        timesteps = set_steps(scheduler, steps, **options)
        if not len(timesteps):
            raise ValueError("no timesteps")
        latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
        for timestep in timesteps:
            scaled = latents
            if hasattr(scheduler, "scale_model_input"):
                scaled = scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(
                network(scaled, timestep), timestep, latents, return_dict=False, **extra
            )[0]
    return latents


def _allowed(scheduler: SchedulerMixin, refused: int) -> str:
    """The step counts that ``scheduler`` takes, in words; it refuses ``refused``."""
    counts = [n for n in range(1, _TRIED + 1) if refusal(scheduler, n) is None]
    open_ended = counts[-1:] == [_TRIED] and refused < _TRIED
    if counts[-1:] == [_TRIED] and refused > _TRIED:
        low, high = _TRIED, refused
        while high - low > 1:
            middle = (low + high) // 2
            taken = refusal(scheduler, middle) is None
            low, high = (middle, high) if taken else (low, middle)
        counts += range(_TRIED + 1, low + 1)
    spans = []
    for _, run in groupby(enumerate(counts), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        ends = dict.fromkeys((numbers[0], numbers[-1]))
        spans.append(" to ".join(map(str, ends)))
    if open_ended:
        spans[-1] = f"from {spans[-1].split()[0]}"
    return ", ".join(spans) or "none"
