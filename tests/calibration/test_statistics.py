"""Isotonic regression, and interpolation as weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.statistics import interpolation_weights, isotonic


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
