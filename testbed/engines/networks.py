"""A pipeline's networks, each called for a batch as the pipeline's own call does it: text encoders,
denoiser, decoder. What differs from pipeline to pipeline is in :mod:`testbed.engines.adapters`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray

from solver.inputs import InputError
from testbed.engines.adapters.adapter import Adapter, Condition
from testbed.engines.adapters.flux import Flux
from testbed.engines.adapters.pixart import PixArtAlpha, PixArtSigma
from testbed.engines.adapters.sana import Sana, SanaSprint
from testbed.engines.adapters.stable_diffusion import StableDiffusion, StableDiffusionXL
from testbed.engines.adapters.stable_diffusion_3 import StableDiffusion3
from testbed.engines.request_state import RequestState, Schedule, make_schedule
from testbed.models.samplers import next_count

if TYPE_CHECKING:
    from testbed.engines.request import Request

#: Encoded negative prompts that are kept: a server is asked for ever new ones.
NEGATIVE_PROMPTS = 64
#: The pipelines that are served, and how.
ADAPTERS: dict[type[DiffusionPipeline], type[Adapter]] = {
    diffusers.StableDiffusionPipeline: StableDiffusion,
    diffusers.StableDiffusionXLPipeline: StableDiffusionXL,
    diffusers.StableDiffusion3Pipeline: StableDiffusion3,
    diffusers.FluxPipeline: Flux,
    diffusers.PixArtAlphaPipeline: PixArtAlpha,
    diffusers.PixArtSigmaPipeline: PixArtSigma,
    diffusers.SanaPipeline: Sana,
    diffusers.SanaSprintPipeline: SanaSprint,
}


def find_adapter(pipeline: DiffusionPipeline) -> type[Adapter] | None:
    """The adapter of the ``pipeline``, None where there is none: a subclass may do otherwise.

    (:func:`testbed.models.pipelines.tell_steps` makes one that does the same, of the same name.)
    """
    kinds = (kind for kind in type(pipeline).__mro__ if kind in ADAPTERS)
    kind = next(kinds, None)
    return ADAPTERS[kind] if kind and kind.__name__ == type(pipeline).__name__ else None


def unsupported_reason(pipeline: DiffusionPipeline) -> str | None:
    """Why continuous batching cannot serve ``pipeline``, in one line; ``None`` if it can."""
    kind, adapter = type(pipeline).__name__, find_adapter(pipeline)
    if adapter is None:
        return f"{kind}: served are {', '.join(served.__name__ for served in ADAPTERS)}"
    if type(pipeline.vae) not in adapter.decoders:
        served = " and ".join(decoder.__name__ for decoder in adapter.decoders)
        return f"{kind}: its VAE is a {type(pipeline.vae).__name__}; served: {served}"
    if getattr(pipeline, "memory", None) == "offload":
        return f"{kind}: with memory = 'offload' each call would move its networks to and fro"
    for part in ("safety_checker", "watermark"):
        if getattr(pipeline, part, None) is not None:
            return f"{kind}: it has a {part}"
    return None


def call_options(pipeline: DiffusionPipeline, steps: int) -> dict[str, Any]:
    """What the pipeline's own call must be told for so many steps of an image of its size."""
    adapter = find_adapter(pipeline)
    return adapter(pipeline).call_options(steps) if adapter else {}


def check_call(pipeline: DiffusionPipeline, steps: int, negative_prompt: str | None = None) -> None:
    """Raise :class:`InputError` for what the ``pipeline`` cannot take, alone or in a batch."""
    if kind := find_adapter(pipeline):
        make_schedule(kind(pipeline), steps)
        if negative_prompt and not kind.takes_negative_prompt:
            name = type(pipeline).__name__
            raise InputError(
                f"negative_prompt: found {negative_prompt!r}; a {name} takes none; leave it out"
            )


def least_steps(pipeline: DiffusionPipeline, least: int) -> int:
    """The smallest step count of at least ``least`` that ``pipeline`` takes, alone and in a batch:
    with most samplers PixArt-alpha's call cannot take a single step.
    """
    steps = next_count(pipeline.scheduler, least)
    try:
        check_call(pipeline, steps)
    except InputError:
        return next_count(pipeline.scheduler, steps + 1)
    return steps


class Networks:
    """The networks of a pipeline without an :func:`unsupported_reason`, for images of the
    pipeline's own size.
    """

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        adapter = find_adapter(pipeline)
        assert adapter is not None, "unsupported_reason() names what is served"
        self.pipeline, self.adapter = pipeline, adapter(pipeline)
        self.device, self.latent_shape = self.adapter.device, self.adapter.latent_shape
        self._negative: dict[str | None, Condition] = {}

    def guided(self, guidance: float) -> bool:
        """Whether the pipeline makes a second, unconditional half for this guidance scale."""
        return self.adapter.guided(guidance)

    def schedule(self, steps: int) -> Schedule:
        """The iterations of ``steps`` steps; raises :class:`InputError` where there are none."""
        return make_schedule(self.adapter, steps)

    @torch.no_grad()
    def encode(self, requests: "Sequence[Request]") -> list[Condition]:
        """Conditions of ``requests``, by one call of each text encoder."""
        for request in requests:
            if self.guided(request.guidance):
                self.negative(request.negative_prompt)
        return self.adapter.encode(
            [request.prompt for request in requests], [request.guidance for request in requests]
        )

    @torch.no_grad()
    def negative(self, prompt: str | None = None) -> Condition:
        """The condition of the half that guidance leads away from: made once for each negative
        prompt.
        """
        if prompt not in self._negative:
            self._negative[prompt] = self.adapter.encode_negative(prompt)
        return self._negative[prompt]

    def forget_negatives(self) -> None:
        """Forget all negative prompts where more than :data:`NEGATIVE_PROMPTS` are kept."""
        if len(self._negative) > NEGATIVE_PROMPTS:
            self._negative.clear()

    def stack(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """The denoiser's keyword arguments for rows of these ``conditions``."""
        return self.adapter.arguments(Condition.stack(conditions))

    def noise(self, generator: torch.Generator, condition: Condition) -> torch.Tensor:
        """Standard normal latents (1, channels, height, width)."""
        dtype = self.adapter.noise_dtype or condition.text.dtype
        return randn_tensor((1, *self.latent_shape), generator, self.device, dtype)

    def begin(self, schedule: Schedule, condition: Condition, seed: int) -> RequestState:
        """A request before its first iteration; its noise comes from ``seed`` alone."""
        generator = torch.Generator("cpu").manual_seed(seed)
        latents = self.adapter.start(self.noise(generator, condition), schedule.scheduler)
        return RequestState(schedule, condition, latents, self.adapter.step_options(generator))

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        """One call of the denoiser: ``latents`` (rows, channels, height, width), ``timesteps``
        (rows,) on any device, and the ``arguments`` that :meth:`stack` made.
        """
        if self.device.type == "mps" and timesteps.dtype == torch.float64:
            timesteps = timesteps.float()  # there are no others there
        return self.adapter.denoise(latents, timesteps.to(self.device), arguments)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> NDArray[np.float32]:
        """Images of ``latents`` (n, channels, height, width): in [0, 1], (n, height, width, 3)."""
        images = self.adapter.decode(latents)
        return self.pipeline.image_processor.postprocess(images, output_type="np")
