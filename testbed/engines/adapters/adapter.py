"""What continuous batching asks of a pipeline's adapter, and what most pipelines answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, SchedulerMixin

from testbed.models.pipelines import denoiser
from testbed.models.samplers import set_steps


@dataclass(frozen=True, eq=False)
class Condition:
    """What the denoiser is given for one row beside latents and timestep; tensors without a batch
    axis. Those of several rows are stacked into one of the same form, with a batch axis.

    ``text`` (tokens, width); its ``mask`` (tokens,), 1 where a token counts; ``pooled`` text
    (width,); ``sizes``: of the image, as the network takes them; ``guidance``: the scale, as a
    network distilled to take it does. None where the network takes no such thing.
    """

    text: torch.Tensor
    mask: torch.Tensor | None = None
    pooled: torch.Tensor | None = None
    sizes: torch.Tensor | None = None
    guidance: torch.Tensor | None = None

    @classmethod
    def split(cls, **batches: torch.Tensor | None) -> "list[Condition]":
        """A condition for each row of the ``batches``, which have it as their first axis."""
        given = {name: batch for name, batch in batches.items() if batch is not None}
        return [cls(**dict(zip(given, row))) for row in zip(*given.values(), strict=True)]

    @classmethod
    def stack(cls, conditions: "Sequence[Condition]") -> "Condition":
        """The ``conditions`` as one, with a batch axis."""

        def rows(name: str) -> torch.Tensor | None:
            if getattr(conditions[0], name) is None:
                return None
            return torch.stack([getattr(condition, name) for condition in conditions])

        return cls(**{each.name: rows(each.name) for each in fields(cls)})


class Adapter(ABC):
    """How a pipeline's own call uses its networks, for images of the pipeline's own size.

    A further pipeline is a subclass and a line in :data:`testbed.engines.networks.ADAPTERS`. The
    steps are taken by a copy of the pipeline's scheduler for each request, whatever the pipeline.
    """

    #: The decoders that :meth:`decode` knows.
    decoders: tuple[type, ...] = (AutoencoderKL, AutoencoderTiny)
    #: Whether the call tells the scheduler at which step it begins.
    sets_begin_index = False
    #: Whether the call lets the scheduler scale the noise, and the latents for the network.
    scheduler_scales = False
    #: The dtype of the noise; None: that of the text.
    noise_dtype: torch.dtype | None = None
    #: Whether the call takes a negative prompt.
    takes_negative_prompt = True
    #: The most steps that the network was distilled to take; None: any number.
    most_steps: int | None = None

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self.pipeline, self.vae = pipeline, pipeline.vae
        self.denoiser: torch.nn.Module = denoiser(pipeline)
        size = getattr(pipeline, "default_sample_size", None) or self.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        #: Pixels of an image (height, width).
        self.pixels = height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor
        self.latent_shape: tuple[int, int, int] = (self.config.in_channels, height, width)

    @cached_property
    def device(self) -> torch.device:
        """Where the networks compute; to find out takes a look at each of their modules."""
        return self.pipeline._execution_device

    @property
    def config(self) -> Any:
        """The denoiser's."""
        return self.denoiser.config

    def guided(self, guidance: float) -> bool:
        """Whether the pipeline makes a second, unconditional half for this guidance scale."""
        return guidance > 1

    @abstractmethod
    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        """The condition of each prompt, by one call of each text encoder; ``guidance``: scales."""

    def encode_negative(self, prompt: str | None) -> Condition:
        """The condition that guidance leads away from; None: the pipeline's own. Never asked where
        nothing is :meth:`guided`.
        """
        raise NotImplementedError

    @abstractmethod
    def arguments(self, rows: Condition) -> dict[str, Any]:
        """The denoiser's keyword arguments for stacked conditions."""

    def start(self, noise: torch.Tensor, scheduler: SchedulerMixin) -> torch.Tensor:
        """The latents of the first iteration, made of standard normal ``noise``."""
        return noise * scheduler.init_noise_sigma if self.scheduler_scales else noise

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        """One call of the denoiser: ``latents`` (rows, channels, height, width), ``timesteps``
        (rows,); its outputs as the scheduler takes them, shaped as the latents.
        """
        return self.denoiser(latents, timestep=timesteps, return_dict=False, **arguments)[0]

    def set_timesteps(self, scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
        """Set ``scheduler`` to ``steps`` steps as the call does, on the CPU; returns the timesteps
        of the iterations. Raises ValueError for steps that it cannot take.
        """
        return set_steps(scheduler, steps)

    def taken(self, steps: int) -> int:
        """Which of what the scheduler's step returns the call goes on with."""
        return 0

    def step_options(self, generator: torch.Generator) -> dict[str, Any]:
        """What the call passes to the scheduler's step."""
        return self.pipeline.prepare_extra_step_kwargs(generator, 0.0)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images of ``latents`` (n, channels, height, width) as the decoder makes them."""
        config = self.vae.config
        return self.vae.decode(latents / config.scaling_factor, return_dict=False)[0]

    def call_options(self, steps: int) -> dict[str, Any]:
        """What the pipeline's own call must be told for so many steps of an image of its size."""
        return {}
