"""Stable Diffusion 1 and 2, SDXL: a UNet that takes the text by cross attention."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline

from testbed.engines.adapters.adapter import Adapter, Condition


class StableDiffusion(Adapter):
    """Guidance above 1 makes a second half, unless the network is distilled to take the scale."""

    scheduler_scales = True

    def guided(self, guidance: float) -> bool:
        return guidance > 1 and self.config.time_cond_proj_dim is None

    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        text, _, *pooled = self._encode(prompts, False)
        scales = None
        if self.config.time_cond_proj_dim is not None:
            scales = self.pipeline.get_guidance_scale_embedding(
                torch.tensor(guidance) - 1, embedding_dim=self.config.time_cond_proj_dim
            ).to(self.device, text.dtype)
        return self._conditions(text, pooled[:1], scales)

    def encode_negative(self, prompt: str | None) -> Condition:
        _, text, *pooled = self._encode([""], True, prompt)
        return self._conditions(text, pooled[1:], None)[0]

    def _encode(
        self, prompts: list[str], guided: bool, negative: str | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The embeddings of prompt and negative prompt, then with SDXL both pooled."""
        return self.pipeline.encode_prompt(
            prompts,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative and [negative],
        )

    def _conditions(
        self, text: torch.Tensor, pooled: Sequence[torch.Tensor], scales: torch.Tensor | None
    ) -> list[Condition]:
        return Condition.split(text=text, guidance=scales)

    def arguments(self, rows: Condition) -> dict[str, Any]:
        return {
            "encoder_hidden_states": rows.text,
            "timestep_cond": rows.guidance,
            "added_cond_kwargs": None,
        }


class StableDiffusionXL(StableDiffusion):
    """With pooled text and the image's sizes beside. Its decoder overflows in float16."""

    sets_begin_index = True

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        super().__init__(pipeline)
        config = self.vae.config
        mean, deviation = (getattr(config, f"latents_{name}", None) for name in ("mean", "std"))
        self._normal = (mean, deviation) if mean is not None and deviation is not None else None

    def _conditions(
        self, text: torch.Tensor, pooled: Sequence[torch.Tensor], scales: torch.Tensor | None
    ) -> list[Condition]:
        (pooled_text,) = pooled
        encoder = self.pipeline.text_encoder_2
        width = pooled_text.shape[-1] if encoder is None else encoder.config.projection_dim
        sizes = self.pipeline._get_add_time_ids(self.pixels, (0, 0), self.pixels, text.dtype, width)
        sizes = sizes.to(self.device).expand(len(text), -1)
        return Condition.split(text=text, pooled=pooled_text, sizes=sizes, guidance=scales)

    def arguments(self, rows: Condition) -> dict[str, Any]:
        added = {"text_embeds": rows.pooled, "time_ids": rows.sizes}
        return {**super().arguments(rows), "added_cond_kwargs": added}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae, config = self.vae, self.vae.config
        upcast = vae.dtype == torch.float16 and config.force_upcast
        if upcast:
            vae.to(torch.float32)
            latents = latents.float()
        if self._normal is not None:
            mean, deviation = (
                torch.tensor(values, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
                for values in self._normal
            )
            latents = latents * deviation / config.scaling_factor + mean
        else:
            latents = latents / config.scaling_factor
        try:
            return vae.decode(latents, return_dict=False)[0]
        finally:
            if upcast:
                vae.to(torch.float16)
