"""Curves and times: known answers come back, certified ones too, and intervals cover what they should."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from calibration.curves import FAMILIES, families
from calibration.fit import curve, fit_curve, fit_report, fit_time, points_from_csv, predict
from solver.inputs import InputError

STEPS = np.array([1, 2, 4, 8, 16, 32])
RANGES = {
    "scale": (0.2, 5), "decay": (0.05, 0.6), "floor": (0.02, 0.5), "exponent": (0.3, 2), "rate": (0.05, 0.6),
    "amplitude": (0.2, 2), "ceiling": (0.3, 1), "drop": (0.1, 1),
}


def entry(fit, name):
    return next(one for one in fit["families"] if one["family"] == name)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_exact_points_give_the_parameters_back(name, data):
    family = FAMILIES[name]
    p = np.array([data.draw(st.floats(*RANGES[parameter])) for parameter in family.parameters])
    fit = fit_curve(STEPS, family.function(STEPS.astype(float), p), kind=family.kind)
    assert list(entry(fit, name)["parameters"].values()) == pytest.approx(p.tolist(), rel=1e-4)
    # What is chosen may be a simpler family that p makes equal, but it is the same curve, also where nothing was measured.
    asked = [3, 6, 12, 24]
    found = [one["value"] for one in predict(fit, asked)]
    assert found == pytest.approx(family.function(np.array(asked, float), p).tolist(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_gradients_are_those_of_the_functions(name, data):
    family = FAMILIES[name]
    p = np.array([data.draw(st.floats(*RANGES[parameter])) for parameter in family.parameters])
    s = STEPS.astype(float)
    numeric = [(family.function(s, p + h) - family.function(s, p - h)) / 2e-6 for h in 1e-6 * np.eye(len(p))]
    assert np.allclose(family.gradient(s, p), np.transpose(numeric), atol=1e-6)


@pytest.mark.parametrize(
    "x, y, certified",
    [  # NIST StRD nonlinear regression, y = b1 (1 - exp(-b2 x)): values and standard errors of b1, b2
        # BoxBOD
        ([1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224], [2.1380940889e2, 1.2354515176e1, 5.4723748542e-1, 1.0455993237e-1]),
        # Misra1a, x times 10
        ([776, 1149, 1411, 1908, 2399, 2890, 3328, 3784, 4348, 4773, 5368, 5931, 6891, 7600],
         [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
         [2.3894212918e2, 2.7070075241, 5.5015643181e-5, 7.2668688436e-7]),
    ],
    ids=["BoxBOD", "Misra1a"],
)
def test_certified_values_and_standard_errors(x, y, certified):
    found = entry(fit_curve(x, y, kind="utility"), "saturating_amplitude")
    values, errors = list(found["parameters"].values()), np.sqrt(np.diag(found["covariance"]))
    assert [values[0], errors[0], values[1], errors[1]] == pytest.approx(certified, rel=1e-6)


def test_intervals_cover_the_truth_and_new_points_as_often_as_they_say():
    rng, truth, sd = np.random.default_rng(1), np.array([0.8, 0.3]), 0.02
    family = FAMILIES["saturating_amplitude"]
    inside, new, widths = [], [], []
    for _ in range(60):
        y = family.function(STEPS.astype(float), truth) + sd * rng.standard_normal(len(STEPS))
        fit = fit_curve(STEPS, y, sd=[sd] * len(STEPS), kind="utility")
        for value, (low, high) in zip(truth, entry(fit, family.name)["intervals"].values(), strict=True):
            inside.append(low <= value <= high)
            widths.append((high - low) / value)
        answer = predict(fit, [6])[0]
        new.append(answer["low"] <= family.function(np.array([6.0]), truth)[0] + sd * rng.standard_normal() <= answer["high"])
    assert 0.88 <= np.mean(inside) and np.median(widths) < 0.7
    assert 0.88 <= np.mean(new)


def test_points_that_err_together_leave_the_curve_as_uncertain_as_they_are():
    sd = np.full(6, 0.05)
    y = FAMILIES["saturating_amplitude"].function(STEPS.astype(float), [0.8, 0.3])
    alone = fit_curve(STEPS, y, sd, "utility")
    together = fit_curve(STEPS, y, sd, "utility", covariance=np.full((6, 6), 0.05**2))
    last = [np.sqrt(curve(fit, [32], "saturating_offset")[1][0, 0]) for fit in (alone, together)]
    assert last[1] == pytest.approx(0.05, rel=1e-3) and last[0] < 0.04


FID = {  # FID against steps of published samplers on CIFAR-10 (zju-pi/diff-sampler), steps 3 to 10
    "euler": [93.36, 66.76, 49.66, 35.62, 27.93, 22.32, 18.43, 15.69],
    "dpmpp3m": [110.03, 46.52, 24.97, 11.99, 6.74, 4.54, 3.42, 3.00],
    "unipc3": [109.61, 45.20, 23.98, 11.14, 5.83, 3.99, 3.21, 2.89],
    "deis": [56.01, 25.66, 14.39, 9.40, 6.94, 5.55, 4.68, 4.09],
    "ipndm4": [47.98, 24.82, 13.59, 7.05, 5.08, 3.69, 3.17, 2.77],
}


@pytest.mark.parametrize("known, asked, bar", [([3, 5, 7, 9], [4, 6, 8, 10], 0.043), ([3, 4, 5, 6, 7], [8, 9, 10], 0.054)])
def test_published_curves_are_predicted_better_than_by_any_one_family(known, asked, bar):
    errors, inside = [], []
    for values in FID.values():
        at = dict(zip(range(3, 11), values, strict=True))
        report = fit_report([{"steps": s, "value": at[s], "sd": None} for s in known], predict=asked)
        for one in report["predictions"]:
            errors.append(abs(one["value"] - at[one["steps"]]) / at[one["steps"]])
            inside.append(one["low"] <= at[one["steps"]] <= one["high"])
    assert np.median(errors) < bar and np.mean(inside) >= 0.9


def test_the_simplest_of_equal_curves_is_chosen_and_the_papers_is_kept():
    exact = np.exp(-0.2 * STEPS)
    assert fit_curve(STEPS, exact)["chosen"] == "exponential"
    floored = fit_curve(STEPS, exact + 0.3)
    assert floored["chosen"] == "exponential_floor"
    assert entry(floored, floored["paper"])["r2"] < 0.8 < entry(floored, floored["chosen"])["r2"]
    assert [one["family"] for one in floored["families"]] == [family.name for family in families("error")]


def test_few_points_leave_families_out_with_a_reason():
    fit = fit_curve([1, 2, 4], [1.0, 0.6, 0.4])
    assert {one["family"] for one in fit["left_out"]} == {"exponential_floor", "power_floor"}
    assert all("at least 4" in one["reason"] for one in fit["left_out"])
    assert all(one["aicc"] is None for one in fit["families"])
    done = fit_curve(STEPS, [0.1, 0.5, 0.5, 0.5, 0.5, 0.5], kind="utility")  # saturated within the grid's first interval
    assert [one["value"] for one in predict(done, [1, 12])] == pytest.approx([0.1, 0.5], abs=0.01)


def test_a_curve_that_no_family_can_follow_is_interpolated():
    steps = list(range(1, 13))
    values = [abs(s - 6) + 1.0 for s in steps]
    fit = fit_curve(steps, values)
    assert fit["chosen"] == "table"
    inner, outer = predict(fit, [3, 20])
    assert inner["value"] == 4.0 and inner["low"] < 4.0 < inner["high"] and not inner["extrapolated"]
    assert outer["value"] == 7.0 and outer["extrapolated"]
    assert fit_curve(STEPS, np.exp(-0.2 * STEPS) * [1.02, 0.97, 1.01, 1.03, 0.98, 1.0])["chosen"] != "table"


def test_outside_the_measured_range_is_said_and_less_certain():
    rng = np.random.default_rng(3)
    y = (0.9 * np.exp(-0.15 * STEPS) + 0.1) * (1 + 0.03 * rng.standard_normal(6))
    inside, at_edge, outside = predict(fit_curve(STEPS, y), [16, 32, 64])
    assert [one["extrapolated"] for one in (inside, at_edge, outside)] == [False, False, True]
    assert outside["high"] - outside["low"] > at_edge["high"] - at_edge["low"]
    before = predict(fit_curve(STEPS[2:], y[2:]), [1])[0]
    assert before["extrapolated"]


def test_standard_deviations_are_weights():
    y = np.exp(-0.2 * STEPS)
    y[3] *= 3
    trusted, doubted = (fit_curve(STEPS, y, np.where(np.arange(6) == 3, factor, 1) * 0.01) for factor in (1, 1000))
    assert entry(doubted, "exponential")["parameters"]["decay"] == pytest.approx(0.2, rel=1e-3)
    assert entry(trusted, "exponential")["parameters"]["decay"] != pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    "steps, values, sd, message",
    [([1, 2], [1, 2], None, "found 2 different step counts; allowed: at least 3"), ([1, 1, 1], [1, 2, 3], None, "found 1 different"),
     ([1, 2, 0], [1, 2, 3], None, "steps: found 0"), ([1, 2, 2.5], [1, 2, 3], None, "steps: found 2.5"),
     ([1, 2, 3], [1, 2, float("nan")], None, "value: found nan"), ([1, 2, 3], [1, 2, 3], [1, 1, 0], "sd: found 0"),
     ([1, 2, 3], [1, 2], None, "found 3 steps and 2 values")],
)
def test_wrong_points_are_refused(steps, values, sd, message):
    with pytest.raises(InputError, match=message):
        fit_curve(steps, values, sd)


def test_a_report_knows_falling_from_rising_and_checks_what_is_asked():
    points = [{"steps": s, "value": v, "sd": 0.5} for s, v in zip([1, 2, 4, 8], [60.0, 75, 84, 86], strict=True)]
    assert fit_report(points)["kind"] == "utility"
    assert fit_report([{**point, "value": -point["value"]} for point in points])["kind"] == "error"
    assert fit_report(points, predict=[6])["predictions"][0]["steps"] == 6
    with pytest.raises(InputError, match="predict: found 0"):
        fit_report(points, predict=[0])


def test_csv(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("\ufeffsteps, value ,sd\n1,0.9,0.1\n\n2, 0.5,0.1\n4,0.25,0.05\n", encoding="utf-8")
    assert points_from_csv(path) == [
        {"steps": 1, "value": 0.9, "sd": 0.1}, {"steps": 2, "value": 0.5, "sd": 0.1}, {"steps": 4, "value": 0.25, "sd": 0.05},
    ]


@pytest.mark.parametrize(
    "text, message",
    [("", "line 1: column 'steps' is missing"), ("steps,valeu\n1,2\n", "line 1: 'valeu' is unknown; perhaps you meant 'value'"),
     ("steps\n1\n", "line 1: column 'value' is missing"),
     ("steps,value\n1,x\n2,1\n3,1\n", "line 2: value: found 'x'; allowed: a finite number"),
     ("steps,value\n1,2\n\n1.5,2\n", "line 4: steps: found '1.5'; allowed: a whole number"),
     ("steps,value\n1,2\n2\n", "line 3: found 1 fields"),
     ("steps,value,sd\n1,2,0\n", "line 2: sd: found '0'; allowed: a positive number"),
     ("steps,value\n1,inf\n", "line 2: value: found 'inf'"),
     ("steps,value\n1,2\n1,3\n2,2\n", "found 2 different step counts; allowed: at least 3"), ("steps,value,value\n", "column twice")],
)
def test_wrong_csv_files_are_refused_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        points_from_csv(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


def test_a_missing_csv_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.csv: no such file"):
        points_from_csv(tmp_path / "nothing.csv")


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 10), st.floats(1e-4, 10))
def test_exact_times_give_overhead_and_step_time_back(overhead, step_time):
    steps = np.repeat([1, 2, 4, 8], 3)
    fit = fit_time(steps, overhead + step_time * steps)
    assert fit["overhead"] == pytest.approx(overhead, rel=1e-6, abs=1e-6 * step_time)
    assert fit["step_time"] == pytest.approx(step_time, rel=1e-6)
    assert fit["r2"] == pytest.approx(1.0) and fit["n"] == 12
    assert fit["relative_sd"] == pytest.approx(0, abs=1e-6)


def test_times_disturbed_now_and_then_do_not_move_the_line():
    rng, steps = np.random.default_rng(4), np.repeat([1, 2, 4, 8, 16, 32], 10)
    clean = (0.5 + 0.1 * steps) * np.exp(0.01 * rng.standard_normal(60))
    disturbed = np.where(rng.random(60) < 0.2, 5, 1) * clean
    fit = fit_time(steps, disturbed)
    assert fit["step_time"] == pytest.approx(0.1, rel=0.03) and fit["overhead"] == pytest.approx(0.5, rel=0.05)
    assert np.polyfit(steps, disturbed, 1)[0] > 0.12  # where least squares would have gone


def test_time_covariance_is_the_scatter_of_repeated_fits():
    rng, steps = np.random.default_rng(5), np.repeat([1, 4, 8, 16, 32], 8)
    fits = [fit_time(steps, (0.5 + 0.1 * steps) * np.exp(0.05 * rng.standard_normal(40))) for _ in range(200)]
    scatter = np.cov([[fit["overhead"], fit["step_time"]] for fit in fits], rowvar=False)
    said = np.mean([fit["covariance"] for fit in fits], axis=0)
    assert np.sqrt(np.diag(said)) == pytest.approx(np.sqrt(np.diag(scatter)), rel=0.25)
    assert said[0, 1] < 0 > scatter[0, 1]
    assert np.median([fit["relative_sd"] for fit in fits]) == pytest.approx(0.05, rel=0.2)


def test_the_papers_time_has_no_intercept_and_fits_worse():
    steps = np.array([1, 2, 4, 8])
    fit = fit_time(steps, 1 + 0.1 * steps)
    assert fit["paper"]["r2"] < 0.5 < fit["r2"]
    assert fit["points"][0] == {"steps": 1, "median": pytest.approx(1.1), "n": 1}
    sinking = fit_time([1, 2, 4, 8], [0.09, 0.19, 0.4, 0.82])
    assert sinking["overhead"] == 0.0 and sinking["covariance"][0] == [0.0, 0.0]


@pytest.mark.parametrize("steps, seconds, message", [([4, 4], [1, 1], "at least 2 different"), ([1, 2], [1, 0], "not a positive number")])
def test_wrong_times_are_refused(steps, seconds, message):
    with pytest.raises(InputError, match=message):
        fit_time(steps, seconds)
