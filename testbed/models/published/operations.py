"""Floating-point operations of published architectures, counted on networks without memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from testbed.engines.networks import Networks
from testbed.models.published import architectures, catalogue


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one image at an architecture's resolution, with its guidance:
    of the text encoding, of a denoising step, of the decoding.

    Prompts are tokens of the embedded models' tokenizer: Sana's, behind an instruction, are more
    than its own would be.
    """

    text: int
    step: int
    decode: int


@cache
def operations(name: str) -> Operations:
    """The :class:`Operations` of the architecture ``name``."""
    guidance = catalogue.find(name).guidance
    networks = Networks(architectures.assemble(name, "meta", torch.float16))
    _unmask(networks.pipeline.text_encoder)
    rows = 2 if networks.guided(guidance) else 1
    with torch.no_grad():
        text, conditions = _count(networks.adapter.encode, ["a"], [guidance])
        latents = torch.empty(rows, *networks.latent_shape, dtype=torch.float16, device="meta")
        timesteps = torch.empty(rows, device="meta")
        arguments = networks.stack(conditions * rows)
        return Operations(
            text=rows * text,
            step=_count(networks.denoise, latents, timesteps, arguments)[0],
            decode=_count(networks.adapter.decode, latents[:1])[0],
        )


def _unmask(encoder: torch.nn.Module) -> None:
    """Leave masks out: they cost nothing, and a T5 looks at their values."""
    forward = encoder.forward
    encoder.forward = lambda *args, attention_mask=None, **kwargs: forward(*args, **kwargs)


def _count(call: Callable[..., Any], *args: Any) -> tuple[int, Any]:
    """The operations of ``call``, and what it returns."""
    with FlopCounterMode(display=False) as counter:
        returned = call(*args)
    return counter.get_total_flops(), returned
