"""Networks of published architectures at their true size, with random weights.

What the weights are changes neither time nor memory, so these stand for the models where their
weights cannot be had. Shrunk, they are folders of a model's true architecture for tests.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from torch.utils._python_dispatch import TorchDispatchMode

from testbed.models.pipelines import WEIGHTS
from testbed.models.published.catalogue import find

SHRUNK_GROUPS = 8  # of normalisation; 32 do not divide shrunk widths
_SHRUNK_LATENTS = 8  # a side
_BINNED = ("PixArt", "Sana")  # their tables of aspect ratios have a least, or only, number of
_BINNED_LATENTS = 32

_WIDTHS = (
    "block_out_channels",
    "cross_attention_dim",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "d_model",
    "d_ff",
    "d_kv",
    "num_heads",  # T5's, whose d_model is not heads of d_kv: others' widths are
    "caption_channels",
    "joint_attention_dim",
    "caption_projection_dim",
    "pooled_projection_dim",
    "pos_embed_max_size",
    "head_dim",
)
# a UNet's is a number of heads
_HEADS = ("attention_head_dim", "cross_attention_head_dim")
_LANGUAGE_MODELS = ("T5EncoderModel", "Gemma2Model")  # they read hundreds of tokens, padded
_DECODER_SHRINK = 4  # further: images of 1024 pixels are decoded in tests


def build(
    name: str,
    device: str | torch.device,
    dtype: torch.dtype = torch.float32,
    shrink: int = 1,
    parts: Collection[str] | None = None,
) -> dict[str, torch.nn.Module]:
    """Networks of the architecture ``name``, ``{part: module}``, made on ``device`` in ``dtype`` at
    once, weights drawn from seed 0.

    ``shrink`` divides all widths (2, 4 or 8) and takes two layers where there are many, of a
    language model one; ``parts``: only these. On ``"meta"`` nothing is allocated.
    """
    chosen = {
        part: component
        for part, component in find(name).parts.items()
        if parts is None or part in parts
    }
    where = torch.device(device)
    forked = [where.index or 0] if where.type == "cuda" else []
    draw = _Undrawn() if where.type == "meta" else nullcontext()
    with torch.random.fork_rng(forked), _made_in(dtype), where, draw:
        torch.manual_seed(0)
        return {
            part: _network(kind, _shrunk(kind, config, shrink)).eval()
            for part, (kind, config) in chosen.items()
        }


def assemble(
    name: str, device: str | torch.device, dtype: torch.dtype = torch.float32, shrink: int = 1
) -> DiffusionPipeline:
    """The whole pipeline of the architecture ``name``, as diffusers itself makes it, with random
    weights and the embedded models' tokenizer.
    """
    architecture = find(name)
    networks = build(name, device, dtype, shrink)
    tokenizers = {
        part.replace("text_encoder", "tokenizer"): _tokenizer()
        for part in networks
        if part.startswith("text_encoder")
    }
    kind, config = architecture.scheduler
    extra: dict[str, Any] = {}
    if architecture.pipeline == "StableDiffusionPipeline":
        extra = {
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    pipeline = getattr(diffusers, architecture.pipeline)(
        **networks, **tokenizers, scheduler=getattr(diffusers, kind)(**config), **extra
    )
    if shrink > 1 and architecture.pipeline == "FluxPipeline":
        pipeline.default_sample_size = _SHRUNK_LATENTS  # it is no value of a network's
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _network(kind: str, config: dict[str, Any]) -> torch.nn.Module:
    if kind.startswith("CLIP"):
        tokenizer = _tokenizer()
        ends = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        return getattr(transformers, kind)(transformers.CLIPTextConfig(**config, **ends))
    if kind in _LANGUAGE_MODELS:
        settings = getattr(
            transformers, kind.removesuffix("EncoderModel").removesuffix("Model") + "Config"
        )
        return getattr(transformers, kind)(settings(**config))
    return getattr(diffusers, kind)(**config)


def _shrunk(kind: str, config: dict[str, Any], shrink: int) -> dict[str, Any]:
    """The same kinds of blocks, narrower and fewer."""
    if shrink == 1:
        return config
    small = dict(config)
    widths = (*_WIDTHS, *_HEADS) if "Transformer2D" in kind else _WIDTHS
    for key in (key for key in widths if key in small):
        small[key] = (
            [width // shrink for width in small[key]]
            if isinstance(small[key], list)
            else small[key] // shrink
        )
    if "axes_dims_rope" in small:
        head = small["attention_head_dim"]  # even parts of it
        small["axes_dims_rope"] = [head // 4, 3 * head // 8, 3 * head // 8]
    for layers in ("num_layers", "num_single_layers", "num_hidden_layers"):
        if layers in small:
            small[layers] = 1 if kind in _LANGUAGE_MODELS else 2
    if "num_key_value_heads" in small:
        small["num_attention_heads"] = small["num_key_value_heads"] = 1
    if "transformer_layers_per_block" in small:
        small["transformer_layers_per_block"] = 1
    if "vocab_size" in small:
        small["vocab_size"] = len(_tokenizer())
    if "sample_size" in small:
        binned = kind.startswith(_BINNED)
        small["sample_size"] = _BINNED_LATENTS if binned else _SHRUNK_LATENTS
    if kind in ("UNet2DConditionModel", "AutoencoderKL"):
        small["norm_num_groups"] = SHRUNK_GROUPS
    if kind == "AutoencoderDC":
        for side in ("encoder", "decoder"):
            channels = small[f"{side}_block_out_channels"]
            small[f"{side}_block_out_channels"] = [
                width // shrink // _DECODER_SHRINK for width in channels
            ]
            small[f"{side}_layers_per_block"] = [1] * len(channels)
        small["attention_head_dim"] = 32 // shrink
    return small


def _tokenizer() -> transformers.CLIPTokenizer:
    return transformers.CLIPTokenizer.from_pretrained(
        WEIGHTS / "light" / "tokenizer", model_max_length=77
    )


class _Undrawn(TorchDispatchMode):
    """Leaves weights as they are: torch takes longer to draw those without memory than to make
    them.
    """

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.overloadpacket in _DRAWS:
            return args[0]
        return function(*args, **(kwargs or {}))


_DRAWS = [getattr(torch.ops.aten, name) for name in ("uniform_", "normal_", "fill_", "zero_")]


@contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
