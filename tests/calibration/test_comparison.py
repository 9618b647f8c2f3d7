"""Comparisons of a prediction with what was measured, and what their JSON leaves out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm

from calibration.comparison import Comparison, Total, positive_interval


def test_errors_and_interval_follow_from_the_numbers():
    comparison = Comparison.of(12.0, 10.0, 3.0, paper=5.0, basis="measured")
    assert (comparison.low, comparison.high, comparison.inside) == (9.0, 15.0, True)
    assert comparison.relative_error == pytest.approx(0.2)
    assert comparison.paper_relative_error == pytest.approx(-0.5)
    assert not Comparison.of(12.0, 10.0, 1.0).inside
    assert 0.0 < Comparison.of(1.0, 0.5, 3.0, positive=True).low < 0.5
    assert Comparison.of(-12.0, -10.0, 3.0).relative_error == pytest.approx(-0.2)


def test_what_is_not_known_is_none():
    unmeasured = Comparison.of(12.0, None, 3.0, paper=5.0)
    assert unmeasured.inside is None and unmeasured.relative_error is None
    assert unmeasured.paper_relative_error is None
    assert Comparison.of(12.0, 10.0, None).inside is None
    assert Comparison.of(12.0, 0.0, 3.0, paper=5.0).relative_error is None


def test_json_holds_no_paper_where_it_predicts_nothing():
    total = Total.of(12.0, 10.0, 3.0, quantity="Fréchet distance", unit="", note="few images")
    values = total.to_dict()
    assert not {"paper", "paper_relative_error", "basis"} & values.keys()
    assert Total.from_dict(values) == total
    assert Comparison.of(12.0, None, 3.0, paper=5.0).to_dict()["paper_relative_error"] is None


@settings(max_examples=40)
@given(mean=st.floats(1e-6, 1e6), relative=st.floats(1e-4, 2.4))
def test_a_positive_interval_is_that_of_the_log_normal_with_these_moments(mean, relative):
    low, high = positive_interval(mean, 1.96 * relative * mean)
    distribution = lognorm(*_shape_of(mean, relative))
    assert distribution.mean() == pytest.approx(mean, rel=1e-6)
    assert distribution.std() == pytest.approx(relative * mean, rel=1e-6)
    assert low == pytest.approx(distribution.ppf(0.025), rel=1e-3)
    assert high == pytest.approx(distribution.ppf(0.975), rel=1e-3)
    assert 0.0 < low < high


def _shape_of(mean, relative):
    """scipy's parameters (s, loc, scale) of a log-normal with a mean and a relative sd."""
    sigma = np.sqrt(np.log1p(relative**2))
    return sigma, 0.0, mean * np.exp(-(sigma**2) / 2)


def test_a_precise_positive_interval_is_the_symmetric_one():
    assert positive_interval(10.0, 0.1) == pytest.approx((9.9, 10.1), rel=1e-4)
    assert positive_interval(0.0, 1.0) == (0.0, 1.0)


@pytest.mark.parametrize("relative", [1.0, 2.4, 3.0, 10.0, 100.0, 1e4, 1e170])
def test_the_less_a_positive_quantity_is_known_the_wider_its_interval(relative):
    """The log-normal's upper end falls to 0 with the mean: it once lay below the prediction."""
    half = 1.96 * 2.0
    low, high = positive_interval(2.0 / relative, half)
    assert 0.0 <= low < 2.0 / relative < half <= high < 2 * half


@given(lacks=st.floats(0.1, 90.0), half=st.floats(0.1, 60.0))
def test_what_has_a_largest_value_is_as_far_below_it_as_a_positive_quantity_is_above_0(lacks, half):
    row, lacking = (
        Comparison.of(100.0 - lacks, None, half, most=100.0),
        Comparison.of(lacks, None, half, positive=True),
    )
    assert (row.low, row.high) == pytest.approx((100.0 - lacking.high, 100.0 - lacking.low))
    assert row.high < 100.0
    far = Comparison.of(30.0, None, 0.5, most=1e6)
    assert (far.low, far.high) == pytest.approx((29.5, 30.5), rel=1e-4)


def test_means_of_skewed_values_are_missed_on_both_sides_alike():
    """Means of 30 values with a coefficient of variation of 2, as rare layouts give them."""
    rng = np.random.default_rng(0)
    means = rng.lognormal(-0.5 * np.log(5), np.sqrt(np.log(5)), (4000, 30)).mean(axis=1)
    half = 1.96 * 2 / np.sqrt(30)
    low, high = positive_interval(1.0, half)
    below, above = np.mean(means < low), np.mean(means > high)
    assert 0.93 < 1 - below - above < 0.97
    assert np.mean(means < 1 - half) == 0.0 < below
    assert above < 1.5 * np.mean(means > 1 + half)
