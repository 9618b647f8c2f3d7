"""Times against steps: known lines come back, with honest uncertainty, whatever pauses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from calibration.costs.line import MedianPoint
from calibration.costs.time import fit_time
from calibration.statistics import t_quantile
from solver.inputs import InputError


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 10), st.floats(1e-4, 10))
def test_exact_times_give_overhead_and_step_time_back(overhead, step_time):
    steps = np.repeat([1, 2, 4, 8], 3)
    fit = fit_time(steps, overhead + step_time * steps)
    assert fit.overhead == pytest.approx(overhead, rel=1e-6, abs=1e-6 * step_time)
    assert fit.step_time == pytest.approx(step_time, rel=1e-6)
    assert fit.r2 == pytest.approx(1.0) and fit.n == 12
    assert fit.relative_sd == pytest.approx(0, abs=1e-6)


def test_times_disturbed_now_and_then_do_not_move_the_line():
    rng, steps = np.random.default_rng(4), np.repeat([1, 2, 4, 8, 16, 32], 10)
    clean = (0.5 + 0.1 * steps) * np.exp(0.01 * rng.standard_normal(60))
    disturbed = np.where(rng.random(60) < 0.2, 5, 1) * clean
    fit = fit_time(steps, disturbed)
    assert fit.step_time == pytest.approx(0.1, rel=0.03)
    assert fit.overhead == pytest.approx(0.5, rel=0.05)
    assert np.polyfit(steps, disturbed, 1)[0] > 0.12  # where least squares would have gone


def test_time_covariance_is_the_scatter_of_repeated_fits():
    rng, steps = np.random.default_rng(5), np.repeat([1, 4, 8, 16, 32], 8)
    fits = [
        fit_time(steps, (0.5 + 0.1 * steps) * np.exp(0.05 * rng.standard_normal(40)))
        for _ in range(200)
    ]
    scatter = np.cov([[fit.overhead, fit.step_time] for fit in fits], rowvar=False)
    said = np.mean([fit.covariance for fit in fits], axis=0)
    assert np.sqrt(np.diag(said)) == pytest.approx(np.sqrt(np.diag(scatter)), rel=0.25)
    assert said[0, 1] < 0 > scatter[0, 1]
    assert np.median([fit.relative_sd for fit in fits]) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("each", [3, 20])
def test_a_new_time_is_inside_its_interval_in_95_of_100_after_few_images_too(each):
    """The interval of a user's time: a single image's spread and the line's own uncertainty."""
    rng, steps, sd = np.random.default_rng(7), np.repeat([2, 8, 32], each), 0.03
    true, ends = 0.5 + 0.1 * np.array([8]), []
    for _ in range(400):
        fit = fit_time(steps, (0.5 + 0.1 * steps) * (1 + sd * rng.standard_normal(len(steps))))
        line = np.array([1, 8]) @ np.array(fit.covariance) @ np.array([1, 8])
        own = t_quantile(fit.n - 2) * fit.relative_sd * fit.seconds(8)
        half = np.hypot(own, t_quantile(fit.dof) * line**0.5)
        ends.append(fit.seconds(8) + np.array([-half, half]))
    below, above = norm.cdf((np.array(ends) - true) / (sd * true)).T
    assert 0.94 - 0.03 / each < np.mean(above - below) < 0.975


def test_time_that_is_not_affine_is_said_and_noise_is_not():
    """A straight line is rejected about as rarely as promised; a step that grows dearer with their
    number nearly always.
    """
    rng, steps = np.random.default_rng(6), np.repeat([1, 2, 4, 8, 16, 32], 12)

    def rejected(bend):
        times = (0.05 + 0.02 * steps * (1 + bend * steps)) * np.exp(
            0.03 * rng.standard_normal((300, len(steps)))
        )
        return np.mean([not fit_time(steps, row).lack_of_fit.affine for row in times])

    assert rejected(0.0) < 0.05 and rejected(0.01) > 0.95
    bent = fit_time(
        steps, 0.02 * steps * (1 + 0.05 * steps) * np.exp(0.001 * rng.standard_normal(len(steps)))
    ).lack_of_fit
    assert bent.p < 1e-6 and abs(bent.largest) > 0.1 and bent.at in steps
    assert fit_time([1, 2, 4], [1, 2, 4]).lack_of_fit is None
    assert fit_time([1, 1, 2, 2], [1, 1.1, 2, 2.1]).lack_of_fit is None


def test_the_papers_time_has_no_intercept_and_fits_worse():
    steps = np.array([1, 2, 4, 8])
    fit = fit_time(steps, 1 + 0.1 * steps)
    assert fit.paper.r2 < 0.5 < fit.r2
    assert fit.points[0] == MedianPoint(1, pytest.approx(1.1), 1)
    sinking = fit_time([1, 2, 4, 8], [0.09, 0.19, 0.4, 0.82])
    assert sinking.overhead == 0.0 and sinking.covariance[0] == (0.0, 0.0)


@pytest.mark.parametrize(
    "steps, seconds, message",
    [([4, 4], [1, 1], "at least 2 different"), ([1, 2], [1, 0], "not a positive number")],
)
def test_wrong_times_are_refused(steps, seconds, message):
    with pytest.raises(InputError, match=message):
        fit_time(steps, seconds)
