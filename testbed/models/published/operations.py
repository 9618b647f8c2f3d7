"""Floating-point operations of published architectures, counted on networks without memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
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
    count = _Count(networks.pipeline.components.values())
    rows = 2 if networks.guided(guidance) else 1
    with torch.no_grad():
        text, conditions = count.of(networks.adapter.encode, ["a"], [guidance])
        latents = torch.empty(rows, *networks.latent_shape, dtype=torch.float16, device="meta")
        timesteps = torch.empty(rows, device="meta")
        arguments = networks.stack(conditions * rows)
        return Operations(
            text=rows * text,
            step=count.of(networks.denoise, latents, timesteps, arguments)[0],
            decode=count.of(networks.adapter.decode, latents[:1])[0],
        )


def _unmask(encoder: torch.nn.Module) -> None:
    """Leave masks out: they cost nothing, and a T5 looks at their values."""
    forward = encoder.forward
    encoder.forward = lambda *args, attention_mask=None, **kwargs: forward(*args, **kwargs)


class _Count:
    """Counts operations of the networks among ``parts``. Of layers of one kind that are given
    tensors of the same shapes only the first is run: the others take as many.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self._first: dict[Any, tuple[Any, int]] = {}  # a layer's output and operations
        for network in parts:
            modules = network.modules() if isinstance(network, torch.nn.Module) else ()
            for layers in [part for part in modules if isinstance(part, torch.nn.ModuleList)]:
                for layer in layers:
                    kind = type(layer), tuple(weight.shape for weight in layer.parameters())
                    layer.forward = partial(self._forward, kind, layer.forward)

    def of(self, call: Callable[..., Any], *args: Any) -> tuple[int, Any]:
        """The operations of ``call``, and what it returns."""
        self._skipped = 0
        with FlopCounterMode(display=False) as self._counter:
            returned = call(*args)
        return self._total(), returned

    def _total(self) -> int:
        return self._counter.get_total_flops() + self._skipped

    def _forward(self, kind: Any, forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
        leaves = tree_leaves((args, named))
        key = kind, *(leaf.shape if isinstance(leaf, torch.Tensor) else None for leaf in leaves)
        if key in self._first:
            output, operations = self._first[key]
            self._skipped += operations
        else:
            before = self._total()
            output = forward(*args, **named)
            self._first[key] = output, self._total() - before
        return output
