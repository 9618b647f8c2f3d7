"""What the configurations of published models are put together from."""

from dataclasses import dataclass
from typing import Any

#: The name of a class of diffusers or transformers, and its configuration.
Component = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Architecture:
    """A published model: its repository on huggingface.co (``source``), diffusers' class of its
    ``pipeline``, ``resolution`` in pixels a side, ``guidance`` scale.

    ``parts``: name in the pipeline -> (class, configuration); ``scheduler`` likewise;
    ``parameters``: as published, by part; ``stored``: bytes of each in the files that name no
    variant.
    """

    source: str
    pipeline: str
    resolution: int
    guidance: float
    parts: dict[str, Component]
    scheduler: Component
    parameters: dict[str, int]
    stored: int = 4


def clip(width: int, layers: int, heads: int, projection: int, act: str = "gelu") -> dict[str, Any]:
    """A CLIP text encoder's configuration."""
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": projection,
        "hidden_act": act,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    }


def vae(**config: Any) -> Component:
    """An ``AutoencoderKL`` of 8 pixels a latent."""
    blocks = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    }
    return (
        "AutoencoderKL",
        {**blocks, "block_out_channels": [128, 256, 512, 512], "sample_size": 512, **config},
    )


CLIP_L = clip(768, 12, 12, 768, "quick_gelu")
CLIP_BIGG = clip(1280, 32, 20, 1280)
T5_XXL = (
    "T5EncoderModel",
    {
        "d_model": 4096,
        "d_ff": 10240,
        "d_kv": 64,
        "num_layers": 24,
        "num_heads": 64,
        "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
)
