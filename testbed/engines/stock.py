"""Generate images through diffusers' own pipeline, timing the stages: text, each step, decode."""

import time
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Generated:
    """One call of a pipeline and what it cost. Times in seconds; ``energy_j`` in joules, ``None``
    without a meter.
    """

    images: np.ndarray  # uint8, (prompts, height, width, 3)
    text_time: float
    step_times: list[float]
    decode_time: float
    energy_j: float | None

    @property
    def time(self):
        return self.text_time + sum(self.step_times) + self.decode_time

    def measured(self, meter):
        """The call's times and energy as a record holds them, ``batch`` images together; ``meter``
        has just given the energy.
        """
        return {
            "text_time": self.text_time,
            "step_times": self.step_times,
            "decode_time": self.decode_time,
            "time": self.time,
            "energy_j": self.energy_j,
            "energy_parts_j": meter.parts_j,
            "clock_hz": meter.clock_hz,
            "meter": meter.name,
            "batch": len(self.images),
        }


def synchronised_clock(device):
    """Seconds on a monotonic clock, read after the device has finished what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def generate(pipeline, prompts, seeds, steps, guidance, meter, negative_prompt=None):
    """Run ``pipeline`` once for a list of prompts; each image's noise comes from its own seed
    alone, drawn on the CPU.

    The text stage lasts until the denoiser is first called, the steps are split by diffusers' own
    callback, the rest is the decode. Returns a :class:`Generated`.
    """
    device = pipeline._execution_device  # with offload, pipeline.device is where the weights wait
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    away = {"negative_prompt": [negative_prompt] * len(prompts)} if negative_prompt else {}
    marks = []

    def first_call(*_):
        if not marks:
            marks.append(synchronised_clock(device))

    def step_end(_pipeline, _step, _timestep, kwargs):
        marks.append(synchronised_clock(device))
        return kwargs

    hook = denoiser.register_forward_pre_hook(first_call)
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
            **away,
        )
        end = synchronised_clock(device)
        energy_j = meter.stop()
    finally:
        hook.remove()
    images = (result.images * 255).round().clip(0, 255).astype(np.uint8)
    step_times = [b - a for a, b in zip(marks, marks[1:])]
    return Generated(images, marks[0] - start, step_times, end - marks[-1], energy_j)
