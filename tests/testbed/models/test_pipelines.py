"""Opening models: what save_pretrained writes opens; what is missing, half-written or of another
kind is named.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import (
    AmusedPipeline,
    AmusedScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DModel,
    UVit2DModel,
    VQModel,
)
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter
from testbed.models import samplers
from testbed.models.pipelines import (
    WEIGHTS,
    Setup,
    fingerprint,
    open_pipeline,
    pick_device,
    setup,
)
from tests.testbed.own_pairs import save
from tests.testbed.pipelines_world import _text

CPU = torch.device("cpu")


def open_folder(folder):
    return open_pipeline(ModelConfig(str(folder)), CPU)


@pytest.mark.parametrize("name", ["light", "edge"])
def test_embedded_models_open_as_any_pipeline_folder(name):
    """The embedded models are nothing special: diffusers opens their folders by itself."""
    pipeline = DiffusionPipeline.from_pretrained(WEIGHTS / name, dtype=torch.float32)
    assert isinstance(pipeline, StableDiffusionPipeline)
    ours, revision = open_pipeline(ModelConfig(f"embedded:{name}"), CPU)
    assert revision == fingerprint(WEIGHTS / name)
    for a, b in zip(pipeline.unet.parameters(), ours.unet.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_saved_folder_opens_and_its_revision_follows_its_weights(folder):
    pipeline, revision = open_folder(folder)
    again = folder.parent / "again"
    pipeline.unet.conv_out.bias.data += 1
    pipeline.save_pretrained(again)
    _, other = open_folder(again)
    assert revision != other


def test_a_seed_fixes_the_image_and_the_stages_add_up(folder):
    pipeline, _ = open_folder(folder)
    a, b, c = (
        generate(pipeline, ["a big red ball in the middle"], [seed], 2, 3.0, NoMeter())
        for seed in (1, 1, 2)
    )
    assert (a.images == b.images).all() and (a.images != c.images).any()
    assert a.images.shape == (1, 64, 64, 3) and a.images.dtype == np.uint8
    assert (
        len(a.step_times) == 2 and min(a.step_times) > 0 and a.text_time > 0 and a.decode_time > 0
    )
    assert a.time == pytest.approx(a.text_time + sum(a.step_times) + a.decode_time)
    assert a.energy_j is None


def test_the_engine_makes_the_stock_pipelines_image(folder):
    pipeline, _ = open_folder(folder)
    stock = pipeline(
        "a big red ball in the middle",
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(4),
        output_type="np",
    )
    ours = generate(pipeline, ["a big red ball in the middle"], [4], 3, 3.0, NoMeter())
    assert np.abs(stock.images[0] * 255 - ours.images[0]).max() <= 0.5 + 1e-3


def test_an_image_does_not_depend_on_its_batch(folder):
    pipeline, _ = open_folder(folder)
    prompts = [
        "a big red ball in the middle",
        "a small blue house at the top",
        "a green tree left of a red car",
    ]
    together = generate(pipeline, prompts, [5, 6, 7], 3, 3.0, NoMeter()).images.astype(int)
    for prompt, seed, image in zip(prompts, (5, 6, 7), together):
        assert (
            np.abs(generate(pipeline, [prompt], [seed], 3, 3.0, NoMeter()).images[0] - image).max()
            <= 1
        )


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_folder(tmp_path / "nowhere")


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(InputError, match="model_index.json is missing"):
        open_folder(tmp_path)


def test_a_folder_without_a_part(folder):
    shutil.rmtree(folder / "vae")
    with pytest.raises(InputError, match="half-written model folder: 'vae' is missing"):
        open_folder(folder)


def test_a_folder_without_weights(folder):
    next((folder / "unet").glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match="no .safetensors weights"):
        open_folder(folder)


@pytest.mark.parametrize("keep", [0, 7, 5_000])
def test_a_half_written_weights_file(folder, keep):
    path = next((folder / "unet").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="half-written or damaged"):
        open_folder(folder)


def test_a_model_that_is_not_text_to_image(tmp_path):
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    with pytest.raises(InputError, match="not a text-to-image pipeline"):
        open_folder(tmp_path / "ddpm")


def test_a_pipeline_without_a_vae_is_one_line(tmp_path):
    """aMUSEd makes images of text, by tokens; what it lacks ended in tracebacks."""
    text, tokenizer = _text(16), CLIPTokenizer.from_pretrained(WEIGHTS / "light" / "tokenizer")
    transformer = UVit2DModel(
        hidden_size=16,
        cond_embed_dim=32,
        encoder_hidden_size=16,
        micro_cond_encode_dim=4,
        micro_cond_embed_dim=20,
        num_hidden_layers=1,
        num_attention_heads=2,
        codebook_size=16,
        vocab_size=17,
        intermediate_size=16,
        block_out_channels=16,
        block_num_heads=2,
        in_channels=16,
        num_res_blocks=1,
    )
    vqvae = VQModel(block_out_channels=(16,), norm_num_groups=4, num_vq_embeddings=16)
    encoder, scheduler = CLIPTextModelWithProjection(text), AmusedScheduler(mask_token_id=16)
    pipeline = AmusedPipeline(vqvae, tokenizer, encoder, transformer, scheduler)
    pipeline.save_pretrained(tmp_path / "amused")
    with pytest.raises(InputError, match="AmusedPipeline has .*; allowed: a pipeline with a vae"):
        open_folder(tmp_path / "amused")


def test_an_unknown_embedded_model_and_device():
    with pytest.raises(InputError, match="perhaps you meant 'edge'"):
        open_pipeline(ModelConfig("embedded:edgy"), CPU)
    with pytest.raises(InputError, match="allowed: auto, cpu"):
        pick_device("gpu")
    with pytest.raises(InputError, match="'meta' is not usable here .no clock here waits for it"):
        pick_device("meta")


def test_pickled_weights_open_only_where_they_are_allowed(folder):
    pipeline, _ = open_folder(folder)
    weights = next((folder / "unet").glob("*.safetensors"))
    torch.save(pipeline.unet.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(
        InputError,
        match="no .safetensors weights; .* allow_pickle = true opens pickled ones, "
        "which can run any code",
    ):
        open_folder(folder)
    again, revision = open_pipeline(ModelConfig(str(folder), allow_pickle=True), CPU)
    assert torch.equal(again.unet.conv_in.weight, pipeline.unet.conv_in.weight)
    weights.with_suffix(".bin").write_bytes(b"0")
    assert fingerprint(folder) != revision


def test_a_safety_checker_is_left_out(folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps(
            {**index, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
        )
    )
    pipeline, _ = open_folder(folder)
    assert pipeline.safety_checker is None


def test_a_scheduler_by_name(folder, monkeypatch):
    pipeline, _ = open_pipeline(
        ModelConfig(str(folder), scheduler="DPMSolverMultistepScheduler"), CPU
    )
    assert type(pipeline.scheduler) is DPMSolverMultistepScheduler
    assert pipeline.scheduler.config.prediction_type == "v_prediction"  # from the model's own
    # trying all takes seconds: see test_samplers.py
    monkeypatch.setattr(samplers, "usable", lambda _: ["DPMSolverSinglestepScheduler"])
    with pytest.raises(
        InputError, match="scheduler: 'DPMSolverScheduler' is unknown; perhaps you meant"
    ):
        open_pipeline(ModelConfig(str(folder), scheduler="DPMSolverScheduler"), CPU)


@pytest.mark.parametrize(
    "name, native, other", [("sd", 16, 64), ("sdxl", 16, 64), ("sd3-without-t5", 64, 128)]
)
def test_a_resolution_holds_for_every_call(name, native, other, tmp_path):
    save(name, tmp_path / name)
    for asked, pixels in ((None, native), (other, other)):
        pipeline, _ = open_pipeline(ModelConfig(str(tmp_path / name), resolution=asked), CPU)
        assert generate(pipeline, ["a"], [1], 1, 3.0, NoMeter()).images.shape == (
            1,
            pixels,
            pixels,
            3,
        )
        assert setup(pipeline) == Setup(pixels, "float32", "whole")


def test_a_resolution_that_a_model_was_not_made_for(tmp_path):
    save("pixart", tmp_path / "pixart")
    with pytest.raises(InputError, match="resolution: found 512; allowed: 256, for which"):
        open_pipeline(ModelConfig(str(tmp_path / "pixart"), resolution=512), CPU)


@pytest.mark.gpu
def test_generation_on_a_gpu_is_timed_with_synchronisation():
    pipeline, _ = open_pipeline(ModelConfig("embedded:edge"), torch.device("cuda"))
    done = generate(pipeline, ["a big red ball in the middle"], [1], 8, 3.0, NoMeter())
    assert len(done.step_times) == 8 and done.time > sum(done.step_times)
