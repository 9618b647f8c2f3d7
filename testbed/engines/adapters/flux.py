"""FLUX.1: dev and schnell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin

from testbed.engines.adapters.adapter import Condition
from testbed.engines.adapters.flow import FlowMatching
from testbed.models.samplers import set_steps


class Flux(FlowMatching):
    """A CLIP encoder's pooled text and a T5. The network takes the guidance scale itself (dev) or
    none at all (schnell): there is no second half, and a negative prompt has no effect.

    Latents stay (channels, height, width) between the calls; the network takes them packed into
    tokens of 2 x 2.
    """

    sets_begin_index = True
    patch, most_shift = 2, 1.15

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        super().__init__(pipeline)
        _, height, width = self.latent_shape
        height, width = 2 * (height // 2), 2 * (width // 2)
        self.latent_shape = (self.config.in_channels // 4, height, width)
        self.pixels = height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor

    def guided(self, guidance: float) -> bool:
        return False

    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        text, pooled, _ = self.pipeline.encode_prompt(prompts, None, device=self.device)
        scales = torch.tensor(guidance, dtype=torch.float32, device=self.device)
        return Condition.split(
            text=text, pooled=pooled, guidance=scales if self.config.guidance_embeds else None
        )

    def arguments(self, rows: Condition) -> dict[str, Any]:
        _, height, width = self.latent_shape
        dtype = rows.text.dtype
        return {
            "encoder_hidden_states": rows.text,
            "pooled_projections": rows.pooled,
            "guidance": rows.guidance,
            "txt_ids": torch.zeros(rows.text.shape[1], 3, device=self.device, dtype=dtype),
            "img_ids": self.pipeline._prepare_latent_image_ids(
                1, height // 2, width // 2, self.device, dtype
            ),
        }

    def set_timesteps(self, scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
        flow = scheduler.config.get("use_flow_sigmas", False)
        sigmas = {} if flow else {"sigmas": np.linspace(1.0, 1 / steps, steps)}
        return set_steps(scheduler, steps, mu=self.shift(scheduler), **sigmas)

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        packed = self.pipeline._pack_latents(latents, *latents.shape)
        times = timesteps.to(latents.dtype) / 1000
        outputs = super().denoise(packed, times, arguments)
        return self.pipeline._unpack_latents(outputs, *self.pixels, self.pipeline.vae_scale_factor)
