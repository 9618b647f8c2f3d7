"""Features that are no numbers, or all alike: one line, or a finite distance."""

import math
import tracemalloc

import numpy as np
import pytest

from solver.inputs import InputError
from testbed.metrics import kernels
from testbed.metrics.distances import ReferenceDistances

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(wrong):
    good, bad = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 3))
    bad[2, 1] = wrong
    with pytest.raises(InputError, match="features of reference images that are not finite"):
        ReferenceDistances(bad)
    for name in ("frechet", "kid", "cmmd"):
        with pytest.raises(InputError, match="features of images that are not finite"):
            getattr(ReferenceDistances(good), name)(bad)


def test_features_that_are_all_zero_have_a_distance():
    zero, other = np.zeros((6, 3)), RNG.normal(size=(6, 3))
    for images, reference in ((zero, zero), (zero, other), (other, zero)):
        for name in ("kid", "cmmd"):
            value = getattr(ReferenceDistances(reference), name)(images).value
            assert math.isfinite(value)


@pytest.mark.parametrize("kernel", [kernels.polynomial, kernels.gaussian])
def test_sums_of_a_kernel_in_blocks_are_those_of_its_whole_matrix(kernel, monkeypatch):
    a, b = RNG.normal(size=(53, 5)), RNG.normal(size=(41, 5))
    left, right = (
        RNG.integers(0, 2, (53, 3)).astype(float),
        RNG.integers(0, 2, (41, 2)).astype(float),
    )
    of_a, of_b = RNG.integers(0, 9, 53).tolist(), RNG.integers(0, 9, 41).tolist()
    kept = np.not_equal.outer(of_a, of_b)
    direct = left.T @ (kept * kernel(a, b)) @ right, left.T @ kept @ right
    for rows in (1, 7, 64):
        monkeypatch.setattr(kernels, "_ROWS", rows)
        sums = kernels.sums(kernel, a, b, left, right, of_a, of_b)
        np.testing.assert_allclose(sums, direct, rtol=1e-10)


def test_distances_of_many_images_take_memory_in_proportion(monkeypatch):
    """A matrix of all pairs of 2,400 images would take 46 MB."""
    monkeypatch.setattr(kernels, "_ROWS", 128)
    images, reference = RNG.normal(size=(2400, 4)), ReferenceDistances(RNG.normal(size=(2400, 4)))
    tracemalloc.start()
    try:
        reference.cmmd(images)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 23e6
