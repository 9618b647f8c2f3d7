"""The look at a model that is opened: what would spoil measurements is refused in one line, and
what has no effect is noted.
"""

import json
import shutil

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtAlphaPipeline,
)
from safetensors.torch import load_file, save_file

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.models import inspection, samplers
from testbed.models.inspection import check_before_fetching, look, note_fallback
from testbed.models.pipelines import WEIGHTS, open_pipeline
from tests.testbed.own_pairs import BUILDERS, save
from tests.testbed.pipelines_world import stable_diffusion

CPU = torch.device("cpu")
STEPS = {"sweep.steps": (1, 2), "sweep.converged_steps": (8,)}
WEIGHT_FILES = {
    "text_encoder": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


def look_at(folder, guidance=3.0, negative_prompt=None, **options):
    pipeline, _ = open_pipeline(ModelConfig(str(folder), **options), CPU)
    look(pipeline, STEPS, guidance, negative_prompt)
    return pipeline


def rewrite(folder, part, change):
    path = folder / part / WEIGHT_FILES[part]
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["light", "edge"])
def test_the_embedded_models_pass(name):
    pipeline, _ = open_pipeline(ModelConfig(f"embedded:{name}"), CPU)
    look(pipeline, STEPS, 3.0, "a small tree")
    assert pipeline.notes == []


@pytest.mark.parametrize("part", WEIGHT_FILES)
def test_a_part_that_lacks_weights_is_not_opened_with_random_ones(folder, part):
    def halved(weights):
        return dict(list(sorted(weights.items()))[::2])

    rewrite(folder, part, halved)
    with pytest.raises(InputError, match=f"{part}: weights are missing: .* and .* more"):
        look_at(folder)


@pytest.mark.parametrize("part", WEIGHT_FILES)
def test_weights_of_other_names_are_missing(folder, part):
    rewrite(folder, part, lambda w: {f"cond.{key}": value for key, value in w.items()})
    with pytest.raises(InputError, match=f"{part}: weights are missing"):
        look_at(folder)


def test_a_config_of_fewer_layers_than_there_are_weights_of(folder):
    path = folder / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(InputError, match="text_encoder: weights that its config has no place for"):
        look_at(folder)


def test_a_text_encoder_of_another_size_is_told_by_its_weights(folder):
    """It said `look at the above report`, of which there was none."""
    shutil.copy(WEIGHTS / "edge" / "text_encoder" / "model.safetensors", folder / "text_encoder")
    with pytest.raises(InputError, match="text_encoder: weights of another size than its .*: emb"):
        look_at(folder)


def test_names_of_older_libraries_and_heads_of_others_are_not_in_the_way(folder):
    def older(weights):
        prefixed = {f"text_model.{key}": value for key, value in weights.items()}
        positions = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
        return prefixed | positions | {"logit_scale": torch.ones(())}

    before = look_at(folder).text_encoder.state_dict()
    rewrite(folder, "text_encoder", older)
    after = look_at(folder).text_encoder.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_tokenizer_without_its_vocabulary(folder):
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="tokenizer: a vocabulary of 2 tokens for a text encoder"):
        look_at(folder)


@pytest.mark.parametrize("cut", ["merges", "vocab"])
def test_a_tokenizer_that_lost_half(folder, cut):
    path = folder / "tokenizer" / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["merges"] = []
    if cut == "vocab":
        kept = dict(sorted(values["model"]["vocab"].items(), key=lambda item: item[1])[:70])
        values["model"]["vocab"] = kept
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="tokenizer: .* its files are missing or damaged"):
        look_at(folder)


@pytest.mark.parametrize("length", [None, 1000])
def test_a_tokenizer_without_the_length_that_its_text_encoder_takes(folder, length):
    """It said `int too big to convert`."""
    path = folder / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"model_max_length": length}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    with pytest.raises(InputError, match="tokenizer: model_max_length: found .* at most 16 in its"):
        look_at(folder)


