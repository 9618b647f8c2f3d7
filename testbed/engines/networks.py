"""A pipeline's networks, each called for a batch as the pipeline's own call does it: text encoders,
denoiser, decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from numpy.typing import NDArray

if TYPE_CHECKING:
    from testbed.engines.request import Request


def unsupported_reason(pipeline: DiffusionPipeline) -> str | None:
    """Why continuous batching cannot serve ``pipeline``, in one line; ``None`` if it can."""
    kind = type(pipeline).__name__
    if type(pipeline) not in (StableDiffusionPipeline, StableDiffusionXLPipeline):
        return f"{kind}: only StableDiffusionPipeline and StableDiffusionXLPipeline are served"
    if type(pipeline.vae) not in (AutoencoderKL, AutoencoderTiny):
        decoder = type(pipeline.vae).__name__
        return f"{kind}: its VAE is a {decoder}; only AutoencoderKL and AutoencoderTiny are served"
    for part in ("safety_checker", "watermark"):
        if getattr(pipeline, part, None) is not None:
            return f"{kind}: it has a {part}"
    return None


@dataclass(frozen=True, eq=False)
class Condition:
    """What the denoiser is given for one row beside latents and timestep; tensors without a batch
    axis.

    ``text`` (tokens, width); SDXL's ``pooled_text`` (width,) and ``sizes`` (6,): image size, crop
    and target size; ``guidance`` (width,): the scale, embedded, for a network distilled to take it.
    """

    text: torch.Tensor
    pooled_text: torch.Tensor | None = None
    sizes: torch.Tensor | None = None
    guidance: torch.Tensor | None = None


class Networks:
    """The networks of a pipeline without an :func:`unsupported_reason`, for images of the
    pipeline's own size.
    """

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self.pipeline, self.unet, self.vae = pipeline, pipeline.unet, pipeline.vae
        self.device: torch.device = pipeline._execution_device
        size = getattr(pipeline, "default_sample_size", None) or self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        self.latent_shape: tuple[int, int, int] = (self.unet.config.in_channels, height, width)
        self._pixels = (height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor)
        self._xl = isinstance(pipeline, StableDiffusionXLPipeline)
        #: SDXL's call tells the scheduler at which step it begins.
        self.sets_begin_index = self._xl
        self._negative: dict[str | None, Condition] = {}

    def guided(self, guidance: float) -> bool:
        """Whether the pipeline makes a second, unconditional half for this guidance scale."""
        return guidance > 1 and self.unet.config.time_cond_proj_dim is None

    @torch.no_grad()
    def encode(self, requests: "Sequence[Request]") -> list[Condition]:
        """Conditions of ``requests``, by one call of each text encoder."""
        for request in requests:
            self.negative(request.negative_prompt)
        text, _, *pooled = self._encode([request.prompt for request in requests], False)
        guidance: list[torch.Tensor | None] = [None] * len(requests)
        width = self.unet.config.time_cond_proj_dim
        if width is not None:  # a distilled network takes the guidance scale itself
            scales = torch.tensor([request.guidance for request in requests]) - 1
            embedded = self.pipeline.get_guidance_scale_embedding(scales, embedding_dim=width)
            guidance = list(embedded.to(self.device, text.dtype))
        return self._conditions(text, guidance, *pooled[:1])

    @torch.no_grad()
    def negative(self, prompt: str | None = None) -> Condition:
        """The condition of the half that guidance leads away from: made once for each negative
        prompt.
        """
        if prompt not in self._negative:
            _, text, *pooled = self._encode([""], True, prompt)
            self._negative[prompt] = self._conditions(text, [None], *pooled[1:])[0]
        return self._negative[prompt]

    def _encode(
        self, prompts: list[str], guided: bool, negative: str | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The pipeline's ``encode_prompt``: the embeddings of prompt and negative prompt, then with
        SDXL both pooled.
        """
        return self.pipeline.encode_prompt(
            prompts,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative and [negative],
        )

    def _conditions(
        self,
        text: torch.Tensor,
        guidance: Sequence[torch.Tensor | None],
        pooled: torch.Tensor | None = None,
    ) -> list[Condition]:
        rows = text.unbind()
        if pooled is None:
            return [Condition(row, guidance=scale) for row, scale in zip(rows, guidance)]
        encoder = self.pipeline.text_encoder_2
        projected = pooled.shape[-1] if encoder is None else encoder.config.projection_dim
        sizes = self.pipeline._get_add_time_ids(
            self._pixels, (0, 0), self._pixels, text.dtype, projected
        )[0].to(self.device)
        return [
            Condition(row, pooled_row, sizes, scale)
            for row, pooled_row, scale in zip(rows, pooled.unbind(), guidance)
        ]

    @staticmethod
    def stack(conditions: Sequence[Condition]) -> dict[str, Any]:
        """The denoiser's keyword arguments for rows of these ``conditions``."""

        def rows(name: str) -> torch.Tensor | None:
            if getattr(conditions[0], name) is None:
                return None
            return torch.stack([getattr(condition, name) for condition in conditions])

        pooled = rows("pooled_text")
        return {
            "encoder_hidden_states": rows("text"),
            "timestep_cond": rows("guidance"),
            "added_cond_kwargs": None
            if pooled is None
            else {"text_embeds": pooled, "time_ids": rows("sizes")},
        }

    def step_options(self, generator: torch.Generator) -> dict[str, Any]:
        """What the pipeline's call passes to its scheduler's step."""
        return self.pipeline.prepare_extra_step_kwargs(generator, 0.0)

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        """One call of the denoiser: ``latents`` (rows, channels, height, width), ``timesteps``
        (rows,), and the ``arguments`` that :meth:`stack` made.
        """
        return self.unet(latents, timesteps, return_dict=False, **arguments)[0]

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> NDArray[np.float32]:
        """Images of ``latents`` (n, channels, height, width): in [0, 1], (n, height, width, 3)."""
        vae, config = self.vae, self.vae.config
        # it overflows in float16
        upcast = self._xl and vae.dtype == torch.float16 and config.force_upcast
        if upcast:
            vae.to(torch.float32)
            latents = latents.float()
        mean, deviation = (getattr(config, f"latents_{name}", None) for name in ("mean", "std"))
        if self._xl and mean is not None and deviation is not None:
            mean, deviation = (
                torch.tensor(values, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
                for values in (mean, deviation)
            )
            latents = latents * deviation / config.scaling_factor + mean
        else:
            latents = latents / config.scaling_factor
        try:
            images = vae.decode(latents, return_dict=False)[0]
        finally:
            if upcast:
                vae.to(torch.float16)
        return self.pipeline.image_processor.postprocess(images, output_type="np")
