"""Opening models: what save_pretrained writes opens; what is missing, half-written or of another
kind is named.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DModel,
)

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.stock import generate
from testbed.meters import NoMeter
from testbed.models import memory
from testbed.models.architectures import assemble
from testbed.models.pipelines import (
    WEIGHTS,
    Setup,
    fingerprint,
    open_pipeline,
    pick_device,
    setup,
)

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(WEIGHTS / "light", tmp_path / "light"))


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
        generate(pipeline, ["a big red ball in the middle"], [seed], 4, 3.0, NoMeter())
        for seed in (1, 1, 2)
    )
    assert (a.images == b.images).all() and (a.images != c.images).any()
    assert a.images.shape == (1, 64, 64, 3) and a.images.dtype == np.uint8
    assert (
        len(a.step_times) == 4 and min(a.step_times) > 0 and a.text_time > 0 and a.decode_time > 0
    )
    assert a.time == pytest.approx(a.text_time + sum(a.step_times) + a.decode_time)
    assert a.energy_j is None


def test_the_engine_makes_the_stock_pipelines_image(folder):
    pipeline, _ = open_folder(folder)
    stock = pipeline(
        "a big red ball in the middle",
        num_inference_steps=5,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(4),
        output_type="np",
    )
    ours = generate(pipeline, ["a big red ball in the middle"], [4], 5, 3.0, NoMeter())
    assert np.abs(stock.images[0] * 255 - ours.images[0]).max() <= 0.5 + 1e-3


def test_an_image_does_not_depend_on_its_batch(folder):
    pipeline, _ = open_folder(folder)
    prompts = [
        "a big red ball in the middle",
        "a small blue house at the top",
        "a green tree left of a red car",
    ]
    together = generate(pipeline, prompts, [5, 6, 7], 6, 3.0, NoMeter()).images.astype(int)
    for prompt, seed, image in zip(prompts, (5, 6, 7), together):
        assert (
            np.abs(generate(pipeline, [prompt], [seed], 6, 3.0, NoMeter()).images[0] - image).max()
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


def test_an_unknown_embedded_model_and_device():
    with pytest.raises(InputError, match="perhaps you meant 'edge'"):
        open_pipeline(ModelConfig("embedded:edgy"), CPU)
    with pytest.raises(InputError, match="allowed: auto, cpu"):
        pick_device("gpu")


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


def test_a_scheduler_by_name(folder):
    pipeline, _ = open_pipeline(
        ModelConfig(str(folder), scheduler="DPMSolverMultistepScheduler"), CPU
    )
    assert type(pipeline.scheduler) is DPMSolverMultistepScheduler
    assert pipeline.scheduler.config.prediction_type == "v_prediction"  # from the model's own
    with pytest.raises(
        InputError, match="scheduler: 'DPMSolverScheduler' is unknown; perhaps you meant"
    ):
        open_pipeline(ModelConfig(str(folder), scheduler="DPMSolverScheduler"), CPU)


@pytest.mark.parametrize("name, native", [("sd15", 64), ("sdxl", 64), ("sd3", 64)])
def test_a_resolution_holds_for_every_call(name, native, tmp_path):
    assemble(name, "cpu", shrink=8).save_pretrained(tmp_path / name)
    for asked, pixels in ((None, native), (128, 128)):
        pipeline, _ = open_pipeline(ModelConfig(str(tmp_path / name), resolution=asked), CPU)
        assert generate(pipeline, ["a"], [1], 1, 3.0, NoMeter()).images.shape == (
            1,
            pixels,
            pixels,
            3,
        )
        assert setup(pipeline) == Setup(pixels, "float32", "whole")


def test_a_resolution_that_a_model_was_not_made_for(tmp_path):
    assemble("pixart", "cpu", shrink=8).save_pretrained(tmp_path / "pixart")
    with pytest.raises(InputError, match="resolution: found 512; allowed: 256, for which"):
        open_pipeline(ModelConfig(str(tmp_path / "pixart"), resolution=512), CPU)


def test_decoding_goes_on_in_float32_where_half_precision_overflows(folder):
    """A decoder whose middle layers pass 65,504 gives the image of float32, and the recorded dtype
    says so.
    """
    pipeline, _ = open_folder(folder)
    pipeline.vae.post_quant_conv.weight.data *= 1e5  # normalised away afterwards
    pipeline.vae.post_quant_conv.bias.data *= 1e5
    pipeline.save_pretrained(folder)
    half, _ = open_pipeline(ModelConfig(str(folder), dtype="float16"), CPU)
    assert setup(half).vae_dtype == "float16"
    latents = 3 * torch.randn(
        1, pipeline.vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0)
    )
    with (
        pytest.warns(
            UserWarning, match="the decoder overflows in torch.float16: it goes on in float32"
        ),
        torch.no_grad(),
    ):
        image = half.vae.decode(latents.half()).sample
    assert image.isfinite().all() and setup(half).vae_dtype == "float32"
    explicit, _ = open_pipeline(ModelConfig(str(folder), dtype="float16", vae_dtype="float32"), CPU)
    with torch.no_grad():
        assert torch.equal(explicit.vae.decode(latents.half(), return_dict=False)[0], image)


def test_sdxl_decodes_in_float32(tmp_path):
    assemble("sdxl", "cpu", shrink=8).save_pretrained(tmp_path / "sdxl")
    pipeline, _ = open_pipeline(ModelConfig(str(tmp_path / "sdxl"), dtype="float16"), CPU)
    decoded_in = []
    pipeline.vae.decoder.register_forward_pre_hook(
        lambda _module, inputs: decoded_in.append(inputs[0].dtype)
    )
    generate(pipeline, ["a"], [1], 1, 3.0, NoMeter())
    assert decoded_in == [torch.float32] and setup(pipeline).vae_dtype == "float32"


@pytest.mark.parametrize(
    "available, strategy",
    [
        (None, "whole"),
        (10.0, "whole"),
        (9.9, "sliced"),
        (7.0, "sliced"),
        (6.9, "offload"),
        (5.0, "offload"),
    ],
)
def test_memory_is_saved_only_where_there_is_too_little(available, strategy):
    assert (
        memory.choose({"unet": 4.0, "text_encoder": 2.0}, 1.0, available, "some/model") == strategy
    )


def test_a_model_that_does_not_fit():
    with pytest.raises(
        InputError,
        match="4.0 GB are free on the device, its unet alone needs about 5.0 GB; "
        "allowed: a smaller dtype",
    ):
        memory.choose({"unet": 4e9, "text_encoder": 2e9}, 1e9, 4e9, "some/model")


def test_slices_make_the_same_images(folder):
    whole, sliced = (
        open_pipeline(ModelConfig(str(folder), memory=wanted), CPU)[0]
        for wanted in ("auto", "sliced")
    )
    assert (
        setup(whole).memory == "whole"
        and setup(sliced).memory == "sliced"
        and sliced.vae.use_slicing
    )
    a, b = (
        generate(pipeline, ["a red ball", "a tree"], [1, 2], 2, 3.0, NoMeter()).images.astype(int)
        for pipeline in (whole, sliced)
    )
    assert np.abs(a - b).max() <= 1


@pytest.mark.gpu
def test_generation_on_a_gpu_is_timed_with_synchronisation():
    pipeline, _ = open_pipeline(ModelConfig("embedded:edge"), torch.device("cuda"))
    done = generate(pipeline, ["a big red ball in the middle"], [1], 8, 3.0, NoMeter())
    assert len(done.step_times) == 8 and done.time > sum(done.step_times)


@pytest.mark.gpu
def test_an_offloaded_model_makes_the_same_image(folder):
    device = torch.device("cuda")
    whole, offloaded = (
        open_pipeline(ModelConfig(str(folder), memory=wanted), device)[0]
        for wanted in ("whole", "offload")
    )
    a, b = (
        generate(pipeline, ["a red ball"], [1], 2, 3.0, NoMeter()).images.astype(int)
        for pipeline in (whole, offloaded)
    )
    assert np.abs(a - b).max() <= 1