def test_a_tokenizer_of_a_larger_vocabulary(folder):
    encoder = folder / "text_encoder"
    path = encoder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 140}))

    def smaller(weights):
        key = next(key for key in weights if "token_embedding" in key)
        return weights | {key: weights[key][:140].clone()}

    rewrite(folder, "text_encoder", smaller)
    with pytest.raises(InputError, match="token 141 is beyond the text encoder, which knows 140"):
        look_at(folder)


def test_a_denoiser_that_overflows_is_found_at_the_first_image(folder):
    """All its images were black, and measured as such; the decoder was blamed."""
    rewrite(folder, "unet", lambda w: w | {"conv_in.weight": w["conv_in.weight"] * 1e30})
    with pytest.raises(
        InputError, match="light in float32, 1 steps, prompt 'a big red .* are not finite"
    ):
        look_at(folder)


@pytest.mark.parametrize("value, said", [(float("nan"), "not finite"), (1e-7, "is the same")])
def test_a_text_encoder_of_no_use(folder, value, said):
    rewrite(
        folder, "text_encoder", lambda w: {key: torch.full_like(t, value) for key, t in w.items()}
    )
    with pytest.raises(InputError, match=said):
        look_at(folder)


@pytest.mark.parametrize("part", WEIGHT_FILES)
def test_a_file_that_was_laid_out_and_not_written_to_its_end(folder, part):
    """Its tail is zeros: nothing is missing, all shapes are right, and images can be made of it."""
    path = folder / part / WEIGHT_FILES[part]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    with pytest.raises(InputError, match=f"{part}: .*% of its weights are zero, all of"):
        look_at(folder)


def test_layers_of_zeros_between_an_embedding_and_its_end(folder):
    """Prompts still differ, but words know nothing of each other."""
    rewrite(
        folder,
        "text_encoder",
        lambda w: {key: 0 * t if ".layers." in key else t for key, t in w.items()},
    )
    with pytest.raises(
        InputError, match="text_encoder: .* of its weights are zero, all of encoder"
    ):
        look_at(folder)


def test_a_single_matrix_of_zeros_is_said(folder):
    rewrite(folder, "unet", lambda w: w | {"conv_in.weight": 0 * w["conv_in.weight"]})
    with pytest.warns(UserWarning, match="unet: 1% of its weights are zero, all of conv_in.weight"):
        look_at(folder)


@pytest.mark.parametrize("bias", [0.0, (0.5, -0.5, 0.1)])
def test_a_decoder_of_one_colour(folder, bias):
    """Flat grey was refused, flat red was not."""

    def flat(weights):
        weight, old = (weights[f"decoder.conv_out.{name}"] for name in ("weight", "bias"))
        new = torch.tensor(bias).expand(3).to(old).contiguous()
        # not zero, which is told earlier
        return weights | {
            "decoder.conv_out.weight": torch.full_like(weight, 1e-7),
            "decoder.conv_out.bias": new,
        }

    rewrite(folder, "vae", flat)
    with pytest.raises(InputError, match="an image of one colour"):
        look_at(folder)


def test_a_scheduler_of_another_kind_of_prediction_is_noted(folder):
    """Its images are noise at all step counts, with curves that look like curves."""
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    assert config["prediction_type"] == "v_prediction"
    other = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    path.write_text(json.dumps(config | other))
    with pytest.warns(UserWarning, match="predicts no noise, but .* prediction_type is 'epsilon'"):
        pipeline = look_at(folder)
    assert len(pipeline.notes) == 1
    pipeline.notes = []
    # as a network of "epsilon" that is nearly right: all of its input is noise
    pipeline.unet.forward = lambda sample, *_, **__: (sample + 0.3 * sample.roll(1, -1),)
    assert inspection._other_prediction(pipeline) == []
    pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    (note,) = inspection._other_prediction(pipeline)
    assert "predicts noise, but its scheduler's prediction_type is 'v_prediction'" in note


