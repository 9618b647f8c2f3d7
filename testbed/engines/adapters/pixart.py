"""PixArt-alpha and PixArt-Sigma."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin

from testbed.engines.adapters.adapter import Adapter, Condition


class BinnedAdapter(Adapter):
    """Images are made at the size that a table of aspect ratios has, and resized to that asked for.

    Text comes with a mask; the network's further channels, a learned variance, are left out.
    """

    nominal: int  # pixels a latent, of the table's square image

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        super().__init__(pipeline)
        side = self.nominal * self.config.sample_size // pipeline.vae_scale_factor
        self.latent_shape = (self.config.in_channels, side, side)

    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        text, mask, _, _ = self._encode(prompts, False)
        return self.conditions(text, mask)

    def encode_negative(self, prompt: str | None) -> Condition:
        _, _, text, mask = self._encode([""], True, prompt or "")
        return self.conditions(text, mask)[0]

    @abstractmethod
    def _encode(
        self, prompts: list[str], guided: bool, negative: str = ""
    ) -> tuple[torch.Tensor, ...]:
        """The call's text and mask of ``prompts``, then those of the negative one if ``guided``."""

    def conditions(self, text: torch.Tensor, mask: torch.Tensor) -> list[Condition]:
        """The condition of each row."""
        return Condition.split(text=text, mask=mask)

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        outputs = super().denoise(latents, timesteps, arguments)
        learned = self.config.out_channels // 2 == self.config.in_channels
        return outputs.chunk(2, dim=1)[0] if learned else outputs

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        images = super().decode(latents.to(self.vae.dtype))
        height, width = self.pixels
        return self.pipeline.image_processor.resize_and_crop_tensor(images, width, height)


class PixArtSigma(BinnedAdapter):
    """A T5 encoder; guidance above 1 makes a second half."""

    nominal = 8
    scheduler_scales = True

    def _encode(
        self, prompts: list[str], guided: bool, negative: str = ""
    ) -> tuple[torch.Tensor, ...]:
        return self.pipeline.encode_prompt(
            prompts, guided, negative, device=self.device, clean_caption=True
        )

    def arguments(self, rows: Condition) -> dict[str, Any]:
        sizes = rows.sizes
        return {
            "encoder_hidden_states": rows.text,
            "encoder_attention_mask": rows.mask,
            "added_cond_kwargs": {
                "resolution": None if sizes is None else sizes[:, :2],
                "aspect_ratio": None if sizes is None else sizes[:, 2:],
            },
        }


class PixArtAlpha(PixArtSigma):
    """At 1024 pixels the network takes the image's size and aspect ratio too. Of a single step the
    call takes the denoised image, which some samplers do not tell: there it fails.
    """

    sets_begin_index = True

    def set_timesteps(self, scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
        timesteps = super().set_timesteps(scheduler, steps)
        if steps == 1:
            trial, zeros = copy.deepcopy(scheduler), torch.zeros(1, 1, 1, 1)
            if len(trial.step(zeros, timesteps[0], zeros, return_dict=False)) < 2:
                raise ValueError("it tells no denoised image; allowed: 2 or more")
        return timesteps

    def taken(self, steps: int) -> int:
        return 1 if steps == 1 else 0

    def conditions(self, text: torch.Tensor, mask: torch.Tensor) -> list[Condition]:
        sizes = None
        if self.config.sample_size == 128:
            height, width = (
                self.pipeline.vae_scale_factor * side for side in self.latent_shape[1:]
            )
            sizes = torch.tensor([[height, width, height / width]]).to(text).expand(len(text), -1)
        return Condition.split(text=text, mask=mask, sizes=sizes)
