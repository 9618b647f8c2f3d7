"""The stages around the denoising loop, batched, each as the pipeline's own call does it: text
encoding, denoiser call, decoding.
"""

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)


def served(pipeline):
    """Why the step engine cannot serve ``pipeline``, in one line; ``None`` if it can."""
    kind = type(pipeline).__name__
    if type(pipeline) not in (StableDiffusionPipeline, StableDiffusionXLPipeline):
        return f"{kind}: only StableDiffusionPipeline and StableDiffusionXLPipeline are served"
    if type(pipeline.vae) not in (AutoencoderKL, AutoencoderTiny):
        return f"{kind}: its VAE is a {type(pipeline.vae).__name__}; only AutoencoderKL and AutoencoderTiny are served"
    for part in ("safety_checker", "watermark"):
        if getattr(pipeline, part, None) is not None:
            return f"{kind}: it has a {part}"
    return None


class Stages:
    """The networks of a pipeline that is :func:`served`, for images of its own size.

    A *condition* is all that the denoiser is given for one row but latents and timestep: a dict of
    tensors without a batch axis.
    """

    def __init__(self, pipeline):
        self.pipeline, self.unet, self.vae = pipeline, pipeline.unet, pipeline.vae
        self.device = pipeline._execution_device
        size = getattr(pipeline, "default_sample_size", None) or self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        self.latent_shape = (self.unet.config.in_channels, height, width)
        self._pixels = (height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor)
        self._xl = self.begins = isinstance(
            pipeline, StableDiffusionXLPipeline
        )  # SDXL tells its scheduler where it begins
        self._negative = {}

    def guided(self, guidance):
        """Whether the pipeline makes a second, unconditional half for this guidance scale."""
        return guidance > 1 and self.unet.config.time_cond_proj_dim is None

    @torch.no_grad()
    def encode(self, requests):
        """Conditions of requests with ``prompt``, ``guidance`` and ``negative_prompt``, one each;
        one call of each text encoder.
        """
        for request in requests:
            self.negative(request.negative_prompt)
        embeds, _, *pooled = self._encode([request.prompt for request in requests], False)
        conditions = self._conditions(embeds, *pooled[:1])
        if (
            width := self.unet.config.time_cond_proj_dim
        ) is not None:  # a distilled network takes the guidance scale itself
            embedded = self.pipeline.get_guidance_scale_embedding(
                torch.tensor([request.guidance for request in requests]) - 1, embedding_dim=width
            )
            for condition, row in zip(conditions, embedded.to(self.device, embeds.dtype)):
                condition["timestep_cond"] = row
        return conditions

    @torch.no_grad()
    def negative(self, prompt=None):
        """The condition of the half that guidance leads away from: made once for each negative
        prompt.
        """
        if prompt not in self._negative:
            _, embeds, *pooled = self._encode([""], True, prompt)
            self._negative[prompt] = self._conditions(embeds, *pooled[1:])[0]
        return self._negative[prompt]

    def _encode(self, prompts, guided, negative=None):
        """The pipeline's ``encode_prompt``: prompt's and negative prompt's embeddings, then with
        SDXL both pooled.
        """
        guidance = {
            "do_classifier_free_guidance": guided,
            "negative_prompt": negative and [negative],
        }
        return self.pipeline.encode_prompt(
            prompts, device=self.device, num_images_per_prompt=1, **guidance
        )

    def _conditions(self, embeds, pooled=None):
        conditions = [{"encoder_hidden_states": row} for row in embeds.unbind()]
        if self._xl:
            encoder = self.pipeline.text_encoder_2
            projected = pooled.shape[-1] if encoder is None else encoder.config.projection_dim
            ids = self.pipeline._get_add_time_ids(
                self._pixels, (0, 0), self._pixels, embeds.dtype, projected
            )[0].to(self.device)
            for condition, row in zip(conditions, pooled.unbind()):
                condition.update(text_embeds=row, time_ids=ids)
        return conditions

    @staticmethod
    def stack(conditions):
        """The denoiser's keyword arguments for rows of these conditions."""
        stacked = {
            name: torch.stack([condition[name] for condition in conditions])
            for name in conditions[0]
        }
        added = {name: stacked.pop(name) for name in ("text_embeds", "time_ids") if name in stacked}
        return {**stacked, "added_cond_kwargs": added or None}

    def step_options(self, generator):
        """What the pipeline's call hands to its scheduler's step."""
        return self.pipeline.prepare_extra_step_kwargs(generator, 0.0)

    def denoise(self, latents, timesteps, arguments):
        """One call of the denoiser: latents (rows, channels, height, width), a timestep a row, and
        what :meth:`stack` gave.
        """
        return self.unet(latents, timesteps, return_dict=False, **arguments)[0]

    @torch.no_grad()
    def decode(self, latents):
        """Images of latents (n, channels, height, width): float32 in [0, 1], shape (n, height,
        width, 3).
        """
        vae, config = self.vae, self.vae.config
        upcast = (
            self._xl and vae.dtype == torch.float16 and config.force_upcast
        )  # it overflows in float16
        if upcast:
            vae.to(torch.float32)
            latents = latents.float()
        mean, deviation = (
            getattr(config, "latents_mean", None),
            getattr(config, "latents_std", None),
        )
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
