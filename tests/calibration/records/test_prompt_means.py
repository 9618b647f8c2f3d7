"""Means over prompts: their covariance with whole and with ragged tables of prompts and step
counts.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.prompt_means import sample, spread_between
from solver.inputs import InputError


def records(table):
    """Records of a table (prompts, step counts) of values; nan: not run."""
    return [
        {"asked": {"steps": 1 + column, "prompt": f"prompt {row}"}, "measured": {"score": value}}
        for row, values in enumerate(table)
        for column, value in enumerate(values)
        if not np.isnan(value)
    ]


def test_a_whole_table_gives_the_textbook_covariance():
    table = np.random.default_rng(0).normal(size=(9, 4))
    found = sample(records(table), "score", 0.0, 2.0)
    np.testing.assert_allclose([point["value"] for point in found.points], table.mean(axis=0) / 2)
    np.testing.assert_allclose(found.covariance, np.cov(table.T) / 9 / 4, atol=1e-15)
    assert found.freedom == 8
    np.testing.assert_allclose(np.cov(found.replicates.T), found.covariance * 8 / 9, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 20), st.integers(3, 20))
def test_a_ragged_table_keeps_each_points_own_variance_nearly_and_never_a_negative_one(
    seed, some, more
):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(some + more, 4)) + rng.normal(size=(some + more, 1))
    table[some:, [1, 2]] = np.nan
    found = sample(records(table), "score", 0.0, 1.0)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-12
    se = [point["se"] for point in found.points]
    assert (np.sqrt(np.diag(found.covariance)) >= 0.999 * np.array(se)).all()
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(se, rel=0.6)
    assert min(some, more) - 1 <= found.freedom <= some + more - 1


def test_the_covariance_of_ragged_means_is_unbiased():
    """Forty prompts, eight of them at the second step count; a prompt's share of the variance is 1,
    an image's 1/4.
    """
    rng, estimates = np.random.default_rng(1), []
    for _ in range(600):
        table = 0.5 * rng.normal(size=(40, 3)) + rng.normal(size=(40, 1))
        table[8:, 1] = np.nan
        estimates.append(sample(records(table), "score", 0.0, 1.0).covariance)
    often, rare = 1 / 40, 1 / 8
    expected = [
        [1.25 * often, often, often],
        [often, 1.25 * rare, often],
        [often, often, 1.25 * often],
    ]
    np.testing.assert_allclose(np.mean(estimates, axis=0), expected, rtol=0.1)


def test_spread_between_needs_only_the_prompts_that_have_both():
    table = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [3.0, 6.0, 1.0], [9.0, np.nan, 2.0]])
    there = ~np.isnan(table)
    spread = spread_between(np.nan_to_num(table), there)
    assert spread[0, 1] == pytest.approx(np.cov(table[:3, 0], table[:3, 1])[0, 1])
    assert spread[0, 0] == pytest.approx(np.var(table[:, 0], ddof=1))


def test_few_common_prompts_have_no_covariance_and_no_value_is_refused():
    table = np.full((5, 2), np.nan)
    table[:3, 0], table[2:, 1] = 1.0, 2.0
    found = sample(records(table), "score", 0.0, 1.0)
    assert found.covariance is None and found.replicates is None
    with pytest.raises(InputError, match="no record with a value of score"):
        sample(records(np.full((2, 2), np.nan)), "score", 0.0, 1.0)
