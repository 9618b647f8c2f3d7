"""Architectures of the embedded models, in diffusers' and transformers' own classes, untrained."""

import tempfile
from dataclasses import dataclass

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from testbed.embedded.scenes import SIZE, vocabulary

LATENT_CHANNELS = 12
LATENT_SIZE = SIZE // 8
MAX_TOKENS = 16  # the longest caption has 12 tokens with its two markers


def tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of the scene grammar is one token."""
    bpe = Tokenizer(BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = WhitespaceSplit()
    special = ["<|startoftext|>", "<|endoftext|>"]
    # a vocabulary with room to spare: training stops when every word of the grammar is merged whole
    bpe.train_from_iterator(
        vocabulary(),
        BpeTrainer(
            vocab_size=5000,
            min_frequency=1,
            show_progress=False,
            special_tokens=special,
            end_of_word_suffix="</w>",
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        bpe.model.save(folder)  # vocab.json and merges.txt
        return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)


def _text_config(tok: CLIPTokenizer, width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tok),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=64,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
    )


def vae(norm_groups: int = 2) -> AutoencoderKL:
    """Autoencoder between 64×64 RGB and 8×8 latents, 8 times smaller on a side."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 64, 128),
        layers_per_block=1,
        norm_num_groups=norm_groups,
        latent_channels=LATENT_CHANNELS,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def first_vae() -> AutoencoderKL:
    """The autoencoder whose encoder fixes the latent space, so that the denoisers can train at
    once.

    With 8 groups its last level normalises each channel over the whole image, which costs it flat
    colours; :func:`vae` learns to decode the same latents afterwards.
    """
    return vae(norm_groups=8)


@dataclass(frozen=True)
class Shape:
    """Widths of a denoiser's levels (``channels``), width and layers of its text encoder."""

    channels: tuple[int, int]
    text_width: int
    text_layers: int


#: The edge's network is the larger one; the light one is to be visibly weaker, not broken.
PIPELINES = {
    "edge": Shape((64, 128), text_width=128, text_layers=3),
    "light": Shape((32, 48), text_width=64, text_layers=2),
}


def text_encoder(which: str, tok: CLIPTokenizer) -> CLIPTextModel:
    """Text encoder of pipeline ``which`` (``"edge"`` or ``"light"``)."""
    shape = PIPELINES[which]
    return CLIPTextModel(_text_config(tok, shape.text_width, shape.text_layers))


def unet(which: str) -> UNet2DConditionModel:
    """Denoiser of pipeline ``which``; the pooled caption joins the time embedding, its words by
    attention.
    """
    shape = PIPELINES[which]
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=shape.channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=shape.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def scheduler() -> DDIMScheduler:
    """Deterministic DDIM from pure noise, velocity prediction.

    5040 training timesteps are divisible by nearly every small step count: with trailing spacing,
    DDIM's step back of ``5040 // steps`` then meets the next timestep (nearly) exactly, and the
    curves have no kinks.
    """
    return DDIMScheduler(
        num_train_timesteps=5040,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def clip(tok: CLIPTokenizer) -> CLIPModel:
    """Contrastive image-text model for scores and features."""
    text = _text_config(tok, 128, 3)
    vision = dict(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        projection_dim=64,
    )
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision, projection_dim=64)
    )


def clip_processor(tok: CLIPTokenizer) -> CLIPProcessor:
    """What turns images and captions into the inputs of :func:`clip`."""
    images = CLIPImageProcessor(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return CLIPProcessor(image_processor=images, tokenizer=tok)
