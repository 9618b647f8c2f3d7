"""Curves and times: known answers come back, certified ones too, and intervals cover what they
should.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from benchmarks.curve_fit import certified, published, solved
from calibration.fitting.families import FAMILIES, families
from calibration.fitting.fit import (
    curve,
    fit_curve,
    fit_report,
    fit_time,
    points_from_csv,
    predict,
    t_quantile,
)
from calibration.fitting.interpolation import isotonic
from solver.inputs import InputError
from testbed.cli import main

STEPS = np.array([1, 2, 4, 8, 16, 32])
RANGES = {
    "scale": (0.2, 5),
    "decay": (0.05, 0.6),
    "floor": (0.02, 0.5),
    "exponent": (0.3, 2),
    "rate": (0.05, 0.6),
    "amplitude": (0.2, 2),
    "ceiling": (0.3, 1),
    "drop": (0.1, 1),
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
    # What is chosen may be a simpler family that p makes equal, but it is the same curve, also
    # where nothing was measured.
    asked = [3, 6, 12, 24]
    found = [one["value"] for one in predict(fit, asked)]
    assert found == pytest.approx(
        family.function(np.array(asked, float), p).tolist(), rel=1e-3, abs=1e-6
    )


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_gradients_are_those_of_the_functions(name, data):
    family = FAMILIES[name]
    p = np.array([data.draw(st.floats(*RANGES[parameter])) for parameter in family.parameters])
    s = STEPS.astype(float)
    numeric = [
        (family.function(s, p + h) - family.function(s, p - h)) / 2e-6
        for h in 1e-6 * np.eye(len(p))
    ]
    assert np.allclose(family.gradient(s, p), np.transpose(numeric), atol=1e-6)


@pytest.mark.parametrize("name, scale", [("BoxBOD", 1), ("Misra1a", 10)])
def test_certified_values_and_standard_errors_of_a_family(name, scale):
    x, y, _, values, errors = certified(
        name
    )  # NIST StRD, y = b1 (1 - exp(-b2 x)); steps are whole numbers
    found = entry(
        fit_curve((x * scale).round().astype(int).tolist(), y, kind="utility"),
        "saturating_amplitude",
    )
    assert list(found["parameters"].values()) == pytest.approx(values / [1, scale], rel=1e-6)
    assert np.sqrt(np.diag(found["covariance"])) == pytest.approx(errors / [1, scale], rel=1e-6)


@pytest.mark.parametrize("name", ["MGH17", "Rat43", "Thurber", "Roszman1"])
def test_certified_problems_of_other_models(name):
    assert min(solved(name, start=1)) >= 6


@pytest.mark.parametrize(
    "name, known",
    [("exponential_floor", True), ("power_ceiling", False), ("saturating_amplitude", True)],
)
def test_intervals_end_where_the_profile_of_the_misfit_does(name, known):
    rng, family = np.random.default_rng(2), FAMILIES[name]
    truth = [np.mean(RANGES[parameter]) for parameter in family.parameters]
    s, sd = STEPS.astype(float), np.full(6, 0.03)
    y = family.function(s, truth) + sd * rng.standard_normal(6)
    weights = sd if known or family.kind == "utility" else y
    found = entry(fit_curve(STEPS, y, sd if known else None, family.kind, anyway=True), name)
    p = np.array(list(found["parameters"].values()))

    def misfit(p):
        return np.sum(((y - family.function(s, p)) / (weights if known else 1.0)) ** 2)

    tight = {"xatol": 1e-9, "fatol": 1e-12}
    half = t_quantile(None if known else 6 - len(p)) ** 2 * found["noise"] ** 2
    for index, parameter in enumerate(family.parameters):
        for end in found["intervals"][parameter]:
            others = [i for i in range(len(p)) if i != index]
            least = minimize(
                lambda q, at=(index, end): misfit(np.insert(q, *at)),
                p[others],
                method="Nelder-Mead",
                options=tight,
            )
            if end > 0:  # else it is cut off at the bound
                assert least.fun == pytest.approx(misfit(p) + half, rel=0.02), parameter


def test_intervals_cover_the_truth_and_new_points_as_often_as_they_say():
    rng, truth, sd = np.random.default_rng(1), np.array([0.8, 0.3]), 0.02
    family = FAMILIES["saturating_amplitude"]
    inside, new, widths = [], [], []
    for _ in range(60):
        y = family.function(STEPS.astype(float), truth) + sd * rng.standard_normal(len(STEPS))
        fit = fit_curve(STEPS, y, sd=[sd] * len(STEPS), kind="utility")
        for value, (low, high) in zip(
            truth, entry(fit, family.name)["intervals"].values(), strict=True
        ):
            inside.append(low <= value <= high)
            widths.append((high - low) / value)
        answer = predict(fit, [6])[0]
        new.append(
            answer["low"]
            <= family.function(np.array([6.0]), truth)[0] + sd * rng.standard_normal()
            <= answer["high"]
        )
    assert 0.88 <= np.mean(inside) and np.median(widths) < 0.7
    assert 0.88 <= np.mean(new)


def test_points_that_err_together_leave_the_curve_as_uncertain_as_they_are():
    sd = np.full(6, 0.05)
    y = FAMILIES["saturating_amplitude"].function(STEPS.astype(float), [0.8, 0.3])
    alone = fit_curve(STEPS, y, sd, "utility")
    together = fit_curve(STEPS, y, sd, "utility", covariance=np.full((6, 6), 0.05**2))
    last = [np.sqrt(curve(fit, [32], "saturating_offset")[1][0, 0]) for fit in (alone, together)]
    assert last[1] == pytest.approx(0.05, rel=1e-3) and last[0] < 0.04


@pytest.mark.parametrize(
    "file, bars", [("fid_vs_steps.json", (3.5, 5.0)), ("fid_vs_steps_more.json", (3.5, 7.0))]
)
def test_published_curves_are_predicted_better_than_by_any_one_family(file, bars):
    errors, inside = published(file)
    for (split, found), bar in zip(errors.items(), bars, strict=True):
        assert (
            100 * np.median(np.abs(np.concatenate(list(found.values())))) < bar
            and inside[split] >= 0.85
        ), split


def test_the_average_is_of_families_that_no_other_contains_and_its_covariance_holds_their_disagreement():
    fit = fit_curve([3, 4, 5, 6, 7], [93.36, 66.76, 49.66, 35.62, 27.93])
    weights = {one["family"]: one["weight"] for one in fit["families"]}
    assert (
        sum(weights.values()) == pytest.approx(1)
        and weights["exponential"] == weights["power"] == 0
    )
    assert min(weights["exponential_floor"], weights["power_floor"]) > 0.01
    value, covariance = curve(fit, [4, 12])
    parts = {name: curve(fit, [4, 12], name) for name in ("exponential_floor", "power_floor")}
    assert value == pytest.approx(sum(weights[name] * parts[name][0] for name in parts))
    (a, one), (b, other) = parts.values()
    w = weights["exponential_floor"]
    assert covariance == pytest.approx(
        w * one + (1 - w) * other + w * (1 - w) * np.outer(a - b, a - b)
    )


def test_a_fit_without_weights_is_read_by_its_chosen_family():
    fit = fit_curve(STEPS, np.exp(-0.2 * STEPS) + 0.3)
    for one in fit["families"]:
        del one["weight"]
    assert curve(fit, [5])[0] == pytest.approx(np.exp(-1) + 0.3)


def test_bootstrap_intervals_are_those_of_the_points_covariance():
    rng, family, truth = np.random.default_rng(6), FAMILIES["exponential_floor"], [1.0, 0.25, 0.15]
    prompts = family.function(STEPS.astype(float), truth) * (
        1 + 0.2 * rng.standard_normal((60, 1)) + 0.1 * rng.standard_normal((60, 6))
    )
    y, covariance = prompts.mean(axis=0), np.cov(prompts.T) / 60
    replicates = prompts[rng.integers(0, 60, (400, 60))].mean(axis=1)
    found = entry(
        fit_curve(STEPS, y, np.sqrt(np.diag(covariance)), "error", covariance, 59, replicates),
        "exponential_floor",
    )
    for name, (low, high) in found["bootstrap_intervals"].items():
        profile = found["intervals"][name]
        assert high - low == pytest.approx(profile[1] - profile[0], rel=0.25), name


@pytest.mark.parametrize(
    "steps, values, sd, message",
    [
        (
            [1, 2, 4, 8, 16],
            [0.5, 0.52, 0.49, 0.5, 0.51],
            None,
            r"exponential: decay .*, 2 s.e. interval \[1e-05, .*flat line",
        ),
        (
            [1, 2, 4, 8, 16],
            [0.5, 0.52, 0.49, 0.5, 0.51],
            0.02,
            "flat line.*to take it anyway: --anyway",
        ),
        (
            [1, 2, 3, 4, 5],
            [1.2, 1.105, 1.05, 0.975, 0.93],
            None,
            r"floor 0\.\d+, 2 s.e. interval \[0, 0\.\d+\]: not reached by the last value, 0.93",
        ),
        ([1, 2, 3], [1.0, 0.7, 0.6], None, None),
    ],
)
def test_estimates_that_the_points_cannot_carry_are_refused_with_their_number(
    steps, values, sd, message
):
    points = [{"steps": s, "value": v, "sd": sd} for s, v in zip(steps, values, strict=True)]
    if message:
        with pytest.raises(InputError, match=message):
            fit_report(points, [6], "error")
    taken = fit_report(points, [6], "error", anyway=True)
    assert "taken anyway" in taken["notes"][-1] and "exponential_floor" in [
        one["family"] for one in taken["families"]
    ]
    assert np.isfinite([taken["predictions"][0][name] for name in ("value", "low", "high")]).all()
    carried = fit_curve(steps, values, [sd] * len(steps) if sd else None)  # in the chain
    assert all(
        one["reason"] and np.isfinite(list(one["parameters"].values())).all()
        for one in carried["left_out"]
    )
    assert "refused" not in entry(carried, carried["chosen"]) and json.dumps(
        carried, allow_nan=False
    )


def test_testbed_fit_refuses_in_one_line_and_takes_it_anyway(tmp_path, capsys):
    path = tmp_path / "flat.csv"
    path.write_text("steps,value\n1,0.5\n2,0.52\n4,0.49\n8,0.5\n16,0.51\n")
    assert main(["fit", str(path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"testbed: {path}: ") and line.count("\n") == 1 and "--anyway" in line
    assert main(["fit", str(path), "--anyway", "--predict", "6"]) == 0
    assert "taken anyway" in json.loads(capsys.readouterr().out)["notes"][0]


@pytest.mark.parametrize("kind", ["error", "utility"])
def test_curves_that_turn_are_recognised_and_carried_as_they_are(kind):
    values = np.array([1.5, 0.8, 0.5, 0.55, 0.62, 0.75])
    values = values if kind == "error" else 1.6 - values
    for sd in (None, [0.03] * 6):
        fit = fit_curve(STEPS, values, sd, kind)
        assert (
            fit["chosen"] == "table" and not fit["monotone"] and "not monotone" in fit["notes"][0]
        )
        assert curve(fit, STEPS)[0] == pytest.approx(values)
        assert entry(fit, fit["paper"])["weight"] == 0
        last, beyond = predict(fit, [32, 64])
        assert (
            beyond["extrapolated"] and beyond["high"] - beyond["low"] > last["high"] - last["low"]
        )
    doubted = fit_curve(STEPS, values, [0.2] * 6, kind)
    assert doubted["monotone"] and doubted["chosen"] != "table"
    # The same prompts at every step count: their common error does not hide the turn.
    common = fit_curve(
        STEPS, values, [0.2] * 6, kind, covariance=np.full((6, 6), 0.2**2) + 0.02**2 * np.eye(6)
    )
    assert not common["monotone"]


def test_noise_is_not_taken_for_a_turn():
    rng = np.random.default_rng(7)
    flags = [
        fit_curve(
            STEPS, (0.5 * np.exp(-0.5 * STEPS) + 0.5) * (1 + 0.05 * rng.standard_normal(6)), sd
        )["monotone"]
        for sd in [None] * 60 + [[0.025] * 6] * 60
    ]
    assert np.mean(flags) >= 0.95


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.booleans())
def test_isotonic_values_are_the_nearest_monotone_ones(values, rising):
    found = isotonic(np.array(values), np.ones(len(values)), rising)
    assert (np.diff(found) >= -1e-12).all() if rising else (np.diff(found) <= 1e-12).all()
    assert found.mean() == pytest.approx(np.mean(values), abs=1e-9)
    # the projection on a cone: the rest is orthogonal to what was found
    assert (np.array(values) - found) @ found == pytest.approx(0, abs=1e-9)


def test_the_simplest_of_equal_curves_is_chosen_and_the_papers_is_kept():
    exact = np.exp(-0.2 * STEPS)
    assert fit_curve(STEPS, exact)["chosen"] == "exponential"
    floored = fit_curve(STEPS, exact + 0.3)
    assert floored["chosen"] == "exponential_floor"
    assert entry(floored, floored["paper"])["r2"] < 0.8 < entry(floored, floored["chosen"])["r2"]
    assert [one["family"] for one in floored["families"]] == [
        family.name for family in families("error")
    ]


def test_few_points_leave_families_out_with_a_reason():
    fit = fit_curve([1, 2, 4], [1.0, 0.6, 0.4])
    assert {one["family"] for one in fit["left_out"]} == {"exponential_floor", "power_floor"}
    assert all(
        "floor" in one["parameters"] and "3 step counts for 3 parameters" in one["reason"]
        for one in fit["left_out"]
    )
    assert all(one["aicc"] is None for one in fit["families"])
    done = fit_curve(
        STEPS, [0.1, 0.5, 0.5, 0.5, 0.5, 0.5], kind="utility"
    )  # saturated within the grid's first interval
    assert [one["value"] for one in predict(done, [1, 12])] == pytest.approx([0.1, 0.5], abs=0.01)


def test_a_curve_that_no_family_can_follow_is_interpolated():
    steps = list(range(1, 13))
    values = [abs(s - 6) + 1.0 for s in steps]
    fit = fit_curve(steps, values)
    assert fit["chosen"] == "table"
    inner, outer = predict(fit, [3, 20])
    assert (
        inner["value"] == 4.0 and inner["low"] < 4.0 < inner["high"] and not inner["extrapolated"]
    )
    assert outer["value"] == 7.0 and outer["extrapolated"]
    assert (
        fit_curve(STEPS, np.exp(-0.2 * STEPS) * [1.02, 0.97, 1.01, 1.03, 0.98, 1.0])["chosen"]
        != "table"
    )


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
    trusted, doubted = (
        fit_curve(STEPS, y, np.where(np.arange(6) == 3, factor, 1) * 0.01) for factor in (1, 1000)
    )
    assert entry(doubted, "exponential")["parameters"]["decay"] == pytest.approx(0.2, rel=1e-3)
    assert entry(trusted, "exponential")["parameters"]["decay"] != pytest.approx(0.2, rel=0.02)


def test_points_more_precise_than_any_family_is_true_are_followed_and_imprecise_ones_are_not():
    """A curve with a bend that no family has, measured to 1 % and to 40 %."""
    y = 0.5 * STEPS**-0.8 * np.array([1.0, 1.25, 0.8, 1.25, 0.8, 1.0])
    precise, rough = (fit_curve(STEPS, y, share * y) for share in (0.01, 0.4))
    assert precise["misfit"] == pytest.approx(0.2, abs=0.1) and rough["misfit"] == 0
    assert curve(precise, STEPS)[0] == pytest.approx(y, rel=0.01)
    assert np.abs(curve(rough, STEPS)[0] / y - 1).max() > 0.15
    at, between = (
        np.sqrt(curve(precise, [s])[1][0, 0]) / curve(precise, [s])[0][0] for s in (8, 11)
    )
    assert between > at  # it may bend again where nothing was measured
    row = predict(precise, [11])[0]
    assert row["low"] < 0.5 * 11**-0.8 < row["high"]


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
    points = [
        {"steps": s, "value": v, "sd": 0.5}
        for s, v in zip([1, 2, 4, 8], [60.0, 75, 84, 86], strict=True)
    ]
    assert fit_report(points)["kind"] == "utility"
    assert (
        fit_report([{**point, "value": 100 - point["value"]} for point in points])["kind"]
        == "error"
    )
    assert fit_report(points, predict=[6])["predictions"][0]["steps"] == 6
    with pytest.raises(InputError, match="predict: found 0"):
        fit_report(points, predict=[0])


def test_csv(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "\ufeffsteps, value ,sd\n1,0.9,0.1\n\n2, 0.5,0.1\n4,0.25,0.05\n", encoding="utf-8"
    )
    assert points_from_csv(path) == [
        {"steps": 1, "value": 0.9, "sd": 0.1},
        {"steps": 2, "value": 0.5, "sd": 0.1},
        {"steps": 4, "value": 0.25, "sd": 0.05},
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: column 'steps' is missing"),
        ("steps,valeu\n1,2\n", "line 1: 'valeu' is unknown; perhaps you meant 'value'"),
        ("steps\n1\n", "line 1: column 'value' is missing"),
        ("steps,value\n1,x\n2,1\n3,1\n", "line 2: value: found 'x'; allowed: a finite number"),
        ("steps,value\n1,2\n\n1.5,2\n", "line 4: steps: found '1.5'; allowed: a whole number"),
        ("steps,value\n1,2\n2\n", "line 3: found 1 fields"),
        ("steps,value,sd\n1,2,0\n", "line 2: sd: found '0'; allowed: a positive number"),
        ("steps,value\n1,inf\n", "line 2: value: found 'inf'"),
        ("steps,value\n1,2\n1,3\n2,2\n", "found 2 different step counts; allowed: at least 3"),
        ("steps,value,value\n", "column twice"),
    ],
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
    assert fit["step_time"] == pytest.approx(0.1, rel=0.03) and fit["overhead"] == pytest.approx(
        0.5, rel=0.05
    )
    assert np.polyfit(steps, disturbed, 1)[0] > 0.12  # where least squares would have gone


def test_time_covariance_is_the_scatter_of_repeated_fits():
    rng, steps = np.random.default_rng(5), np.repeat([1, 4, 8, 16, 32], 8)
    fits = [
        fit_time(steps, (0.5 + 0.1 * steps) * np.exp(0.05 * rng.standard_normal(40)))
        for _ in range(200)
    ]
    scatter = np.cov([[fit["overhead"], fit["step_time"]] for fit in fits], rowvar=False)
    said = np.mean([fit["covariance"] for fit in fits], axis=0)
    assert np.sqrt(np.diag(said)) == pytest.approx(np.sqrt(np.diag(scatter)), rel=0.25)
    assert said[0, 1] < 0 > scatter[0, 1]
    assert np.median([fit["relative_sd"] for fit in fits]) == pytest.approx(0.05, rel=0.2)


def test_time_that_is_not_affine_is_said_and_noise_is_not():
    """A straight line is rejected about as rarely as promised; a step that grows dearer with their
    number nearly always.
    """
    rng, steps = np.random.default_rng(6), np.repeat([1, 2, 4, 8, 16, 32], 12)

    def rejected(bend):
        times = (0.05 + 0.02 * steps * (1 + bend * steps)) * np.exp(
            0.03 * rng.standard_normal((300, len(steps)))
        )
        return np.mean([not fit_time(steps, one)["lack_of_fit"]["affine"] for one in times])

    assert rejected(0.0) < 0.05 and rejected(0.01) > 0.95
    bent = fit_time(
        steps, 0.02 * steps * (1 + 0.05 * steps) * np.exp(0.001 * rng.standard_normal(len(steps)))
    )["lack_of_fit"]
    assert bent["p"] < 1e-6 and abs(bent["largest"]) > 0.1 and bent["at"] in steps
    assert (
        fit_time([1, 2, 4], [1, 2, 4])["lack_of_fit"] is None
        and fit_time([1, 1, 2, 2], [1, 1.1, 2, 2.1])["lack_of_fit"] is None
    )


def test_the_papers_time_has_no_intercept_and_fits_worse():
    steps = np.array([1, 2, 4, 8])
    fit = fit_time(steps, 1 + 0.1 * steps)
    assert fit["paper"]["r2"] < 0.5 < fit["r2"]
    assert fit["points"][0] == {"steps": 1, "median": pytest.approx(1.1), "n": 1}
    sinking = fit_time([1, 2, 4, 8], [0.09, 0.19, 0.4, 0.82])
    assert sinking["overhead"] == 0.0 and sinking["covariance"][0] == [0.0, 0.0]


@pytest.mark.parametrize(
    "steps, seconds, message",
    [([4, 4], [1, 1], "at least 2 different"), ([1, 2], [1, 0], "not a positive number")],
)
def test_wrong_times_are_refused(steps, seconds, message):
    with pytest.raises(InputError, match=message):
        fit_time(steps, seconds)
