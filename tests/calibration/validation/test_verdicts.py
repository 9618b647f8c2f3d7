"""Verdicts: what passes, what fails, what was not tested and why; the worst first."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from calibration.costs.energy import law
from calibration.profiles import build as profile
from calibration.validation.verdicts import (
    COVERAGE_LEVEL,
    FAIL,
    NOT_TESTED,
    PASS,
    TOGETHER,
    _inside_by_chance,
    of_calibration,
    of_predictions,
    verdicts,
)
from tests.calibration.world import CLASSES, World, units


def row(inside=True, measured=10.0, basis="measured", **other):
    return {
        "quantity": "time (sum)",
        "unit": "s",
        "predicted": 10.5,
        "low": 9.0,
        "high": 12.0,
        "measured": measured,
        "inside": inside,
        "basis": basis,
        **other,
    }


def validation(totals=(), inside=30, users=30, basis="measured", **other):
    """``inside`` of the time intervals of ``users``, each of another class, hold; the rest was not
    measured.
    """
    people = []
    for index in range(users):
        nothing = {name: {"inside": None} for name in ("energy", "error", "utility")}
        people.append(
            {
                "prompt_class": str(index),
                "place": "edge",
                "time": {"inside": index < inside, "basis": basis},
                **nothing,
            }
        )
    return {"totals": list(totals), "users": people, **other}


def coverage(**which):
    return next(
        one for one in of_predictions(validation(**which)) if one.judged == "coverage of time"
    )


@pytest.fixture(scope="module")
def profiles():
    return profile.build(World(seed=2).calibrate(prompts=8), units(), {}, {}, {})


def judged(found, start):
    return [one for one in found if one.judged.startswith(start)]


def test_totals_pass_fail_or_say_why_they_were_not_tested():
    rows = [
        row(),
        row(False, 8.0),
        row(None, None),
        row(None, low=None, high=None),
        row(False, 8.0, basis="modelled"),
        row(note="few pictures"),
    ]
    found = of_predictions(validation(rows))[: len(rows)]
    assert [one.verdict for one in found] == [PASS, FAIL, NOT_TESTED, NOT_TESTED, NOT_TESTED, PASS]
    assert [one.strain for one in found[:2]] == pytest.approx([0.5 / 1.5, 2.5 / 1.5])
    assert found[1].found == "predicted 10.5, measured 8 s" and found[1].allowed == "9 to 12 s"
    assert (
        found[2].reason == "not measured"
        and "no interval" in found[3].reason
        and "no meter" in found[4].reason
    )
    assert found[5].reason == "few pictures"


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
    assert (
        coverage(inside=0, users=1).verdict == NOT_TESTED
        and coverage(inside=0, users=0).verdict == NOT_TESTED
    )
    assert coverage(inside=0, basis="modelled").verdict == NOT_TESTED


def test_users_of_one_class_and_place_are_allowed_to_lie_outside_together():
    """The variance of the number inside, by the correlations of all pairs, one by one."""
    cells = ["a"] * 20 + ["b"] * 10 + ["c"]
    found = _inside_by_chance(cells)
    pairs = sum(TOGETHER for one, other in combinations(cells, 2) if one == other)
    assert found.mean() == pytest.approx(0.95 * len(cells))
    assert found.var() == pytest.approx(0.95 * 0.05 * (len(cells) + 2 * pairs))


def test_the_worst_comes_first(profiles):
    found = verdicts(validation([row(), row(False, 8.0), row(False, 3.0)], inside=12), profiles)
    order = [(FAIL, NOT_TESTED, PASS).index(one.verdict) for one in found]
    assert order == sorted(order) and set(order) == {0, 1, 2}
    for verdict in (FAIL, PASS):
        strains = [one.strain for one in found if one.verdict == verdict]
        assert strains == sorted(strains, reverse=True)
        assert all(strain > 1 if verdict == FAIL else strain <= 1 for strain in strains)
    assert verdicts() == [] and {one.about for one in found} == {"prediction", "calibration"}


def test_a_line_that_bends_fails_only_if_it_shows_and_matters(profiles):
    entry = profiles["profiles"][0]
    lacks = [
        None,
        {"p": 1e-6, "largest": -0.06, "at": 2},
        {"p": 1e-6, "largest": 0.02, "at": 2},
        {"p": 0.3, "largest": 0.2, "at": 2},
    ]
    found = [
        of_calibration({"profiles": [{**entry, "time": {**entry["time"], "lack_of_fit": lack}}]})[0]
        for lack in lacks
    ]
    assert [one.verdict for one in found] == [NOT_TESTED, FAIL, PASS, PASS]
    assert found[1].strain == pytest.approx(2) and "−6.0" in found[1].found.replace("-", "−")


def test_curves_are_held_against_the_goal_of_five_percent(profiles):
    """The held-out error of the family that weighs most, against 5 %."""
    found = judged(of_calibration(profiles), "error curve")
    assert len(found) == 2 * len(CLASSES)
    for entry, one in zip(profiles["profiles"], found, strict=True):
        family = max(entry["error"]["families"], key=lambda family: family["weight"])
        assert one.strain == pytest.approx(family["held_out_error"] / 0.05)
        assert one.verdict == (PASS if family["held_out_error"] <= 0.05 else FAIL)


def test_frechet_distances_are_carried_or_not_and_the_same_is_said_once(profiles):
    def points(note):
        return {"points": [{"steps": 4, "value": 3.0, "n": n, "note": note} for n in (12, 80)]}

    entries = [
        {**entry, "frechet": points(None if entry["place"] == "edge" else "too few")}
        for entry in profiles["profiles"]
    ]
    short, carried = sorted(
        judged(of_calibration({"profiles": entries}), "Fréchet"), key=lambda one: one.verdict
    )
    assert (short.verdict, short.reason, carried.verdict) == (
        NOT_TESTED,
        "too few",
        PASS,
    ) and short.found == "12 to 80 pictures a point"
    none = judged(of_calibration(profiles), "Fréchet")
    assert [(one.verdict, one.reason) for one in none] == [
        (NOT_TESTED, "not measured")
    ] and "all classes" in none[0].judged


@pytest.mark.parametrize(
    ("ratio", "se", "verdict"),
    [(1.02, 0.001, PASS), (1.2, 0.01, FAIL), (0.8, 0.01, FAIL), (1.05, 0.03, PASS)],
)
def test_a_machine_that_drifts_by_more_than_its_doubt_and_the_goal_fails(
    profiles, ratio, se, verdict
):
    found = judged(
        of_calibration(profiles, validation(drift={"edge": {"ratio": ratio, "se": se, "n": 10}})),
        "drift",
    )
    assert [one.verdict for one in found] == [verdict] and (
        "slower" if ratio > 1 else "quicker"
    ) in found[0].found


def test_no_anchors_no_verdict_on_drift(profiles):
    assert [one.verdict for one in judged(of_calibration(profiles, validation()), "drift")] == [
        NOT_TESTED
    ]


def test_the_law_of_power_is_judged_where_it_was_tested(profiles):
    """Power as the clock's square is no cube; a clock that stood still tests nothing."""
    images = World(seed=1)
    ghz = 2.0 * np.exp(np.linspace(-0.2, 0.2, 60))

    class Images:
        steps, seconds, idle, clock = np.full(60, 8), np.ones(60), np.zeros(60), 1e9 * ghz
        joules = 3 * ghz**2 * np.exp(0.01 * images.draw.standard_normal(60))

    class Still(Images):
        clock = np.full(60, 2e9)

    for found, verdict in ((law(Images), FAIL), (law(Still), NOT_TESTED)):
        entry = {**profiles["profiles"][0], "energy": {"law": found, "lack_of_fit": None}}
        (one,) = judged(of_calibration({"profiles": [entry]}), "power as")
        assert one.verdict == verdict and (verdict == FAIL or "varied" in one.reason)


def test_a_plan_that_missed_its_width_fails(profiles):
    for reached, verdict in (([True, True], PASS), ([True, False], FAIL)):
        plan = {"widths": [{"reached": one} for one in reached]}
        assert judged(of_calibration({**profiles, "plan": plan}), "widths")[0].verdict == verdict
