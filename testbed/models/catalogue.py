"""Published text-to-image models by name: the configurations of their networks.

Each configuration is that of the named repository (``unet/config.json`` and so on), less the values
that are the libraries' defaults. Nothing here loads torch.
"""

from dataclasses import dataclass
from typing import Any

from solver.inputs import check_keys

#: The name of a class of diffusers or transformers, and its configuration.
Component = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Architecture:
    """A published model: its repository on huggingface.co (``source``), diffusers' class of its
    ``pipeline``, ``resolution`` in pixels a side, ``guidance`` scale.

    ``parts``: name in the pipeline -> (class, configuration); ``scheduler`` likewise;
    ``parameters``: as published, by part.
    """

    source: str
    pipeline: str
    resolution: int
    guidance: float
    parts: dict[str, Component]
    scheduler: Component
    parameters: dict[str, int]


def _clip(
    width: int, layers: int, heads: int, projection: int, act: str = "gelu"
) -> dict[str, Any]:
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


def _unet(channels: list[int], **config: Any) -> Component:
    return ("UNet2DConditionModel", {"sample_size": 64, "block_out_channels": channels, **config})


def _vae(**config: Any) -> Component:
    blocks = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    }
    return (
        "AutoencoderKL",
        {**blocks, "block_out_channels": [128, 256, 512, 512], "sample_size": 512, **config},
    )


