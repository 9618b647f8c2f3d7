"""Quality measures against closed forms and against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from solver.inputs import InputError
from testbed.embedded.scenes import CLASSES, captions, render
from testbed.metrics import quality


@pytest.fixture(scope="module")
def clip():
    return quality.Clip("embedded:clip", torch.device("cpu"))


def closed_form(a, b):
    """Fréchet distance of two Gaussians fitted to the feature sets."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 12), st.floats(0.1, 5))
def test_frechet_is_the_closed_form(seed, width, scale):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(60, width)).astype(np.float32) @ rng.normal(size=(width, width)).astype(
        np.float32
    )
    b = (rng.normal(size=(80, width)) * scale + 1).astype(np.float32)
    assert quality.frechet(a, b) == pytest.approx(
        closed_form(a.astype(float), b.astype(float)), rel=1e-3, abs=1e-3
    )


def test_frechet_of_features_is_torchmetrics_own_of_the_images():
    """Its update on images, through a small network as its extractor, and ours on features that
    were extracted before.
    """

    class Network(torch.nn.Module):
        num_features = 6

        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 6, 5, 2),
                torch.nn.ReLU(),
                torch.nn.AdaptiveAvgPool2d(1),
                torch.nn.Flatten(),
            )

        def forward(self, images):
            return self.layers(images / 255)

    torch.manual_seed(0)
    images, network = torch.randint(256, (50, 3, 20, 20), dtype=torch.uint8), Network()
    metric = FrechetInceptionDistance(network)
    metric.update(images[:30], real=True)
    metric.update(images[30:], real=False)
    with torch.inference_mode():
        features = network(images).numpy()
    assert quality.frechet(features[30:], features[:30]) == pytest.approx(
        float(metric.compute()), rel=1e-5
    )


def test_frechet_of_a_set_with_itself_is_zero_and_one_image_is_refused():
    a = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert abs(quality.frechet(a, a)) < 1e-3
    with pytest.raises(InputError, match="at least 2"):
        quality.frechet(a[:1], a)


def test_the_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    """Same distribution, few samples: Fréchet is far above zero, the kernel distance is not."""
    rng = np.random.default_rng(1)
    pairs = [rng.normal(size=(2, 40, 32)).astype(np.float32) for _ in range(20)]
    kernel = [quality.kernel_distance(a, b)[0] for a, b in pairs]
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / np.sqrt(len(kernel))
    assert min(quality.frechet(a, b) for a, b in pairs[:3]) > 5


def test_distance_is_root_mean_square_on_the_unit_scale():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    half = black.copy()
    half[:2] = 255
    assert quality.distance(black, white) == 1.0
    assert quality.distance(black, half) == pytest.approx(np.sqrt(0.5))
    assert quality.distance(half, half) == 0.0


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
    other = quality.Clip(str(shrunk), torch.device("cpu"))
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
    one, again = (quality.Clip(str(shrunk), torch.device("cpu")) for _ in range(2))
    assert one.fingerprint == again.fingerprint != clip.fingerprint
    with torch.no_grad():
        again._model.text_projection.weight[0, 0] += 1e-3
    assert quality.Clip(str(shrunk), torch.device("cpu")).fingerprint == one.fingerprint
    del again.fingerprint
    assert again.fingerprint != one.fingerprint


def test_a_missing_clip_is_one_line(tmp_path):
    with pytest.raises(InputError, match="config.json is missing"):
        quality.Clip(str(tmp_path), torch.device("cpu"))
