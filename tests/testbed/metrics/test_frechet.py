"""The Fréchet distance against its closed form, and beside the kernel distance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance

from solver.inputs import InputError
from testbed.metrics.distances import ReferenceDistances, frechet


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
    assert frechet(a, b) == pytest.approx(
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
    assert frechet(features[30:], features[:30]) == pytest.approx(float(metric.compute()), rel=1e-5)


def test_frechet_of_a_set_with_itself_is_zero_and_one_image_is_refused():
    a = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert abs(frechet(a, a)) < 1e-3
    with pytest.raises(InputError, match="at least 2"):
        frechet(a[:1], a)


def test_the_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    """Same distribution, few samples: Fréchet is far above zero, the kernel distance is not."""
    rng = np.random.default_rng(1)
    pairs = [rng.normal(size=(2, 40, 32)).astype(np.float32) for _ in range(20)]
    kernel = [ReferenceDistances(b).kid(a).value for a, b in pairs]
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / np.sqrt(len(kernel))
    assert min(frechet(a, b) for a, b in pairs[:3]) > 5
