"""The CLIP score and features, with the embedded CLIP and one of the published architecture."""

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from solver.inputs import InputError
from testbed.embedded.scenes import CLASSES, captions, render
from testbed.metrics.clip import Clip


@pytest.fixture(scope="module")
def clip():
    return Clip("embedded:clip", torch.device("cpu"))


def test_the_clip_score_is_the_cosine_of_the_features(clip):
    caption = captions("scene", "held-out")[0]
    image = np.asarray(render(caption, 0))
    a, b = clip.images([image])[0], clip.texts([caption.text])[0]
    assert clip.score(image, caption.text) == pytest.approx(
        max(0, 100 * a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-3
    )


def test_features_do_not_depend_on_the_batch(clip):
    images = [np.asarray(render(captions("object", "held-out")[i], 0)) for i in range(5)]
    assert np.allclose(
        clip.images(images, batch=2),
        np.concatenate([clip.images([image]) for image in images]),
        atol=1e-4,
    )


def test_clip_finds_the_right_caption_of_held_out_scenes(clip):
    """The bar of the model card in small: 96 scenes, the own caption among 32."""
    chosen = [captions(name, "held-out")[i] for i in range(32) for name in CLASSES]
    images = clip.images([np.asarray(render(c, f"test/{i}")) for i, c in enumerate(chosen)])
    texts = clip.texts([c.text for c in chosen])
    scores = images @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
    right = [
        np.argmax(scores[i, block : block + 32]) == i - block
        for block in (0, 32, 64)
        for i in range(block, block + 32)
    ]
    assert np.mean(right) >= 0.95


def test_a_caption_beyond_the_models_length_is_scored_by_its_beginning(clip):
    caption = captions("scene", "held-out")[0]
    image, text = np.asarray(render(caption, 0)), " ".join([caption.text] * 4)
    a, b = clip.images([image])[0], clip.texts([text])[0]
    assert clip.score(image, text) == pytest.approx(
        100 * a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-3
    )
    assert clip.score(image, text) > 70


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory):
    """A CLIP of the published architecture, random and small, with its own preprocessing, as
    save_pretrained writes it.
    """
    from testbed.models.pipelines import resolve

    torch.manual_seed(0)
    tokens = CLIPTokenizer.from_pretrained(resolve("embedded:clip"), model_max_length=77)
    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        **small,
        "vocab_size": len(tokens),
        "max_position_embeddings": 77,
        "eos_token_id": tokens.eos_token_id,
    }
    config = CLIPConfig(
        text_config=text,
        vision_config={**small, "image_size": 56, "patch_size": 14},
        projection_dim=24,
    )
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    CLIPProcessor(pictures, tokens).save_pretrained(folder)
    return folder


def test_any_clip_folder_scores_with_its_own_preprocessing(shrunk, clip):
    other = Clip(str(shrunk), torch.device("cpu"))
    rng = np.random.default_rng(0)
    images = [
        rng.integers(256, size=size, dtype=np.uint8)
        for size in ((56, 56, 3), (40, 120, 3), (300, 90, 3))
    ]
    features, texts = other.images(images), other.texts(["a red ball", "a tree"])
    assert (
        features.shape == (3, 24)
        and texts.shape == (2, 24)
        and clip.images(images).shape == (3, 64)
    )
    middle = images[1][:, 40:80]  # of a wide image the square in the middle counts
    assert np.allclose(
        features[1], other.images([middle])[0], atol=0.05 * np.abs(features[1]).max()
    )
    assert other.score(images[0], "a red ball") == pytest.approx(
        max(
            0, 100 * features[0] @ texts[0] / np.linalg.norm(features[0]) / np.linalg.norm(texts[0])
        ),
        abs=1e-3,
    )


def test_a_clip_is_known_by_its_weights(shrunk, clip):
    first, again = (Clip(str(shrunk), torch.device("cpu")) for _ in range(2))
    assert first.fingerprint == again.fingerprint != clip.fingerprint
    with torch.no_grad():
        again._model.text_projection.weight[0, 0] += 1e-3
    assert Clip(str(shrunk), torch.device("cpu")).fingerprint == first.fingerprint
    del again.fingerprint
    assert again.fingerprint != first.fingerprint


def test_a_missing_clip_is_one_line(tmp_path):
    with pytest.raises(InputError, match="config.json is missing"):
        Clip(str(tmp_path), torch.device("cpu"))
