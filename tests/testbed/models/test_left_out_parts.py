"""Folders that leave a part out, and parts of a size that a pipeline has no table for."""

import json

import pytest
import torch

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline
from tests.testbed.own_pairs import save

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return save("sd3-without-t5", tmp_path_factory.mktemp("sd3") / "model")


def test_stable_diffusion_3_without_its_t5_opens_and_makes_images(sd3):
    """`model_index.json` says null; diffusers asks for a T5 unless it is told."""
    pipeline, _ = open_pipeline(ModelConfig(str(sd3)), CPU)
    assert pipeline.text_encoder_3 is None
    done = generate(pipeline, ["a red ball"], [0], 2, 3.0, NoMeter())
    assert done.images[0].shape == (64, 64, 3) and done.images[0].std() > 0


def test_why_a_folder_does_not_open_is_not_cut_off_within_a_word(sd3):
    index = json.loads((sd3 / "model_index.json").read_text())
    del index["text_encoder_2"], index["tokenizer_2"]
    (sd3 / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError) as caught:
        open_pipeline(ModelConfig(str(sd3)), CPU)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(" ...")
    assert (
        said.removesuffix(" ...").split()[-1].strip("{}',[]")
        in (
            "text_encoder text_encoder_2 text_encoder_3 tokenizer tokenizer_2 tokenizer_3 "
            "transformer vae scheduler feature_extractor image_encoder but only expected"
        ).split()
    )


def test_a_size_that_pixart_has_no_table_for_is_one_line(tmp_path):
    folder = save("pixart", tmp_path / "model")
    config = folder / "transformer" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"sample_size": 8}))
    with pytest.raises(InputError, match="sample_size: found 8; allowed: 32, 64, 128, 256, for"):
        open_pipeline(ModelConfig(str(folder)), CPU)
