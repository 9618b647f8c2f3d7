"""What the transformers of flow matching have in common."""

from typing import Any

import torch
from diffusers import SchedulerMixin
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from testbed.engines.adapters.adapter import Adapter


class FlowMatching(Adapter):
    """The schedule may shift with the image's tokens; latents have a scale and an offset."""

    patch: int  # latents a side of a token
    most_shift: float  # where the scheduler's config names none

    def step_options(self, generator: torch.Generator) -> dict[str, Any]:
        return {}

    def shift(self, scheduler: SchedulerMixin) -> float:
        """``mu`` of the schedule: affine in the image's tokens, by the scheduler's config."""
        get = scheduler.config.get
        _, height, width = self.latent_shape
        return calculate_shift(
            (height // self.patch) * (width // self.patch),
            get("base_image_seq_len", 256),
            get("max_image_seq_len", 4096),
            get("base_shift", 0.5),
            get("max_shift", self.most_shift),
        )

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.vae.config
        latents = latents / config.scaling_factor + config.shift_factor
        return self.vae.decode(latents, return_dict=False)[0]
