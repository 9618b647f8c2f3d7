"""Misfit of curves beyond their points' errors, and the correction for several tests."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from calibration.fitting.fit import fit_curve
from calibration.validation.calibration_verdicts import LEVEL, of_calibration
from calibration.validation.misfit import holm, misfit_p
from calibration.validation.verdict import NOT_TESTED, PASS, WARN
from tests.calibration.validation.world import with_classes

STEPS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32])


@cache
def curve(sd, bend=0.0, seed=0, dof=None):
    """An exponential error with relative noise ``sd``, and a ``bend`` that no family has."""
    truth = (np.exp(-0.14 * STEPS) + 0.03) * (1 + bend * np.sin(2.5 * np.log(STEPS)))
    noise = np.random.default_rng(seed).standard_normal(len(STEPS))
    return fit_curve(STEPS, truth * (1 + sd * noise), sd * truth, "error", dof=dof)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_bend_shows_where_the_points_are_precise_and_hides_where_they_are_noisy():
    assert misfit_p(curve(0.003, bend=0.2)) < 1e-4
    assert misfit_p(curve(0.3, bend=0.2)) > 0.05
    assert misfit_p(curve(0.003)) > 0.01


def test_p_values_of_a_sound_curve_are_rarely_small():
    """Families are chosen by the same points, which makes small values rarer than their level."""
    values = [misfit_p(curve(0.05, seed=seed, dof=30)) for seed in range(12)]
    assert min(values) > 0.001 and np.mean(np.array(values) < 0.1) <= 0.2


def test_an_interpolation_is_tested_between_its_neighbours():
    """Not monotone, so that the table is taken: straight pieces are met, a kink is not."""
    straight = fit_curve(STEPS, 0.5 - 0.01 * STEPS, np.full(10, 0.01), "error")
    kinked = fit_curve(STEPS, np.where(STEPS % 3, 0.2, 0.6), np.full(10, 0.01), "error")
    assert kinked.chosen == "table" and misfit_p(kinked) < 1e-6
    noisy = replace(kinked, points=tuple(replace(point, se=0.5) for point in kinked.points))
    assert misfit_p(noisy) > 0.5 and misfit_p(straight) > 0.05


def test_without_standard_errors_there_is_no_test():
    points = tuple(replace(point, se=None) for point in curve(0.1).points)
    assert misfit_p(replace(curve(0.1), points=points)) is None


def test_a_bent_curve_warns_where_it_was_measured_precisely_and_not_where_noise_hides_it(measured):
    def verdict(error):
        bent = with_classes(measured, lambda _, each: replace(each, error=error))
        rows = of_calibration(bent)
        return next(row for row in rows if row.judged.startswith("error curve")).verdict

    assert verdict(curve(0.003, bend=0.2)) == WARN
    assert verdict(curve(0.3, bend=0.2)) == NOT_TESTED
    assert verdict(curve(0.003)) == PASS
    assert LEVEL == 0.01
