"""Averages of families: their weights, their covariance, and predictions beyond the points."""

import numpy as np
import pytest

from benchmarks.calibration.curve_fit import published
from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.discrepancy import correction
from calibration.fitting.fit import fit_curve
from calibration.fitting.prediction import evaluate, predict
from calibration.statistics import interpolation_weights
from tests.calibration.fitting.curves import STEPS


@pytest.mark.parametrize(
    "file, bars", [("fid_vs_steps.json", (3.5, 5.0)), ("fid_vs_steps_more.json", (3.5, 7.0))]
)
def test_published_curves_are_predicted_better_than_by_any_single_family(file, bars):
    errors, inside = published(file)
    for (split, by_curve), bar in zip(errors.items(), bars, strict=True):
        percent = 100 * np.abs(np.concatenate(list(by_curve.values())))
        assert np.median(percent) < bar and inside[split] >= 0.85, split


def test_families_that_no_other_contains_are_averaged_and_their_disagreement_counts():
    fit = fit_curve([3, 4, 5, 6, 7], [93.36, 66.76, 49.66, 35.62, 27.93])
    weights = {estimate.family: estimate.weight for estimate in fit.families}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["exponential"] == weights["power"] == 0
    assert min(weights["exponential_floor"], weights["power_floor"]) > 0.01
    value, covariance = evaluate(fit, [4, 12])
    parts = {name: evaluate(fit, [4, 12], name) for name in ("exponential_floor", "power_floor")}
    assert value == pytest.approx(sum(weights[name] * parts[name][0] for name in parts))
    (a, covariance_a), (b, covariance_b) = parts.values()
    w = weights["exponential_floor"]
    assert covariance == pytest.approx(
        w * covariance_a + (1 - w) * covariance_b + w * (1 - w) * np.outer(a - b, a - b)
    )


def test_a_fit_without_weights_is_read_by_its_chosen_family():
    fit = fit_curve(STEPS, np.exp(-0.2 * STEPS) + 0.3)
    values = fit.to_dict()
    for estimate in values["families"]:
        del estimate["weight"]
    assert evaluate(type(fit).from_dict(values), [5])[0] == pytest.approx(np.exp(-1) + 0.3)


def test_outside_the_measured_range_is_said_and_less_certain():
    rng = np.random.default_rng(3)
    y = (0.9 * np.exp(-0.15 * STEPS) + 0.1) * (1 + 0.03 * rng.standard_normal(6))
    inside, at_edge, outside = predict(fit_curve(STEPS, y), [16, 32, 64])
    assert [row.extrapolated for row in (inside, at_edge, outside)] == [False, False, True]
    assert outside.high - outside.low > at_edge.high - at_edge.low
    (before,) = predict(fit_curve(STEPS[2:], y[2:]), [1])
    assert before.extrapolated


def test_points_more_precise_than_any_family_is_true_are_followed_and_imprecise_ones_are_not():
    """A curve with a bend that no family has, measured to 1 % and to 40 %."""
    y = 0.5 * STEPS**-0.8 * np.array([1.0, 1.25, 0.8, 1.25, 0.8, 1.0])
    precise, rough = (fit_curve(STEPS, y, share * y) for share in (0.01, 0.4))
    assert precise.discrepancy == pytest.approx(0.2, abs=0.1) and rough.discrepancy == 0
    assert evaluate(precise, STEPS)[0] == pytest.approx(y, rel=0.01)
    assert np.abs(evaluate(rough, STEPS)[0] / y - 1).max() > 0.15
    at, between = (
        np.sqrt(evaluate(precise, [s])[1][0, 0]) / evaluate(precise, [s])[0][0] for s in (8, 11)
    )
    assert between > at  # it may bend again where nothing was measured
    (row,) = predict(precise, [11])
    assert row.low < 0.5 * 11**-0.8 < row.high


def test_points_in_any_order_are_the_same_curve():
    y = 0.5 * STEPS**-0.8 * np.array([1.0, 1.25, 0.8, 1.25, 0.8, 1.0])
    rising, falling = (fit_curve(s, v, 0.01 * v) for s, v in ((STEPS, y), (STEPS[::-1], y[::-1])))
    assert falling.discrepancy > 0
    at = [1, 3, 16, 32]
    assert evaluate(falling, at)[0] == pytest.approx(evaluate(rising, at)[0], rel=1e-6)


def test_users_with_the_same_steps_share_the_uncertainty_of_the_correction():
    """Discrepancies, noise and the bends between the points are drawn; the mean over users spreads
    as their covariance says, and not as that of independent users.
    """
    rng, delta, se = np.random.default_rng(6), 0.2, np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.3])
    counts, of_user = np.array([8, 11, 20]), [0, 0, 0, 1, 1, 1, 2, 2]

    def corrected(values):
        points = [CurvePoint(int(s), y, se=sd) for s, y, sd in zip(STEPS, values, se)]
        return correction(points, delta, counts[of_user], np.zeros(6), (np.ones(6), np.ones(8)))

    off = delta * rng.standard_normal((20_000, 6))
    measured = off + se * rng.standard_normal((20_000, 6))
    shift = measured @ np.stack([corrected(unit)[0] for unit in np.eye(6)])
    share = np.log2(counts / [8, 8, 16])  # of the way between two points
    bends = delta * np.sqrt(2 * share * (1 - share)) * rng.standard_normal((20_000, 3))
    true = off @ interpolation_weights(np.log(counts), np.log(STEPS)).T + bends
    spread = np.var((true[:, of_user] - shift).mean(axis=1))
    covariance = corrected(np.zeros(6))[1]
    assert covariance.mean() == pytest.approx(spread, rel=0.05)
    assert np.trace(covariance) / 8**2 < 0.6 * spread
