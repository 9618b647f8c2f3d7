"""All verdicts of a run: their order, the sentence that sums them up, and the warnings by cause."""

from dataclasses import replace

import pytest

from calibration.validation.verdict import (
    CALIBRATION,
    FAIL,
    FORM,
    INFO,
    NOT_TESTED,
    PASS,
    PREDICTION,
    PROMPTS,
    SPEED,
    WARN,
    Verdict,
)
from calibration.validation.verdicts import failures, headline, verdicts, warnings
from tests.calibration.validation.setting import chain
from tests.calibration.validation.world import row, validation
from tests.calibration.world import World

_ORDER = (FAIL, WARN, NOT_TESTED, PASS, INFO)


def test_predictions_come_first_and_of_each_the_worst(measured):
    given = validation([row(), row(False, 4.0), row(False, 1.0), row(None, None)], inside=12)
    rows = verdicts(given, measured)
    predictions = [each for each in rows if each.about == PREDICTION]
    calibration = [each for each in rows if each.about == CALIBRATION]
    assert rows == predictions + calibration
    for part in (predictions, calibration):
        order = [_ORDER.index(each.verdict) for each in part]
        assert order == sorted(order)
    used = [each.tolerance_used for each in predictions if each.verdict == FAIL]
    assert used == sorted(used, reverse=True) and all(share > 1 for share in used)
    assert {FAIL, NOT_TESTED, PASS} <= {each.verdict for each in rows}
    assert not {each.verdict for each in predictions} & {WARN}
    assert not {each.verdict for each in calibration} & {FAIL}
    assert verdicts() == []


def said(*words):
    """The sentence about predictions A, B, ... with the verdicts ``words``."""
    names = "ABCDEF"
    return headline(
        [Verdict(PREDICTION, names[i], "", "", word) for i, word in enumerate(words)]
        + [Verdict(CALIBRATION, "line", "", "", WARN)]
    )


def test_one_sentence_says_whether_the_predictions_hold():
    assert said(PASS, PASS, INFO) == "All 2 predictions hold."
    assert said(PASS, FAIL, PASS, FAIL) == "2 of 4 predictions fail: B and D."
    assert said(FAIL) == "1 of 1 prediction fails: A."
    assert (
        said(FAIL, PASS, NOT_TESTED, NOT_TESTED, NOT_TESTED)
        == "1 of 5 predictions fails: A; 3 could not be tested: C, D and E."
    )
    assert said(*[NOT_TESTED] * 5, PASS) == (
        "1 of 6 predictions hold; 5 could not be tested: A, B and 3 others."
    )
    assert said(PASS, NOT_TESTED) == "1 of 2 predictions hold; 1 could not be tested: B."
    assert said() == said(INFO) == ""


def test_the_sentence_and_the_lines_of_failures_agree():
    given = validation([row(), row(False, 1.0), row(False, 1.0, basis="modelled")], inside=10)
    assert headline(verdicts(given)) == (
        "2 of 6 predictions fail: time (sum) and coverage of time; 3 could not be tested: "
        "coverage of energy, coverage of error and coverage of utility."
    )
    assert len(failures(given)) == 2


@pytest.mark.parametrize("users", [1, 2])
def test_what_is_modelled_of_few_users_is_no_prediction(users):
    given = validation(inside=users, users=users, basis="modelled")
    rows = [each for each in verdicts(given) if each.judged == "coverage of time"]
    assert [each.verdict for each in rows] == [INFO]


def test_warnings_are_grouped_by_cause_those_that_warn_first():
    def of(kind, where, verdict, cause):
        return Verdict(CALIBRATION, f"{kind}: {where}", "", "", verdict, cause=cause)

    groups = warnings(
        [
            of("error curve", "scene, edge", NOT_TESTED, PROMPTS),
            of("error curve", "scene, local", NOT_TESTED, PROMPTS),
            of("utility curve", "scene, local", NOT_TESTED, PROMPTS),
            of("drift", "edge", WARN, SPEED),
            of("time affine", "scene, edge", WARN, FORM),
            Verdict(PREDICTION, "edge in batches: makespan", "", "", NOT_TESTED, cause=SPEED),
            Verdict(PREDICTION, "time (sum)", "", "", PASS),
        ]
    )
    assert [(group.cause, group.warned) for group in groups] == [
        (SPEED, True),
        (FORM, True),
        (PROMPTS, False),
    ]
    assert groups[0].what == (("drift", 1), ("predictions", 1))
    assert groups[2].what == (("error curve", 2), ("utility curve", 1))


def test_a_world_slowed_by_a_fifth_fails_in_time_and_only_in_time(setting):
    judged = verdicts(setting.run(World(seed=3, watts=40.0, slower=1.2)))
    failed = {each.judged for each in judged if each.verdict == FAIL}
    # joules are watts times the time, and the objective holds both
    assert failed == {"time (sum)", "energy (sum)", "objective", "coverage of time"} | (
        failed & {"coverage of energy"}
    )
    assert {each.judged for each in judged if each.verdict == PASS} >= {
        "error (mean)",
        "utility (mean)",
        "coverage of error",
        "coverage of utility",
    }


def test_a_machine_whose_speed_wandered_too_much_is_not_tested(setting):
    """The same slowed world, predicted from a calibration whose speed varied by a half."""
    places = tuple(replace(place, speed_sd=0.5) for place in setting.profiles.places)
    unsteady = replace(setting, profiles=replace(setting.profiles, places=places))
    judged = verdicts(unsteady.run(World(seed=3, watts=40.0, slower=1.2)))
    words = {each.judged: each for each in judged}
    for name in ("time (sum)", "energy (sum)", "coverage of time"):
        assert (words[name].verdict, words[name].cause) == (NOT_TESTED, SPEED)
    assert words["error (mean)"].verdict == PASS


@pytest.mark.slow
def test_a_noisy_but_sound_world_fails_or_warns_in_about_one_run_of_a_hundred():
    """Each calibration predicts ten executions, all in the same world, noisier than the others."""
    failed, warned, runs = [], [], 0
    for seed in range(5):
        noisy = {"watts": 40.0, "noise": 1.5}
        world = World(seed=seed, **noisy)
        calibrated = chain(world, ["object"], [1, 2, 4, 8, 16, 32], prompts=24, users=30)
        for execution in range(10):
            other = World(seed=100 + 10 * seed + execution, **noisy)
            judged = verdicts(calibrated.run(other, images=1), calibrated.profiles)
            failed += [each.judged for each in judged if each.verdict == FAIL][:1]
            runs += 1
        warned += [each.judged for each in judged if each.verdict == WARN]
    assert len(failed) <= 0.02 * runs and not warned, (failed, warned)
