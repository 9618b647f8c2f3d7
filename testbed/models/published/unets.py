"""Published models whose denoiser is a UNet."""

from typing import Any

from testbed.models.published.parts import CLIP_BIGG, CLIP_L, Architecture, Component, clip, vae


def _unet(channels: list[int], **config: Any) -> Component:
    return ("UNet2DConditionModel", {"sample_size": 64, "block_out_channels": channels, **config})


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
_SD1_PARTS = {"text_encoder": ("CLIPTextModel", CLIP_L), "vae": vae()}
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
    "text_encoder": ("CLIPTextModel", CLIP_L),
    "text_encoder_2": ("CLIPTextModelWithProjection", CLIP_BIGG),
    "vae": vae(sample_size=1024, scaling_factor=0.13025),
}
_SDXL_COUNTS = {
    "unet": 2_567_463_684,
    "text_encoder": 123_060_480,
    "text_encoder_2": 694_659_840,
    "vae": 83_653_863,
}

UNETS = {
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
            "text_encoder": ("CLIPTextModel", clip(1024, 23, 16, 512)),
            "vae": vae(),
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
}
