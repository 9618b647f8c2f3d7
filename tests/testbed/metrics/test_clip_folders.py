"""Scorers that would spoil what they measure are refused when they are opened; captions of any
length are scored with their end token, and memory that runs out halves a batch.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SiglipConfig, SiglipModel

from solver.inputs import InputError
from testbed.embedded.scenes import captions, render
from testbed.metrics.clip import Clip
from testbed.models.pipelines import WEIGHTS

CPU = torch.device("cpu")
CAPTION = captions("scene", "held-out")[0]


@pytest.fixture(scope="module")
def own():
    """The embedded scorer."""
    return Clip("embedded:clip", CPU)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(WEIGHTS / "clip", tmp_path / "clip"))


def rewrite(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def set_values(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("length", [None, 4, 1000])
def test_captions_are_cut_at_the_models_length_whatever_the_tokenizer_says(own, folder, length):
    """Without model_max_length the run died after its sweep; with the end token cut off the
    features are those of another token.
    """
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values.pop("model_max_length", None)
    path.write_text(json.dumps(values if length is None else values | {"model_max_length": length}))
    other = Clip(str(folder), CPU)
    image, text = np.asarray(render(CAPTION, 0)), " ".join([CAPTION.text] * 6)
    for caption in (CAPTION.text, text):
        assert np.allclose(other.texts([caption]), own.texts([caption]), atol=1e-5)
        assert other.score(image, caption) == pytest.approx(own.score(image, caption), abs=1e-3)
    a, b = own.images([image])[0], own.texts([text])[0]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert own.score(image, text) == pytest.approx(100 * cosine, abs=1e-3)
    ids = own._processor(text=[text], **own._truncated)["input_ids"][0]
    assert ids[-1] == own._processor.tokenizer.eos_token_id
    assert len(ids) == own.config.text_config.max_position_embeddings


@pytest.mark.parametrize("name", ["/models/clip", "clip", "~/clip", "./a/b", "https://hub/a/b"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused_before_models_are_opened(name):
    with pytest.raises(InputError, match=f"quality.clip: {name}: no such folder; allowed: "):
        Clip.check_before_fetching(name)
    Clip.check_before_fetching("none")
    Clip.check_before_fetching("openai/clip-vit-base-patch32")


def test_a_file_is_told_to_be_one(folder):
    path = folder / "model.safetensors"
    with pytest.raises(InputError, match=f"quality.clip: {path}: a file; allowed: embedded:clip"):
        Clip.check_before_fetching(str(path))


def test_weights_of_a_variant_alone_open_under_the_name_that_the_message_says(folder):
    """There is no ``variant`` under ``[quality]``."""
    path = folder / "model.safetensors"
    path.rename(half := path.with_name("model.fp16.safetensors"))
    said = "it has model.fp16.safetensors: under the name model.safetensors it is opened"
    with pytest.raises(InputError, match=f"quality.clip: .*{said}"):
        Clip.check_before_fetching(str(folder))
    half.rename(path)
    Clip.check_before_fetching(str(folder))


def test_pickled_weights_open_by_the_key_that_the_message_names(own, folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="quality.clip: .* allow_pickle = true"):
        Clip(str(folder), CPU)
    assert Clip(str(folder), CPU, allow_pickle=True).fingerprint == own.fingerprint


def test_a_pickle_that_holds_more_than_tensors_is_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (folder / "model.safetensors").unlink()
    torch.save({"weights": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="quality.clip"):
        Clip(str(folder), CPU, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda w: dict(sorted(w.items())[::2]), "weights are missing"),
        (lambda w: {key: torch.full_like(t, float("nan")) for key, t in w.items()}, "not finite"),
        (
            lambda w: {key: torch.full_like(t, 1e-7) for key, t in w.items()},
            "inputs are alike|not finite",
        ),
        (lambda w: {key: torch.zeros_like(t) for key, t in w.items()}, "weights are zero"),
        (
            lambda w: w | {k: 0 * t for k, t in w.items() if k.startswith("text_projection")},
            "inputs are alike|not finite",
        ),
        (
            lambda w: w | {k: 0 * t for k, t in w.items() if k.startswith("visual_projection")},
            "inputs are alike|not finite",
        ),
    ],
    ids=["half of the weights", "nan", "tiny", "zeros", "no texts", "no images"],
)
def test_a_scorer_of_no_use_is_refused_before_the_sweep(folder, change, said):
    rewrite(folder, change)
    with pytest.raises(InputError, match=f"quality.clip: .*: .*({said})"):
        Clip(str(folder), CPU)


@pytest.mark.parametrize("text", ["[]", "{", "7"])
def test_a_scorers_config_that_is_no_object(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match="quality.clip: .*config.json"):
        Clip(str(folder), CPU)


def test_a_scorer_without_its_vocabulary(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="quality.clip: .*(vocabulary of|cannot be opened)"):
        Clip(str(folder), CPU)


def test_a_scorer_that_is_no_clip(tmp_path):
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = SiglipConfig(
        text_config=small | {"num_attention_heads": 2, "vocab_size": 150},
        vision_config=small | {"num_attention_heads": 2, "image_size": 32, "patch_size": 16},
    )
    SiglipModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a model of type 'siglip'; allowed: a CLIP model"):
        Clip(str(tmp_path), CPU)


def test_a_batch_beyond_memory_is_halved(own, monkeypatch):
    sizes = []
    images = [np.asarray(render(CAPTION, seed)) for seed in range(7)]
    texts = [CAPTION.text, *(f"a {color} ball" for color in ("red", "green", "blue", "white"))]
    expected = own.images(images), own.texts(texts)
    for name in ("get_image_features", "get_text_features"):
        call = getattr(own, name)

        def short(inputs, *rest, call=call):
            sizes.append(len(inputs))
            if len(inputs) > 2:
                raise RuntimeError("could not create a primitive")
            return call(inputs, *rest)

        monkeypatch.setattr(own, name, short)
    for ours, before in zip((own.images(images), own.texts(texts)), expected, strict=True):
        assert np.allclose(ours, before, atol=1e-4)
    assert max(sizes) == 7 and sizes.count(1) >= 2
