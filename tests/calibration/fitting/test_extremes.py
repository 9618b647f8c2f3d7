"""Fits of points at the edge of what numbers can hold: an honest answer or one line, never NaN."""

import json
import math
import warnings

import numpy as np
import pytest

from calibration.fitting.fit import fit_curve, fit_report
from calibration.fitting.interpolation import _scatter, interpolate
from calibration.fitting.points import MOST, checked_points, points_from_csv
from calibration.fitting.prediction import evaluate, predict
from solver.inputs import InputError, to_json, write_json
from testbed.cli import main

STEPS = [1, 2, 4, 8]


def flat(seed):
    """Nearly flat, noisy points, as CLIP scores of a model that ignores its prompts."""
    rng = np.random.default_rng(seed)
    return 0.3 + 0.05 * rng.normal(size=4) * rng.choice([0.01, 1, 3])


@pytest.fixture(scope="module")
def flat_fits():
    """Of 3 and of 4 such points, by kind; the hardest of 400 draws, and two others."""
    seeds = (162, 177, 217, 316, 341, 381, 399, 0, 1)
    drawn = [flat(seed)[: 3 + seed % 2] for seed in seeds]
    return {
        kind: [fit_curve(STEPS[: len(y)], y, [0.03] * len(y), kind) for y in drawn]
        for kind in ("utility", "error")
    }


@pytest.mark.parametrize("kind", ["utility", "error"])
def test_a_family_whose_parameters_cancel_each_other_gets_no_weight(flat_fits, kind):
    """A ceiling of 5,000 less a drop of 5,000: its covariance is rounding, at some points negative
    (before, in 8 of 400 draws).
    """
    at, left_out = np.arange(1.0, 17.0), 0
    for fit in flat_fits[kind]:
        _, covariance = evaluate(fit, at)
        assert np.diag(covariance).min() >= 0
        assert all(math.isfinite(point.low) for point in predict(fit, at))
        for member in fit.families:
            size = np.abs(member.covariance or [[0.0]]).max()
            assert size < 1e9 or member.weight == 0, member
        left_out += sum("apart" in estimate.reason for estimate in fit.left_out)
    assert left_out or kind == "error"


def test_no_family_without_support_has_a_weight(flat_fits):
    without = 0
    for fit in flat_fits["utility"]:
        for estimate in fit.left_out:
            if "not reached" not in estimate.reason:  # its curve predicts all the same
                weights = [m.weight for m in fit.families if m.family == estimate.family]
                assert sum(weights) == 0, estimate
                without += 1
    assert without


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-200, 1e200])
def test_weights_of_an_interpolation_do_not_underflow(scale):
    """1 / (1e-300)² is 1 / 0."""
    values = np.array([0.5, 0.4, 0.45, 0.2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(_scatter(values, np.full(4, scale), 1, False))
    with np.errstate(all="ignore"):
        sd = np.maximum(np.full(4, scale), 1e-300)
        candidate, _ = interpolate(checked_points(STEPS, values, np.minimum(sd, 1e100), "error"))
    assert np.isfinite(candidate.fit.parameters.values).all()


@pytest.mark.parametrize("values", [[0.0] * 4, [50.0] * 4, [1e-300, 1e-301, 1e-302, 1e-303]])
def test_constant_and_tiny_values_give_finite_predictions(values):
    for kind in ("error", "utility"):
        fit = fit_curve(STEPS, values, None, kind)
        predicted = predict(fit, [3, 50])
        assert all(math.isfinite(p.value) and math.isfinite(p.high) for p in predicted)
        to_json(fit.to_dict(), "fit")


@pytest.mark.parametrize("value", [1e300, -1e300, 1.1e100])
def test_values_whose_squares_overflow_are_refused(value, tmp_path, capsys):
    with pytest.raises(InputError, match="points: value: found .*finite number of at most 1e.100"):
        fit_curve(STEPS, [value, 1.0, 0.5, 0.2], None)
    path = tmp_path / "p.csv"
    path.write_text(f"steps,value\n1,{value}\n2,1\n4,0.5\n8,0.2\n")
    assert main(["fit", str(path), "--anyway"]) == 2
    assert "p.csv: line 2: value" in capsys.readouterr().err


def test_more_points_than_a_matrix_holds_are_refused(tmp_path):
    rows = [f"{1 + i % 50},1\n" for i in range(MOST + 1)]
    (tmp_path / "p.csv").write_text("steps,value\n" + "".join(rows[1:]))
    assert len(points_from_csv(tmp_path / "p.csv")) == MOST
    (tmp_path / "p.csv").write_text("steps,value\n" + "".join(rows))
    with pytest.raises(InputError, match=f"found {MOST + 1} points; allowed: at most {MOST}"):
        points_from_csv(tmp_path / "p.csv")


def test_large_values_fit_as_small_ones_do():
    small = fit_report(points(1.0), [6])
    large = fit_report(points(1e90), [6])
    assert large.chosen == small.chosen
    assert large.predictions[0].value == pytest.approx(1e90 * small.predictions[0].value, rel=1e-6)


def points(unit):
    from calibration.fitting.curve_fit import CurvePoint

    values = [0.9, 0.5, 0.3, 0.2, 0.15]
    return [CurvePoint(steps, unit * value) for steps, value in zip([1, 2, 4, 8, 16], values)]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_named_and_nothing_is_written(tmp_path, number):
    path = tmp_path / "v.json"
    write_json(path, {"a": 1})
    with pytest.raises(InputError, match=r"v.json: totals\[1\].half: found .*; allowed: a finite"):
        write_json(path, {"totals": [{"half": 1.0}, {"half": number}]})
    assert json.loads(path.read_text()) == {"a": 1}
