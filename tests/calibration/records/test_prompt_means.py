"""Means over prompts: their covariance with whole and with ragged tables of prompts and step
counts.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.prompt_means import (
    covariance_between_prompts,
    prompt_means,
)
from calibration.records.scale import Scale
from solver.inputs import InputError
from tests.calibration.world import record

DISTANCE = Scale("distance", 0.0, 1.0)


def records(table):
    """Records of a table (prompts, step counts) of distances; nan: not run."""
    return [
        record(steps=1 + column, prompt=f"prompt {row}", distance=value)
        for row, values in enumerate(table)
        for column, value in enumerate(values)
        if not np.isnan(value)
    ]


def test_a_whole_table_gives_the_textbook_covariance():
    table = np.random.default_rng(0).normal(size=(9, 4))
    means = prompt_means(records(table), Scale("distance", 0.0, 2.0))
    np.testing.assert_allclose([point.value for point in means.points], table.mean(axis=0) / 2)
    np.testing.assert_allclose(means.covariance, np.cov(table.T) / 9 / 4, atol=1e-15)
    assert means.dof == 8
    np.testing.assert_allclose(np.cov(means.replicates.T), means.covariance * 8 / 9, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 20), st.integers(3, 20))
def test_a_ragged_table_keeps_each_points_own_variance_nearly_and_never_a_negative_one(
    seed, few, more
):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(few + more, 4)) + rng.normal(size=(few + more, 1))
    table[few:, [1, 2]] = np.nan
    means = prompt_means(records(table), DISTANCE)
    assert np.linalg.eigvalsh(means.covariance).min() > -1e-12
    se = [point.se for point in means.points]
    assert (np.sqrt(np.diag(means.covariance)) >= 0.999 * np.array(se)).all()
    assert np.sqrt(np.diag(means.covariance)) == pytest.approx(se, rel=0.6)
    assert min(few, more) - 1 <= means.dof <= few + more - 1


def test_the_covariance_of_ragged_means_is_unbiased():
    """Forty prompts, eight of them at the second step count; a prompt's share of the variance is 1,
    an image's 1/4.
    """
    rng, estimates = np.random.default_rng(1), []
    for _ in range(200):
        table = 0.5 * rng.normal(size=(40, 3)) + rng.normal(size=(40, 1))
        table[8:, 1] = np.nan
        estimates.append(prompt_means(records(table), DISTANCE).covariance)
    often, rare = 1 / 40, 1 / 8
    expected = [
        [1.25 * often, often, often],
        [often, 1.25 * rare, often],
        [often, often, 1.25 * often],
    ]
    np.testing.assert_allclose(np.mean(estimates, axis=0), expected, rtol=0.1)


def test_a_covariance_between_prompts_needs_only_the_prompts_that_have_both():
    table = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [3.0, 6.0, 1.0], [9.0, np.nan, 2.0]])
    measured = ~np.isnan(table)
    spread = covariance_between_prompts(np.nan_to_num(table), measured)
    assert spread[0, 1] == pytest.approx(np.cov(table[:3, 0], table[:3, 1])[0, 1])
    assert spread[0, 0] == pytest.approx(np.var(table[:, 0], ddof=1))


def test_few_common_prompts_have_no_covariance_and_no_value_is_refused():
    table = np.full((5, 2), np.nan)
    table[:3, 0], table[2:, 1] = 1.0, 2.0
    means = prompt_means(records(table), DISTANCE)
    assert means.covariance is None and means.replicates is None
    with pytest.raises(InputError, match="no record with a value of distance"):
        prompt_means(records(np.full((2, 2), np.nan)), DISTANCE)


def test_a_prompt_that_a_benchmark_repeats_counts_as_often():
    table = np.random.default_rng(1).normal(size=(5, 2))
    counted = prompt_means(records(table), DISTANCE, {"prompt 0": 3, "prompt 4": 2})
    whole = np.vstack([table, table[[0, 0, 4]]])
    np.testing.assert_allclose([p.value for p in counted.points], whole.mean(axis=0))
    assert [point.n for point in counted.points] == [8, 8]
    assert [point.prompts for point in counted.points] == [5, 5]
    once = prompt_means(records(table), DISTANCE)
    assert all(a.se > b.se for a, b in zip(counted.points, once.points)), "worth fewer prompts"
    assert prompt_means(records(table), DISTANCE, {}).points == once.points
