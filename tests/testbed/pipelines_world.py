"""Small pipelines with random weights, of the architectures of Stable Diffusion 1.5 and of SDXL."""

import copy
import inspect

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from testbed.models.pipelines import WEIGHTS

BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def _vae(scaling_factor):
    return AutoencoderKL(
        block_out_channels=(16, 32),
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=scaling_factor,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


def _text(width, act="quick_gelu"):
    return CLIPTextConfig(
        vocab_size=142,
        max_position_embeddings=16,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        hidden_act=act,
    )


def _ready(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def stable_diffusion(**unet):
    """Stable Diffusion 1.5 in small: one text encoder, cross attention, PNDM; ``unet``: settings of
    the denoiser.
    """
    torch.manual_seed(0)
    return _ready(
        StableDiffusionPipeline(
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(16, 32),
                layers_per_block=1,
                cross_attention_dim=32,
                attention_head_dim=2,
                norm_num_groups=8,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                **unet,
            ),
            vae=_vae(0.18215),
            text_encoder=CLIPTextModel(_text(32)),
            tokenizer=CLIPTokenizer.from_pretrained(WEIGHTS / "edge" / "tokenizer"),
            scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def stable_diffusion_xl():
    """SDXL in small: two text encoders, pooled text and sizes as added conditions, linear
    projections, Euler.
    """
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "edge" / "tokenizer")
    return _ready(
        StableDiffusionXLPipeline(
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(16, 32),
                layers_per_block=1,
                cross_attention_dim=64,
                attention_head_dim=(2, 4),
                transformer_layers_per_block=(1, 2),
                use_linear_projection=True,
                norm_num_groups=8,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 32,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            ),
            vae=_vae(0.13025),
            text_encoder=CLIPTextModel(_text(32)),
            text_encoder_2=CLIPTextModelWithProjection(_text(32, "gelu")),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            scheduler=EulerDiscreteScheduler(**BETAS),
            add_watermarker=False,
        )
    )


def with_sampler(pipeline, name, **settings):
    """The same networks with a sampler of diffusers', made of the config of their own."""
    pipeline = copy.copy(pipeline)
    known = {
        **pipeline.scheduler.config,
        "clip_sample": False,
        **({"skip_prk_steps": True} if name == "PNDM" else {}),
        **settings,
    }
    kind = getattr(diffusers, f"{name}Scheduler")
    pipeline.scheduler = kind.from_config(
        {key: value for key, value in known.items() if key in inspect.signature(kind).parameters}
    )
    return pipeline


class Unscored:
    """In the place of a CLIP model, where scores are no matter."""

    def score(self, _image, _prompt):
        return 50.0
