"""Verdicts of predictions: what passes, what fails, what was not tested and why."""

from dataclasses import replace
from itertools import combinations
from math import comb
from statistics import NormalDist

import pytest

from calibration.costs.drift import Drift
from calibration.validation.prediction_verdicts import (
    LEVEL,
    SHARED_VARIANCE,
    inside_by_chance,
    of_predictions,
)
from calibration.validation.verdict import FAIL, INFO, NOT_TESTED, PASS, PROMPTS, SPEED
from tests.calibration.validation.world import row, validation


def coverage(**which):
    verdicts = of_predictions(validation(**which))
    return next(verdict for verdict in verdicts if verdict.judged == "coverage of time")


def widened(count):
    """The half-width that a total of ``count`` predictions is allowed, over that of 95 %."""
    return NormalDist().inv_cdf(1 - LEVEL / count / 2) / 1.96


def test_totals_pass_fail_or_say_why_they_were_not_tested():
    rows = [
        row(),
        row(False, 6.0),
        row(None, None),
        row(None, low=None, high=None),
        row(False, 8.0, basis="modelled"),
        row(note="few images"),
    ]
    totals = of_predictions(validation(rows))[: len(rows)]
    expected = [PASS, FAIL, NOT_TESTED, NOT_TESTED, INFO, PASS]
    assert [verdict.verdict for verdict in totals] == expected
    used = [verdict.tolerance_used for verdict in totals[:2]]
    # three totals and the coverage of time
    low, high = (10.5 * (end / 10.5) ** widened(4) for end in (9, 12))
    assert used == pytest.approx([0.5 / (10.5 - low), 4.5 / (10.5 - low)])
    assert totals[1].value == "predicted 10.5, measured 6 s"
    assert totals[1].allowed == f"{low:.4g} to {high:.4g} s"
    assert totals[2].reason == "not measured" and "no interval" in totals[3].reason
    assert "no meter" in totals[4].reason
    assert totals[5].reason == "few images"


@pytest.mark.parametrize(
    ("quantity", "unit", "cause"),
    [("time (sum)", "s", SPEED), ("energy (sum)", "J", SPEED), ("error (mean)", "1", PROMPTS)],
)
def test_an_interval_wider_than_its_value_never_passes(quantity, unit, cause):
    """The newcomer's case: 5.1 s predicted, 10.2 s measured, -7.3 to 17.6 s allowed."""
    wide = replace(
        row(), quantity=quantity, unit=unit, predicted=5.1, measured=10.2, low=-7.3, high=17.6
    )
    first = of_predictions(validation([wide]))[0]
    assert (first.verdict, first.cause) == (NOT_TESTED, cause)
    assert "wider than the value" in first.reason
    # above 0, as times and errors are, the other side tells
    for low in (0.0, 1.5):
        positive = replace(wide, low=low)
        assert of_predictions(validation([positive]))[0].verdict == NOT_TESTED
    # off by more than even that
    outside = replace(wide, measured=60.0, inside=False)
    assert of_predictions(validation([outside]))[0].verdict == FAIL


def test_the_objective_is_not_tested_for_the_cause_that_its_times_are_not():
    wide = {"predicted": 5.0, "measured": 6.0, "low": -5.0, "high": 15.0}
    objective = replace(row(), quantity="objective", unit="1", **wide)
    time = replace(row(), **wide)
    assert of_predictions(validation([objective, time]))[0].cause == SPEED
    assert of_predictions(validation([objective, row()]))[0].cause == PROMPTS


@pytest.mark.parametrize("users", [2, 5, 30, 300])
def test_coverage_fails_exactly_where_chance_is_less_likely_than_the_level(users):
    """Against the binomial sum by hand: of ``users`` independent ones, each inside with probability
    0.95.
    """
    chance = [comb(users, k) * 0.95**k * 0.05 ** (users - k) for k in range(users + 1)]
    failing = [k for k in range(users + 1) if sum(chance[: k + 1]) < LEVEL]
    around = range(max(0, len(failing) - 3), min(users, len(failing) + 3))
    for inside in (0, *around, users):
        verdict = FAIL if inside in failing else PASS
        assert coverage(inside=inside, users=users).verdict == verdict


def test_coverage_of_too_few_and_of_modelled_energy_is_not_tested():
    assert coverage(inside=0, users=1).verdict == NOT_TESTED
    assert coverage(inside=0, users=0).verdict == NOT_TESTED
    assert coverage(inside=0, basis="modelled").verdict == INFO


def test_coverage_by_intervals_that_are_mostly_wider_than_their_values_is_not_tested():
    def of_time(wide, inside=30):
        given = validation(inside=inside)
        users = tuple(
            replace(user, time=replace(user.time, low=0.5 - (user.user < wide), high=1.5))
            for user in given.users
        )
        return next(
            each
            for each in of_predictions(replace(given, users=users))
            if each.judged == "coverage of time"
        )

    assert of_time(15).verdict == PASS
    assert of_time(16).verdict == NOT_TESTED and of_time(16).cause == SPEED
    assert of_time(16, inside=10).verdict == FAIL


def test_coverage_of_time_leaves_out_the_drift_that_all_users_share():
    """On a machine slower by a tenth, 27 of 30 users once lay outside together. The total is what
    judges the drift.
    """
    given = validation()
    users = tuple(
        replace(user, time=replace(user.time, low=0.9, high=1.1, measured=1.15, inside=False))
        for user in given.users
    )
    slow = replace(given, users=users)
    judged = [replace(slow, drift=drift) for drift in ({}, {"edge": Drift(1.1, 0.01, 10)})]
    verdicts = [
        next(each for each in of_predictions(shown) if each.judged == "coverage of time")
        for shown in judged
    ]
    assert [each.verdict for each in verdicts] == [FAIL, PASS]


def test_coverage_of_time_leaves_the_seconds_of_a_link_as_they_are():
    """A second of work that takes a fifth longer, and five of a link that do not."""
    given = validation()
    users = tuple(
        replace(
            user,
            time=replace(
                user.time, predicted=6.0, low=5.9, high=6.1, measured=6.2, inside=False, fixed=fixed
            ),
        )
        for user, fixed in zip(given.users, [5.0] * len(given.users), strict=True)
    )
    drift = {place: Drift(1.2, 0.01, 10) for place in ("local", "edge")}

    def judged(users):
        shown = of_predictions(replace(given, users=users, drift=drift))
        return next(each for each in shown if each.judged == "coverage of time").verdict

    bare = tuple(replace(user, time=replace(user.time, fixed=None)) for user in users)
    assert (judged(users), judged(bare)) == (PASS, FAIL)


def test_users_of_one_class_and_place_are_allowed_to_lie_outside_together():
    """The variance of the number inside, by the correlations of all pairs, one by one."""
    cells = ["a"] * 20 + ["b"] * 10 + ["c"]
    chance = inside_by_chance(cells)
    pairs = sum(SHARED_VARIANCE for first, second in combinations(cells, 2) if first == second)
    assert chance.mean() == pytest.approx(0.95 * len(cells))
    assert chance.var() == pytest.approx(0.95 * 0.05 * (len(cells) + 2 * pairs))
