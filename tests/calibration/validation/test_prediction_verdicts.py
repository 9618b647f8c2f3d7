"""Verdicts of predictions: what passes, what fails, what was not tested and why."""

from itertools import combinations
from math import comb

import pytest

from calibration.validation.prediction_verdicts import (
    COVERAGE_LEVEL,
    SHARED_VARIANCE,
    inside_by_chance,
    of_predictions,
)
from calibration.validation.verdict import FAIL, NOT_TESTED, PASS
from tests.calibration.validation.world import row, validation


def coverage(**which):
    verdicts = of_predictions(validation(**which))
    return next(verdict for verdict in verdicts if verdict.judged == "coverage of time")


def test_totals_pass_fail_or_say_why_they_were_not_tested():
    rows = [
        row(),
        row(False, 8.0),
        row(None, None),
        row(None, low=None, high=None),
        row(False, 8.0, basis="modelled"),
        row(note="few images"),
    ]
    totals = of_predictions(validation(rows))[: len(rows)]
    expected = [PASS, FAIL, NOT_TESTED, NOT_TESTED, NOT_TESTED, PASS]
    assert [verdict.verdict for verdict in totals] == expected
    used = [verdict.tolerance_used for verdict in totals[:2]]
    assert used == pytest.approx([0.5 / 1.5, 2.5 / 1.5])
    assert totals[1].value == "predicted 10.5, measured 8 s" and totals[1].allowed == "9 to 12 s"
    assert totals[2].reason == "not measured" and "no interval" in totals[3].reason
    assert "no meter" in totals[4].reason
    assert totals[5].reason == "few images"


@pytest.mark.parametrize("users", [2, 5, 30, 300])
def test_coverage_fails_exactly_where_chance_is_less_likely_than_the_level(users):
    """Against the binomial sum by hand: of ``users`` independent ones, each inside with probability
    0.95.
    """
    chance = [comb(users, k) * 0.95**k * 0.05 ** (users - k) for k in range(users + 1)]
    for inside in range(users + 1):
        assert coverage(inside=inside, users=users).verdict == (
            FAIL if sum(chance[: inside + 1]) < COVERAGE_LEVEL else PASS
        )


def test_coverage_of_too_few_and_of_modelled_energy_is_not_tested():
    assert coverage(inside=0, users=1).verdict == NOT_TESTED
    assert coverage(inside=0, users=0).verdict == NOT_TESTED
    assert coverage(inside=0, basis="modelled").verdict == NOT_TESTED


def test_users_of_one_class_and_place_are_allowed_to_lie_outside_together():
    """The variance of the number inside, by the correlations of all pairs, one by one."""
    cells = ["a"] * 20 + ["b"] * 10 + ["c"]
    chance = inside_by_chance(cells)
    pairs = sum(SHARED_VARIANCE for first, second in combinations(cells, 2) if first == second)
    assert chance.mean() == pytest.approx(0.95 * len(cells))
    assert chance.var() == pytest.approx(0.95 * 0.05 * (len(cells) + 2 * pairs))
