"""What is done where half precision overflows or memory is short; images stay the same."""

import warnings

import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter
from testbed.models import memory
from testbed.models.pipelines import open_pipeline, setup
from tests.testbed.own_pairs import save

CPU = torch.device("cpu")


def test_decoding_goes_on_in_float32_where_half_precision_overflows(folder):
    """A decoder whose middle layers pass 65,504 gives the image of float32, and the recorded dtype
    says so.
    """
    pipeline, _ = open_pipeline(ModelConfig(str(folder)), CPU)
    pipeline.vae.post_quant_conv.weight.data *= 1e5  # normalised away afterwards
    pipeline.vae.post_quant_conv.bias.data *= 1e5
    pipeline.save_pretrained(folder)
    half, _ = open_pipeline(ModelConfig(str(folder), dtype="float16"), CPU)
    assert setup(half).vae_dtype == "float16"
    latents = 3 * torch.randn(
        1, pipeline.vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0)
    )
    with warnings.catch_warnings(action="error"), memory.unjudged(half), torch.no_grad():
        noisy = half.vae.decode(latents.half()).sample
    assert not noisy.isfinite().all() and setup(half).vae_dtype == "float16"
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
    folder = str(save("sdxl", tmp_path / "sdxl"))
    pipeline, _ = open_pipeline(ModelConfig(folder, dtype="float16"), CPU)
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
        open_pipeline(ModelConfig(str(folder), memory=strategy), CPU)[0]
        for strategy in ("auto", "sliced")
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
def test_an_offloaded_model_makes_the_same_image(folder):
    device = torch.device("cuda")
    whole, offloaded = (
        open_pipeline(ModelConfig(str(folder), memory=strategy), device)[0]
        for strategy in ("whole", "offload")
    )
    a, b = (
        generate(pipeline, ["a red ball"], [1], 2, 3.0, NoMeter()).images.astype(int)
        for pipeline in (whole, offloaded)
    )
    assert np.abs(a - b).max() <= 1


def test_memory_that_runs_out_in_the_decoder_is_told_as_such(folder, monkeypatch):
    """The calls of Sana take torch's own error for a warning, and go on without an image."""
    pipeline, _ = open_pipeline(ModelConfig(str(folder)), CPU)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline.vae.decoder, "forward", full)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        pipeline.vae.decode(torch.zeros(1, pipeline.vae.config.latent_channels, 8, 8))


def test_a_call_that_fails_leaves_nothing_on_the_device(folder, monkeypatch):
    pipeline, freed = open_pipeline(ModelConfig(str(folder)), CPU)[0], []
    monkeypatch.setattr(pipeline, "maybe_free_model_hooks", lambda: freed.append(1))
    monkeypatch.setattr(pipeline.vae, "decode", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(pipeline, ["a"], [1], 1, 3.0, NoMeter())
    assert freed == [1]
