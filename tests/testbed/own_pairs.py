"""Folders of pipelines with random weights, as a user has them, and prompts in two classes."""

import json

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextModel, T5Config, T5EncoderModel

from testbed.models.published.architectures import _tokenizer, assemble
from tests.testbed.pipelines_world import BETAS, _text, stable_diffusion, stable_diffusion_xl

_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8,) * 4,
}


def _lcm():
    """As the published ones: the guidance scale is embedded, at most 50 steps."""
    pipeline = stable_diffusion(time_cond_proj_dim=8)
    pipeline.scheduler = LCMScheduler(**BETAS, original_inference_steps=50)
    return pipeline


def _turbo():
    pipeline = stable_diffusion()
    pipeline.scheduler = EulerDiscreteScheduler(**BETAS | {"timestep_spacing": "trailing"})
    return pipeline


def _checked():
    """With a safety checker that flags everything."""
    pipeline = stable_diffusion()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config=small | {"num_attention_heads": 2},
        vision_config=small | {"num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-1.0)
    size = {"height": 32, "width": 32}
    pipeline.register_modules(
        safety_checker=checker, feature_extractor=CLIPImageProcessor(size=size, crop_size=size)
    )
    pipeline.register_to_config(requires_safety_checker=True)
    return pipeline


def _t5(width):
    """One layer, as every token of a long padded text goes through it."""
    return T5EncoderModel(
        T5Config(vocab_size=142, d_model=width, d_ff=32, d_kv=8, num_layers=1, num_heads=2)
    )


def _sd3():
    pipeline = assemble("sd3", "cpu", shrink=8)
    pipeline.register_modules(text_encoder_3=_t5(pipeline.text_encoder_3.config.d_model))
    return pipeline


def _without_t5():
    pipeline = assemble("sd3", "cpu", shrink=8)
    pipeline.register_modules(text_encoder_3=None, tokenizer_3=None)
    return pipeline


def _pixart():
    """Its images are of 256 pixels, so that its decoder is narrow."""
    pipeline = assemble("pixart", "cpu", shrink=8)
    pipeline.register_modules(
        text_encoder=_t5(pipeline.text_encoder.config.d_model),
        vae=AutoencoderKL(**_BLOCKS, latent_channels=4, norm_num_groups=8),
    )
    return pipeline


def _flux():
    """As FLUX.1-schnell: no guidance embedding."""
    torch.manual_seed(0)
    text = _text(32)
    text.max_position_embeddings = 77
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            **_BLOCKS,
            latent_channels=4,
            norm_num_groups=8,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.1,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=_tokenizer(),
        text_encoder_2=_t5(32),
        tokenizer_2=_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    )


BUILDERS = {
    "sd": stable_diffusion,
    "checked": _checked,
    "lcm": _lcm,
    "turbo": _turbo,
    "sdxl": stable_diffusion_xl,
    "sd3": _sd3,
    "sd3-without-t5": _without_t5,
    "flux": _flux,
    "pixart": _pixart,
}
#: Settings of a model beside its folder, where its own images are too large for a test.
SETTINGS = {"flux": "resolution = 64\n"}


def save(name, folder):
    """Save the pipeline ``name`` into ``folder``; returns it."""
    BUILDERS[name]().save_pretrained(folder)
    return folder


def write_prompts(path, classes=("thing", "place"), each=6):
    """A JSONL file of ``each`` prompts of every class; returns it."""
    words = ("red", "blue", "green", "big", "small", "pink", "yellow", "white")[:each]
    things = ("ball", "house", "tree")
    lines = [
        json.dumps({"prompt": f"a {word} {things[index % 3]}", "class": name})
        for index, name in enumerate(classes)
        for word in words
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def configuration(prompts, local, edge=None, extra="", settings="", edge_settings=None):
    """The text of a configuration that names prompts and two models, and what ``extra`` says;
    ``settings``: of both models, or of the local one where there are ``edge_settings``.
    """
    of_edge = settings if edge_settings is None else edge_settings
    return (
        f'prompts = "{prompts}"\n[local]\nmodel = "{local}"\n{settings}'
        f'[edge]\nmodel = "{edge or local}"\n{of_edge}{extra}'
    )
