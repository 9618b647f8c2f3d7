"""Floating-point operations of published architectures, counted on networks without memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from testbed.models import architectures, catalogue
from testbed.models.catalogue import Architecture
from testbed.models.pipelines import denoiser


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one image at an architecture's resolution, with its guidance:
    of the text encoding, of a denoising step, of the decoding.
    """

    text: int
    step: int
    decode: int


@cache
def operations(name: str) -> Operations:
    """The :class:`Operations` of the architecture ``name``."""
    architecture = catalogue.find(name)
    pipeline = architectures.assemble(name, "meta", torch.float16)
    rows = 2 if architecture.guidance > 1 else 1
    side = architecture.resolution // pipeline.vae_scale_factor
    network = denoiser(pipeline)
    texts = [
        (part, encoder)
        for part, encoder in pipeline.components.items()
        if part.startswith("text_encoder")
    ]
    with torch.no_grad(), torch.device("meta"):
        shape = (rows, network.config.in_channels, side, side)
        latents = torch.empty(shape, dtype=torch.float16)
        conditions = _conditions(architecture, network.config, rows)
        return Operations(
            text=rows
            * sum(
                _count(encoder, torch.zeros(1, _tokens(architecture, part), dtype=torch.int64))
                for part, encoder in texts
            ),
            step=_count(network, latents, **conditions),
            decode=_count(pipeline.vae.decode, latents[:1]),
        )


def _count(call: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        call(*args, **kwargs)
    return counter.get_total_flops()


def _tokens(architecture: Architecture, part: str) -> int:
    """Tokens that the pipeline pads a prompt to."""
    if architecture.parts[part][0] != "T5EncoderModel":
        return 77
    return 300 if architecture.pipeline == "PixArtSigmaPipeline" else 256


def _conditions(architecture: Architecture, config: Any, rows: int) -> dict[str, Any]:
    """The denoiser's other arguments, as the pipeline gives them, without values."""

    def of(*shape: int) -> torch.Tensor:
        return torch.empty(rows, *shape, dtype=torch.float16)

    if architecture.pipeline == "StableDiffusion3Pipeline":
        text = {
            "encoder_hidden_states": of(77 + 256, config.joint_attention_dim),
            "pooled_projections": of(config.pooled_projection_dim),
        }
    elif architecture.pipeline == "PixArtSigmaPipeline":
        text = {
            "encoder_hidden_states": of(300, config.caption_channels),
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        }
    else:
        added = {"text_embeds": of(1280), "time_ids": of(6)} if config.addition_embed_type else None
        text = {
            "encoder_hidden_states": of(77, config.cross_attention_dim),
            "added_cond_kwargs": added,
        }
    return {"timestep": of(), **text}