_CLIP_L = _clip(768, 12, 12, 768, "quick_gelu")
_CLIP_BIGG = _clip(1280, 32, 20, 1280)
_T5_XXL = (
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
_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
_PNDM = ("PNDMScheduler", {**_BETAS, "skip_prk_steps": True})
_EULER = ("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "leading"})
_TURBO = {**_BETAS, "timestep_spacing": "trailing"}

_SD1 = {"cross_attention_dim": 768, "attention_head_dim": 8}
_SD1_PARTS = {"text_encoder": ("CLIPTextModel", _CLIP_L), "vae": _vae()}
_SD1_COUNTS = {"text_encoder": 123_060_480, "vae": 83_653_863}
_CROSS, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
_SDXL_UNET = _unet(
    [320, 640, 1280],
    sample_size=128,
    cross_attention_dim=2048,
    attention_head_dim=[5, 10, 20],
    transformer_layers_per_block=[1, 2, 10],
    down_block_types=["DownBlock2D", _CROSS, _CROSS],
    up_block_types=[_CROSS_UP, _CROSS_UP, "UpBlock2D"],
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
)
_SDXL = {
    "text_encoder": ("CLIPTextModel", _CLIP_L),
    "text_encoder_2": ("CLIPTextModelWithProjection", _CLIP_BIGG),
    "vae": _vae(sample_size=1024, scaling_factor=0.13025),
}
_SDXL_COUNTS = {
    "unet": 2_567_463_684,
    "text_encoder": 123_060_480,
    "text_encoder_2": 694_659_840,
    "vae": 83_653_863,
}

ARCHITECTURES = {
    "tiny-sd": Architecture(
        "segmind/tiny-sd",
        "StableDiffusionPipeline",
        512,
        7.5,
        {
            "unet": _unet(
                [320, 640, 1280],
                **_SD1,
                layers_per_block=1,
                mid_block_type=None,
                down_block_types=[_CROSS] * 3,
                up_block_types=[_CROSS_UP] * 3,
            ),
            **_SD1_PARTS,
        },
        _PNDM,
        {"unet": 323_384_964, **_SD1_COUNTS},
    ),
    "bk-sdm-small": Architecture(
        "nota-ai/bk-sdm-small",
        "StableDiffusionPipeline",
        512,
        7.5,
        {
            "unet": _unet([320, 640, 1280, 1280], **_SD1, layers_per_block=1, mid_block_type=None),
            **_SD1_PARTS,
        },
        _PNDM,
        {"unet": 482_346_884, **_SD1_COUNTS},
    ),
    "sd15": Architecture(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "StableDiffusionPipeline",
        512,
        7.5,
        {"unet": _unet([320, 640, 1280, 1280], **_SD1), **_SD1_PARTS},
        _PNDM,
        {"unet": 859_520_964, **_SD1_COUNTS},
    ),
    "sd-turbo": Architecture(
        "stabilityai/sd-turbo",
        "StableDiffusionPipeline",
        512,
        0.0,
        {
            "unet": _unet(
                [320, 640, 1280, 1280],
                cross_attention_dim=1024,
                attention_head_dim=[5, 10, 20, 20],
                use_linear_projection=True,
            ),
            "text_encoder": ("CLIPTextModel", _clip(1024, 23, 16, 512)),
            "vae": _vae(),
        },
        ("EulerDiscreteScheduler", _TURBO),
        {"unet": 865_910_724, "text_encoder": 340_387_840, "vae": 83_653_863},
    ),
    "sdxl": Architecture(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "StableDiffusionXLPipeline",
        1024,
        5.0,
        {"unet": _SDXL_UNET, **_SDXL},
        _EULER,
        _SDXL_COUNTS,
    ),
    "sdxl-turbo": Architecture(
        "stabilityai/sdxl-turbo",
        "StableDiffusionXLPipeline",
        512,
        0.0,
        {"unet": (_SDXL_UNET[0], {**_SDXL_UNET[1], "sample_size": 64}), **_SDXL},
        ("EulerAncestralDiscreteScheduler", _TURBO),
        _SDXL_COUNTS,
    ),
    "pixart": Architecture(
        "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        "PixArtSigmaPipeline",
        1024,
        4.5,
        {
            "transformer": (
                "PixArtTransformer2DModel",
                {
                    "sample_size": 128,
                    "num_layers": 28,
                    "num_attention_heads": 16,
                    "attention_head_dim": 72,
                    "cross_attention_dim": 1152,
                    "in_channels": 4,
                    "out_channels": 8,
                    "caption_channels": 4096,
                    "interpolation_scale": 2,
                    "use_additional_conditions": False,
                },
            ),
            "text_encoder": _T5_XXL,
            "vae": _vae(sample_size=1024, scaling_factor=0.13025),
        },
        (
            "DPMSolverMultistepScheduler",
            {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
        ),
        {"transformer": 610_856_096, "text_encoder": 4_762_310_656, "vae": 83_653_863},
    ),
    "sd3": Architecture(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "StableDiffusion3Pipeline",
        1024,
        7.0,
        {
            "transformer": (
                "SD3Transformer2DModel",
                {
                    "sample_size": 128,
                    "num_layers": 24,
                    "num_attention_heads": 24,
                    "attention_head_dim": 64,
                    "joint_attention_dim": 4096,
                    "caption_projection_dim": 1536,
                    "pooled_projection_dim": 2048,
                    "in_channels": 16,
                    "out_channels": 16,
                    "pos_embed_max_size": 192,
                },
            ),
            "text_encoder": ("CLIPTextModelWithProjection", _CLIP_L),
            "text_encoder_2": ("CLIPTextModelWithProjection", _CLIP_BIGG),
            "text_encoder_3": _T5_XXL,
            "vae": _vae(
                sample_size=1024,
                latent_channels=16,
                scaling_factor=1.5305,
                shift_factor=0.0609,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
        },
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        {
            "transformer": 2_028_328_000,
            "text_encoder": 123_650_304,
            "text_encoder_2": 694_659_840,
            "text_encoder_3": 4_762_310_656,
            "vae": 83_819_683,
        },
    ),
}


def find(name: str) -> Architecture:
    """The :class:`Architecture` called ``name``; raises :class:`InputError` for an unknown one."""
    check_keys("--architecture", [name], ARCHITECTURES)
    return ARCHITECTURES[name]
