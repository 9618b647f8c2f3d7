"""Images that are not finite are errors of their own, in both engines; the decoder is not blamed
for what the denoiser spoilt.
"""

import warnings

import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Failed, Request
from testbed.engines.stock import ImageError, generate, to_uint8
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline

GOOD, BAD = "a big red ball", "a small green tree"


@pytest.fixture
def pipeline():
    """One whose text encoder overflows on one prompt: the denoiser then gives no numbers."""
    opened, _ = open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))
    token = opened.tokenizer(BAD).input_ids[2]
    with torch.no_grad():
        opened.text_encoder.get_input_embeddings().weight[token] = float("nan")
    assert token not in opened.tokenizer(GOOD).input_ids
    return opened


def test_in_a_call_of_the_pipeline_the_other_images_are_kept(pipeline):
    done = generate(pipeline, [GOOD, BAD], [1, 2], 2, 3.0, NoMeter())
    with pytest.raises(
        ImageError, match=f"embedded:light in float32, 2 steps, prompt '{BAD}': 100% of its pixels"
    ):
        done.image(1)
    alone = generate(pipeline, [GOOD], [1], 2, 3.0, NoMeter())
    assert np.abs(done.image(0).astype(int) - alone.images[0]).max() <= 1
    with pytest.raises(InputError):  # one line at the command line
        _ = done.images


def test_in_a_batch_the_request_fails_alone(pipeline):
    engine = BatchedEngine(pipeline, 4)
    for index, prompt in enumerate((GOOD, BAD)):
        engine.add(index, Request(prompt, index, 2, 3.0))
    ended = {}
    while engine.present:
        ended |= {outcome.index: outcome for outcome in engine.advance()}
    assert isinstance(ended[1], Failed) and isinstance(ended[1].error, ImageError)
    assert f"2 steps, prompt '{BAD}'" in str(ended[1].error)
    assert ended[0].image.std() > 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_channel_is_enough(value):
    pixels = np.full((4, 4, 3), 0.5, np.float32)
    assert to_uint8(pixels).max() == 128
    pixels[..., 1] = value
    with pytest.raises(ImageError, match="image: 33% of its pixels"):
        to_uint8(pixels)


def test_the_decoder_is_not_blamed_for_latents_that_are_not_finite():
    half, _ = open_pipeline(ModelConfig("embedded:light", dtype="float16"), torch.device("cpu"))
    latents = torch.randn(2, half.vae.config.latent_channels, 8, 8).half()
    latents[1] = float("nan")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        decoded = half.vae.decode(latents).sample
    assert decoded[0].isfinite().all() and half.vae.dtype == torch.float16
