"""Spread about medians, isotonic regression, and interpolation as weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.statistics import group_medians, interpolation_weights, isotonic, pooled_sd


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.booleans())
def test_isotonic_values_are_the_nearest_monotone_ones(values, rising):
    nearest = isotonic(np.array(values), np.ones(len(values)), rising)
    assert (np.diff(nearest) >= -1e-12).all() if rising else (np.diff(nearest) <= 1e-12).all()
    assert nearest.mean() == pytest.approx(np.mean(values), abs=1e-9)
    # the projection on a cone: the rest is orthogonal to the projection
    assert (np.array(values) - nearest) @ nearest == pytest.approx(0, abs=1e-9)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=6, unique=True),
    st.lists(st.floats(0, 60), min_size=1, max_size=5),
)
def test_interpolation_weights_interpolate(grid, at):
    grid = np.sort(grid)
    values = np.cos(grid)
    assert interpolation_weights(at, grid) @ values == pytest.approx(np.interp(at, grid, values))


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_the_spread_about_medians_is_that_of_the_values_whatever_the_size_of_the_groups(size):
    """An odd group's own median lies exactly on itself, and must not count."""
    groups = np.repeat(np.arange(6000), size)
    values = 0.1 * np.random.default_rng(size).standard_normal(len(groups))
    medians = np.median(values.reshape(-1, size), axis=1)
    assert pooled_sd(values - medians[groups], groups) == pytest.approx(0.1, rel=0.05)


def test_single_values_have_no_spread():
    values, groups = np.array([1.0, 2.0, 2.5, 4.0]), np.array([0, 1, 1, 2])
    deviations = values - group_medians(values, groups)[groups]
    assert pooled_sd(deviations, groups) == pytest.approx(1.4826 * 0.25 * 2**0.5)
    assert pooled_sd(np.zeros(3), np.arange(3)) == 0.0
