"""Curves that are not monotone are recognised, and interpolated as they are; noise is not."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.curve_fit import InterpolationTable
from calibration.fitting.fit import fit_curve
from calibration.fitting.interpolation import interpolate
from calibration.fitting.points import checked_points
from calibration.fitting.prediction import evaluate, predict
from tests.calibration.fitting.curves import STEPS, member


@pytest.mark.parametrize("kind", ["error", "utility"])
def test_curves_that_turn_are_recognised_and_interpolated_as_they_are(kind):
    values = np.array([1.5, 0.8, 0.5, 0.55, 0.62, 0.75])
    values = values if kind == "error" else 1.6 - values
    for sd in (None, [0.03] * 6):
        fit = fit_curve(STEPS, values, sd, kind)
        assert fit.chosen == "table" and not fit.monotone and "not monotone" in fit.notes[0]
        assert evaluate(fit, STEPS)[0] == pytest.approx(values)
        assert member(fit, fit.paper).weight == 0
        last, beyond = predict(fit, [32, 64])
        assert beyond.extrapolated and beyond.high - beyond.low > last.high - last.low
    uncertain = fit_curve(STEPS, values, [0.2] * 6, kind)
    assert uncertain.monotone and uncertain.chosen != "table"
    # The same prompts at every step count: their common error does not hide the turn.
    common = fit_curve(
        STEPS, values, [0.2] * 6, kind, covariance=np.full((6, 6), 0.2**2) + 0.02**2 * np.eye(6)
    )
    assert not common.monotone


@pytest.mark.parametrize("sd", [None, [0.025] * 6])
def test_noise_is_not_taken_for_a_turn(sd):
    rng, true = np.random.default_rng(7), 0.5 * np.exp(-0.5 * STEPS) + 0.5
    drawn = true * (1 + 0.05 * rng.standard_normal((300, 6)))
    turns = [interpolate(checked_points(STEPS, values, sd, "error"))[1] for values in drawn]
    assert sum(turn is not None for turn in turns) <= 0.05 * len(turns)


def test_a_curve_that_no_family_can_follow_is_interpolated():
    steps = list(range(1, 13))
    values = [abs(s - 6) + 1.0 for s in steps]
    fit = fit_curve(steps, values)
    assert fit.chosen == "table"
    inner, outer = predict(fit, [3, 20])
    assert inner.value == 4.0 and inner.low < 4.0 < inner.high and not inner.extrapolated
    assert outer.value == 7.0 and outer.extrapolated
    noisy = np.exp(-0.2 * STEPS) * [1.02, 0.97, 1.01, 1.03, 0.98, 1.0]
    assert fit_curve(STEPS, noisy).chosen != "table"


def test_a_mean_over_step_counts_is_as_uncertain_as_the_prompts_that_they_share():
    """A prompt is as much harder than the mean at one step count as at the others."""
    rng, users = np.random.default_rng(8), np.array([1, 2, 3, 8, 16, 24])
    sd = np.array([0.3, 0.2, 0.1, 0.1, 0.15, 0.2])
    table = InterpolationTable(tuple(STEPS.tolist()), (1.5, 0.8, 0.5, 0.55, 0.62, 0.75), tuple(sd))
    true = table.evaluate(users)[0].mean()
    means = [
        replace(table, values=tuple(table.values + sd * harder)).evaluate(users)[0].mean()
        for harder in rng.standard_normal(2000)
    ]
    covariance = table.evaluate(users)[1]
    assert covariance.mean() == pytest.approx(np.var(np.array(means) - true), rel=0.1)
