"""Generate images through diffusers' own pipeline, and time its parts: text, each step, decode."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from calibration.records.record import Measured
from solver.inputs import InputError
from testbed.engines.networks import call_options
from testbed.metering.meters import AnyMeter
from testbed.models.pipelines import denoiser


@dataclass(frozen=True)
class Generated:
    """One call of a pipeline and what it cost. Times in seconds; ``energy_j`` in joules, ``None``
    where none were measured.
    """

    pixels: NDArray[np.floating]  # in [0, 1], (prompts, height, width, 3)
    names: Sequence[str]  # of the images, in messages
    text_time: float
    step_times: list[float]
    decode_time: float
    energy_j: float | None

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image, (height, width, 3); raises :class:`ImageError` where it is not finite."""
        return to_uint8(self.pixels[index], self.names[index])

    @property
    def images(self) -> NDArray[np.uint8]:
        """All images, (prompts, height, width, 3); raises :class:`ImageError` for the first that is
        not finite.
        """
        return np.stack([self.image(index) for index in range(len(self.pixels))])

    @property
    def time(self) -> float:
        """Seconds of the whole call."""
        return self.text_time + sum(self.step_times) + self.decode_time

    def measured(self, meter: AnyMeter) -> Measured:
        """The call's times and energy as a record holds them; ``meter`` has just measured it."""
        return Measured(
            text_time=self.text_time,
            step_times=tuple(self.step_times),
            decode_time=self.decode_time,
            time=self.time,
            energy_j=self.energy_j,
            energy_parts_j=meter.parts_j,
            clock_hz=meter.clock_hz,
            meter=meter.name,
            batch=len(self.pixels),
        )


class ImageError(InputError):
    """A single image that could not be made; the others can."""


def to_uint8(pixels: NDArray[np.floating], name: str = "image") -> NDArray[np.uint8]:
    """Pixels in [0, 1] as the nearest of 256 levels; raises :func:`not_finite`."""
    if error := not_finite(pixels, name):
        raise error
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def not_finite(pixels: NDArray[np.floating], name: str) -> ImageError | None:
    """The error of an image ``name`` whose pixels are not finite, if they are not: cast, they would
    be black, and two such images alike.
    """
    finite = np.isfinite(pixels)
    if finite.all():
        return None
    return ImageError(
        f"{name}: {1 - finite.mean():.0%} of its pixels are not finite; allowed: a dtype in which "
        "the model does not overflow (bfloat16, float32)"
    )


def image_name(pipeline: DiffusionPipeline, prompt: str, steps: int) -> str:
    """An image in messages: model, dtype, prompt and steps."""
    model = getattr(pipeline, "model_name", type(pipeline).__name__)
    dtype = str(denoiser(pipeline).dtype).removeprefix("torch.")
    return f"{model} in {dtype}, {steps} steps, prompt {prompt[:60]!r}"


def synchronised_clock(device: torch.device) -> float:
    """Seconds on a monotonic clock, read after ``device`` has finished what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def generate(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    meter: AnyMeter,
    negative_prompt: str | None = None,
) -> Generated:
    """Call ``pipeline`` once for all ``prompts``. The noise of an image comes from its own seed
    alone, drawn on the CPU.

    Text encoding lasts until the denoiser is first called, diffusers' own callback ends each step,
    and the rest is decoding.
    """
    device = pipeline._execution_device  # with offload, pipeline.device is where the weights wait
    options = call_options(pipeline, steps)
    if negative_prompt:
        options["negative_prompt"] = [negative_prompt] * len(prompts)
    marks: list[float] = []

    def first_call(*_: Any) -> None:
        if not marks:
            marks.append(synchronised_clock(device))

    def step_end(_pipeline: Any, _step: int, _timestep: Any, kwargs: dict[str, Any]) -> Any:
        marks.append(synchronised_clock(device))
        return kwargs

    hook = denoiser(pipeline).register_forward_pre_hook(first_call)
    try:
        meter.start()
        start = synchronised_clock(device)  # after the meter, whose own reading takes time
        result = pipeline(
            list(prompts),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="np",
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            callback_on_step_end=step_end,
            **options,
        )
        end = synchronised_clock(device)
        energy_j = meter.stop()
    except Exception:
        pipeline.maybe_free_model_hooks()  # with offload what computed would stay on the device
        raise
    finally:
        hook.remove()
    step_times = [after - before for before, after in zip(marks, marks[1:])]
    return Generated(
        result.images,
        [image_name(pipeline, prompt, steps) for prompt in prompts],
        marks[0] - start,
        step_times,
        end - marks[-1],
        energy_j,
    )