def test_steps_are_refused_before_anything_is_fetched_or_opened(folder, monkeypatch):
    monkeypatch.setattr(samplers, "_TRIED", 20)  # one by one
    steps = {"sweep.converged_steps": (6000,)}
    for path in folder.rglob("*.json"):
        if path.parent.name == "scheduler":
            path.write_text(path.read_text().replace("5040", "200"))
    with pytest.raises(InputError, match="sweep.converged_steps: found 6000; allowed: 1 to 200"):
        check_before_fetching(ModelConfig(str(folder)), steps)
    check_before_fetching(ModelConfig(str(folder)), STEPS)
    check_before_fetching(ModelConfig("no/such-model"), steps)  # the cache does not hold it
    with pytest.raises(InputError, match="scheduler: found EDMEulerScheduler"):
        check_before_fetching(ModelConfig(str(folder), scheduler="EDMEulerScheduler"), STEPS)
    shutil.rmtree(folder / "vae")
    with pytest.raises(InputError, match="'vae' is missing"):
        check_before_fetching(ModelConfig(str(folder)), STEPS)


def test_a_safety_checker_left_out_is_noted(folder):
    path = folder / "model_index.json"
    kind = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"safety_checker": kind}))
    with pytest.warns(UserWarning, match="its safety checker is left out"):
        notes = look_at(folder).notes
    assert len(notes) == 1


def test_a_negative_prompt_without_guidance_is_noted(folder):
    with pytest.warns(UserWarning, match="negative_prompt has no effect"):
        assert look_at(folder, guidance=1.0, negative_prompt="a tree").notes
    assert look_at(folder, guidance=3.0, negative_prompt="a tree").notes == []


def test_guidance_that_a_distilled_pipeline_does_not_take_is_noted(tmp_path):
    """As Flux schnell's: one call of the denoiser, whatever the scale."""
    pipeline, _ = open_pipeline(ModelConfig(str(save("sd3-without-t5", tmp_path / "sd3"))), CPU)
    assert type(pipeline.scheduler) is FlowMatchEulerDiscreteScheduler
    type(pipeline).do_classifier_free_guidance, kept = (
        property(lambda _: False),
        type(pipeline).do_classifier_free_guidance,
    )
    try:
        with pytest.warns(UserWarning, match="guidance has no effect on it"):
            look(pipeline, STEPS, 3.0)
    finally:
        type(pipeline).do_classifier_free_guidance = kept
    pipeline.memory = "offload"
    with pytest.warns(UserWarning, match="no continuous batching, the stock pipeline makes all"):
        note_fallback(pipeline)
    assert len(pipeline.notes) == 2


def test_a_distilled_network_takes_guidance_but_no_negative_prompt(tmp_path):
    stable_diffusion(time_cond_proj_dim=8).save_pretrained(tmp_path / "lcm")
    with pytest.warns(UserWarning, match="negative_prompt has no effect"):
        notes = look_at(tmp_path / "lcm", guidance=7.5, negative_prompt="a tree").notes
    assert len(notes) == 2 and "weights that were not trained" in notes[1]


def test_mps_leaves_the_decoder_in_float32(tmp_path, monkeypatch):
    """Diffusers' pipelines convert it to the latents' dtype there, at every call."""
    folder = str(save("sdxl", tmp_path / "sdxl"))
    pipeline, _ = open_pipeline(ModelConfig(folder, dtype="float16"), CPU)
    decoded_in = []
    pipeline.vae.decoder.register_forward_pre_hook(
        lambda _module, inputs: decoded_in.append(inputs[0].dtype)
    )
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    look(pipeline, STEPS, 3.0)
    assert set(decoded_in) == {torch.float32} and pipeline.vae.dtype == torch.float32
    assert isinstance(pipeline.vae, AutoencoderKL)


def test_a_call_that_cannot_take_a_single_step_is_looked_at_with_two(tmp_path):
    """PixArt-alpha's, with the sampler that it is published with."""
    parts = BUILDERS["pixart"]().components | {"scheduler": DPMSolverMultistepScheduler()}
    PixArtAlphaPipeline(**parts).save_pretrained(tmp_path / "alpha")
    assert isinstance(look_at(tmp_path / "alpha"), PixArtAlphaPipeline)
