"""Which family is chosen, what points are refused, and the report of a fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.curve_fit import CurveFit, CurvePoint, CurveReport
from calibration.fitting.families import families
from calibration.fitting.fit import fit_curve, fit_report
from calibration.fitting.prediction import predict
from solver.inputs import InputError
from tests.calibration.fitting.curves import STEPS, member


def test_the_simplest_of_equal_curves_is_chosen_and_the_papers_is_kept():
    exact = np.exp(-0.2 * STEPS)
    assert fit_curve(STEPS, exact).chosen == "exponential"
    floored = fit_curve(STEPS, exact + 0.3)
    assert floored.chosen == "exponential_floor"
    assert member(floored, floored.paper).r2 < 0.8 < member(floored, floored.chosen).r2
    assert [estimate.family for estimate in floored.families] == [
        family.name for family in families("error")
    ]


def test_few_points_leave_families_out_with_a_reason():
    fit = fit_curve([1, 2, 4], [1.0, 0.6, 0.4])
    assert {estimate.family for estimate in fit.left_out} == {"exponential_floor", "power_floor"}
    assert all(
        "floor" in estimate.parameters and "3 step counts for 3 parameters" in estimate.reason
        for estimate in fit.left_out
    )
    assert all(estimate.aicc is None for estimate in fit.families)
    # saturated within the grid's first interval
    saturated = fit_curve(STEPS, [0.1, 0.5, 0.5, 0.5, 0.5, 0.5], kind="utility")
    values = [prediction.value for prediction in predict(saturated, [1, 12])]
    assert values == pytest.approx([0.1, 0.5], abs=0.01)


def test_standard_deviations_are_weights():
    y = np.exp(-0.2 * STEPS)
    y[3] *= 3
    trusted, uncertain = (
        fit_curve(STEPS, y, np.where(np.arange(6) == 3, factor, 1) * 0.01) for factor in (1, 1000)
    )
    assert member(uncertain, "exponential").parameters["decay"] == pytest.approx(0.2, rel=1e-3)
    assert member(trusted, "exponential").parameters["decay"] != pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(
    "steps, values, sd, message",
    [
        ([1, 2], [1, 2], None, "found 2 different step counts; allowed: at least 3"),
        ([1, 1, 1], [1, 2, 3], None, "found 1 different"),
        ([1, 2, 0], [1, 2, 3], None, "steps: found 0"),
        ([1, 2, 2.5], [1, 2, 3], None, "steps: found 2.5"),
        ([1, 2, 3], [1, 2, float("nan")], None, "value: found nan"),
        ([1, 2, 3], [1, 2, 3], [1, 1, 0], "sd: found 0"),
        ([1, 2, 3], [1, 2], None, "found 3 steps and 2 values"),
    ],
)
def test_wrong_points_are_refused(steps, values, sd, message):
    with pytest.raises(InputError, match=message):
        fit_curve(steps, values, sd)


def test_a_report_knows_falling_from_rising_and_checks_what_is_asked():
    points = [CurvePoint(s, v, se=0.5) for s, v in zip([1, 2, 4, 8], [60.0, 75, 84, 86])]
    assert fit_report(points).kind == "utility"
    falling = [replace(point, value=100 - point.value) for point in points]
    assert fit_report(falling).kind == "error"
    assert fit_report(points, predict=[6]).predictions[0].steps == 6
    with pytest.raises(InputError, match="predict: found 0"):
        fit_report(points, predict=[0])


@pytest.mark.parametrize("values", [[1.0, 0.6, 0.5, 0.45], [1.0, 0.2, 0.9, 0.1]])
def test_a_report_survives_json(values):
    """A table too: the second curve is not monotone."""
    points = [CurvePoint(s, v, se=0.01) for s, v in zip([1, 2, 4, 8], values, strict=True)]
    report = fit_report(points, [3], "error", force=True)
    again = CurveReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report and again.to_dict()["schema"] == "fit/1"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("chosen",), "spline", "fit: chosen: found 'spline'; allowed: exponential, "),
        (("families", 0, "family"), "spline", "'spline' is unknown"),
        (("families", 0, "parameters"), {"scale": 1.0}, "parameters: found scale; allowed: scale,"),
        (("families", 0, "covariance"), [[1.0]], "allowed: 2 lists of 2 numbers"),
        (("families", 0, "covariance"), None, "found None; allowed: 2 lists of 2 numbers"),
        (("points", 1, "se"), -1.0, "se: found -1.0; allowed: "),
        (("misfit",), "none", "misfit: found 'none'"),
    ],
)
def test_a_damaged_fit_is_named(path, value, message):
    values = fit_curve(STEPS, np.exp(-0.2 * STEPS) + 0.3).to_dict()
    part = values
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(InputError) as error:
        CurveFit.from_dict(values, "fit")
    assert str(error.value).startswith("fit: ") and message in str(error.value)
