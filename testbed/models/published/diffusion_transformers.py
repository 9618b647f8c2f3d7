"""Published models whose denoiser is a transformer."""

from typing import Any

from testbed.models.published.parts import CLIP_BIGG, CLIP_L, T5_XXL, Architecture, Component, vae

_FLOW = "FlowMatchEulerDiscreteScheduler"
_T5_COUNT, _KL_COUNT = 4_762_310_656, 83_819_683


def _kl(scale: float, offset: float) -> Component:
    """A decoder of 16 channels, as Stable Diffusion 3's and FLUX.1's."""
    return vae(
        sample_size=1024,
        latent_channels=16,
        scaling_factor=scale,
        shift_factor=offset,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _sd3(
    source: str, guidance: float, layers: int, count: int, stored: int = 2, **config: Any
) -> Architecture:
    """A Stable Diffusion 3: as many attention heads as layers."""
    denoiser = {
        "sample_size": 128,
        "num_layers": layers,
        "num_attention_heads": layers,
        "attention_head_dim": 64,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 64 * layers,
        "pooled_projection_dim": 2048,
        "in_channels": 16,
        "out_channels": 16,
        "pos_embed_max_size": 192,
    }
    return Architecture(
        source,
        "StableDiffusion3Pipeline",
        1024,
        guidance,
        {
            "transformer": ("SD3Transformer2DModel", {**denoiser, **config}),
            "text_encoder": ("CLIPTextModelWithProjection", CLIP_L),
            "text_encoder_2": ("CLIPTextModelWithProjection", CLIP_BIGG),
            "text_encoder_3": T5_XXL,
            "vae": _kl(1.5305, 0.0609),
        },
        (_FLOW, {"shift": 3.0}),
        {
            "transformer": count,
            "text_encoder": 123_650_304,
            "text_encoder_2": 694_659_840,
            "text_encoder_3": _T5_COUNT,
            "vae": _KL_COUNT,
        },
        stored,
    )


def _flux(
    source: str, guidance: float, embeds: bool, count: int, scheduler: dict[str, Any]
) -> Architecture:
    """A FLUX.1; ``embeds``: whether it takes the guidance scale."""
    denoiser = {
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "num_attention_heads": 24,
        "attention_head_dim": 128,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "axes_dims_rope": [16, 56, 56],
        "guidance_embeds": embeds,
    }
    return Architecture(
        source,
        "FluxPipeline",
        1024,
        guidance,
        {
            "transformer": ("FluxTransformer2DModel", denoiser),
            "text_encoder": ("CLIPTextModel", CLIP_L),
            "text_encoder_2": T5_XXL,
            "vae": _kl(0.3611, 0.1159),
        },
        (_FLOW, scheduler),
        {
            "transformer": count,
            "text_encoder": 123_060_480,
            "text_encoder_2": _T5_COUNT,
            "vae": _KL_COUNT,
        },
        2,
    )


_DC_BLOCKS = {
    "block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "qkv_multiscales": [[], [], [], [5], [5], [5]],
}
_DC = (
    "AutoencoderDC",
    {
        **{f"encoder_{key}": value for key, value in _DC_BLOCKS.items()},
        **{f"decoder_{key}": value for key, value in _DC_BLOCKS.items()},
        "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
        "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
        "downsample_block_type": "Conv",
        "upsample_block_type": "interpolate",
        "scaling_factor": 0.41407,
    },
)


_GEMMA = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 256000,
}


def _sana(
    source: str, pipeline: str, count: int, scheduler: Component, **denoiser: Any
) -> Architecture:
    """A Sana, whose text encoder is Gemma 2 (2b)."""
    return Architecture(
        source,
        pipeline,
        1024,
        4.5,
        {
            "transformer": ("SanaTransformer2DModel", {"sample_size": 32, **denoiser}),
            "text_encoder": ("Gemma2Model", _GEMMA),
            "vae": _DC,
        },
        scheduler,
        {"transformer": count, "text_encoder": 2_614_341_888, "vae": 312_250_275},
        2,
    )


TRANSFORMERS = {
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
            "text_encoder": T5_XXL,
            "vae": vae(sample_size=1024, scaling_factor=0.13025),
        },
        (
            "DPMSolverMultistepScheduler",
            {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
        ),
        {"transformer": 610_856_096, "text_encoder": 4_762_310_656, "vae": 83_653_863},
    ),
    "sd3": _sd3("stabilityai/stable-diffusion-3-medium-diffusers", 7.0, 24, 2_028_328_000),
    "sd35-medium": _sd3(
        "stabilityai/stable-diffusion-3.5-medium",
        4.5,
        24,
        2_243_171_520,
        pos_embed_max_size=384,
        dual_attention_layers=list(range(13)),
        qk_norm="rms_norm",
    ),
    "sd35-large": _sd3(
        "stabilityai/stable-diffusion-3.5-large", 3.5, 38, 8_056_627_520, qk_norm="rms_norm"
    ),
    "flux-dev": _flux(
        "black-forest-labs/FLUX.1-dev",
        3.5,
        True,
        11_901_408_320,
        {"shift": 3.0, "use_dynamic_shifting": True},
    ),
    "flux-schnell": _flux(
        "black-forest-labs/FLUX.1-schnell", 0.0, False, 11_891_178_560, {"shift": 1.0}
    ),
    "sana": _sana(
        "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
        "SanaPipeline",
        1_604_462_752,
        (
            "DPMSolverMultistepScheduler",
            {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
        ),
        num_attention_heads=70,
        attention_head_dim=32,
        num_layers=20,
        num_cross_attention_heads=20,
        cross_attention_head_dim=112,
        cross_attention_dim=2240,
        caption_channels=2304,
    ),
    "sana-sprint": _sana(
        "Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers",
        "SanaSprintPipeline",
        593_501_216,
        ("SCMScheduler", {}),
        num_attention_heads=36,
        attention_head_dim=32,
        num_layers=28,
        num_cross_attention_heads=16,
        cross_attention_head_dim=72,
        cross_attention_dim=1152,
        caption_channels=2304,
        guidance_embeds=True,
        qk_norm="rms_norm_across_heads",
    ),
}
