"""Estimates and their intervals: certified ones come back, profiles end where they should, truths
are covered.
"""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks.calibration.nist import certified, solve
from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.families import FAMILIES
from calibration.fitting.fit import fit_curve, fit_report
from calibration.fitting.prediction import evaluate, predict
from calibration.statistics import t_quantile
from solver.inputs import InputError
from tests.calibration.fitting.curves import RANGES, STEPS, member


@pytest.mark.parametrize("name, scale", [("BoxBOD", 1), ("Misra1a", 10)])
def test_certified_values_and_standard_errors_of_a_family(name, scale):
    """NIST StRD, y = b1 (1 - exp(-b2 x)); steps are whole numbers."""
    problem = certified(name)
    fit = fit_curve((problem.x * scale).round().astype(int).tolist(), problem.y, kind="utility")
    estimate = member(fit, "saturating_amplitude")
    assert list(estimate.parameters.values()) == pytest.approx(
        problem.values / [1, scale], rel=1e-6
    )
    assert np.sqrt(np.diag(estimate.covariance)) == pytest.approx(
        problem.standard_errors / [1, scale], rel=1e-6
    )


@pytest.mark.parametrize("name", ["MGH17", "Rat43", "Thurber", "Roszman1"])
def test_certified_problems_of_other_models(name):
    assert min(solve(name, start=1)) >= 6


@pytest.mark.parametrize(
    "name, known",
    [("exponential_floor", True), ("power_ceiling", False), ("saturating_amplitude", True)],
)
def test_intervals_end_where_the_profile_of_chi_square_does(name, known):
    rng, family = np.random.default_rng(2), FAMILIES[name]
    truth = [np.mean(RANGES[parameter]) for parameter in family.parameters]
    s, sd = STEPS.astype(float), np.full(6, 0.03)
    y = family.function(s, truth) + sd * rng.standard_normal(6)
    weights = sd if known or family.kind == "utility" else y
    fit = fit_curve(STEPS, y, sd if known else None, family.kind, force=True)
    estimate = member(fit, name)
    p = np.array(list(estimate.parameters.values()))

    def chi2(p):
        return np.sum(((y - family.function(s, p)) / (weights if known else 1.0)) ** 2)

    tight = {"xatol": 1e-9, "fatol": 1e-12}
    half = t_quantile(None if known else 6 - len(p)) ** 2 * estimate.noise**2
    for index, parameter in enumerate(family.parameters):
        for end in estimate.intervals[parameter]:
            others = [i for i in range(len(p)) if i != index]
            least = minimize(
                lambda q, at=(index, end): chi2(np.insert(q, *at)),
                p[others],
                method="Nelder-Mead",
                options=tight,
            )
            if end > 0:  # else it is cut off at the bound
                assert least.fun == pytest.approx(chi2(p) + half, rel=0.02), parameter


@pytest.mark.slow
def test_intervals_cover_the_truth_and_new_points_as_often_as_they_say():
    rng, truth, sd = np.random.default_rng(1), np.array([0.8, 0.3]), 0.02
    family = FAMILIES["saturating_amplitude"]
    inside, new, widths = [], [], []
    for _ in range(60):
        y = family.function(STEPS.astype(float), truth) + sd * rng.standard_normal(len(STEPS))
        fit = fit_curve(STEPS, y, sd=[sd] * len(STEPS), kind="utility")
        for value, (low, high) in zip(
            truth, member(fit, family.name).intervals.values(), strict=True
        ):
            inside.append(low <= value <= high)
            widths.append((high - low) / value)
        (answer,) = predict(fit, [6])
        value = family.function(np.array([6.0]), truth)[0] + sd * rng.standard_normal()
        new.append(answer.low <= value <= answer.high)
    assert 0.88 <= np.mean(inside) and np.median(widths) < 0.7
    assert 0.88 <= np.mean(new)


def test_points_that_err_together_leave_the_curve_as_uncertain_as_they_are():
    sd = np.full(6, 0.05)
    y = FAMILIES["saturating_amplitude"].function(STEPS.astype(float), [0.8, 0.3])
    alone = fit_curve(STEPS, y, sd, "utility")
    together = fit_curve(STEPS, y, sd, "utility", covariance=np.full((6, 6), 0.05**2))
    last = [np.sqrt(evaluate(fit, [32], "saturating_offset")[1][0, 0]) for fit in (alone, together)]
    assert last[1] == pytest.approx(0.05, rel=1e-3) and last[0] < 0.04


def test_bootstrap_intervals_are_those_of_the_points_covariance():
    rng, family, truth = np.random.default_rng(6), FAMILIES["exponential_floor"], [1.0, 0.25, 0.15]
    prompts = family.function(STEPS.astype(float), truth) * (
        1 + 0.2 * rng.standard_normal((60, 1)) + 0.1 * rng.standard_normal((60, 6))
    )
    y, covariance = prompts.mean(axis=0), np.cov(prompts.T) / 60
    replicates = prompts[rng.integers(0, 60, (400, 60))].mean(axis=1)
    fit = fit_curve(STEPS, y, np.sqrt(np.diag(covariance)), "error", covariance, 59, replicates)
    estimate = member(fit, "exponential_floor")
    for name, (low, high) in estimate.bootstrap_intervals.items():
        profile = estimate.intervals[name]
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
def test_estimates_that_the_points_do_not_support_are_refused_with_their_number(
    steps, values, sd, message
):
    points = [CurvePoint(s, v, se=sd) for s, v in zip(steps, values, strict=True)]
    if message:
        with pytest.raises(InputError, match=message):
            fit_report(points, [6], "error")
    taken = fit_report(points, [6], "error", force=True)
    assert "taken anyway" in taken.notes[-1]
    assert "exponential_floor" in [estimate.family for estimate in taken.families]
    (answer,) = taken.predictions
    assert np.isfinite([answer.value, answer.low, answer.high]).all()
    fit = fit_curve(steps, values, [sd] * len(steps) if sd else None)  # in the chain
    assert all(
        estimate.reason and np.isfinite(list(estimate.parameters.values())).all()
        for estimate in fit.left_out
    )
    assert member(fit, fit.chosen).refused is None
    assert json.dumps(fit.to_dict(), allow_nan=False)
