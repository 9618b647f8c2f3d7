"""A world that is as calibrated lies inside the intervals as often as they say; one that has
changed does not.
"""

from dataclasses import replace

import numpy as np
import pytest

from calibration.costs.drift import PARTS, drifts
from calibration.profiles.profile import MetricDefinition
from calibration.validation.validation import QUANTITIES
from tests.calibration.validation.setting import anchors, chain, total
from tests.calibration.world import MODELS, World


def test_a_world_as_calibrated_lies_inside_as_often_as_the_intervals_say(sound):
    for name in QUANTITIES:
        assert 0.91 <= sound.coverage[name] <= 0.99, name
    assert all(row.inside for row in sound.totals)
    assert sound.median_absolute_error["time"] < 0.03
    assert {user.images for user in sound.users} == {2}


def test_a_world_that_has_become_slower_lies_outside_and_only_in_time_and_energy(slower):
    assert slower.coverage["time"] < 0.01 and slower.coverage["energy"] < 0.01
    assert slower.coverage["error"] > 0.9 and slower.coverage["utility"] > 0.9
    for name in ("time", "energy", "objective"):
        assert not total(slower, name).inside
    assert total(slower, "error").inside
    assert total(slower, "time").relative_error == pytest.approx(1 / 1.5 - 1, abs=0.02)


class Wandering(World):
    """A machine whose speed is another one in each eighth of a sweep, and during the execution, by
    ``spread``.
    """

    def __init__(self, seed, spread, images):
        super().__init__(seed)
        self.speeds = np.exp(spread * np.random.default_rng(seed).normal(size=PARTS + 1)).tolist()
        self.each, self.made = -(-images // PARTS), 0

    def record(self, task):
        self.slower = self.speeds[min(self.made // self.each, PARTS)]
        self.made += 1
        return super().record(task)


def speed_sd(setting):
    return setting.profiles.places[0].speed_sd


@pytest.mark.slow
def test_the_interval_of_a_total_time_holds_what_the_machine_wandered_during_the_sweep():
    spreads, inside = [], []
    for seed in range(20):
        world = Wandering(300 + seed, 0.05, images=2 * 12 * 5)
        setting = chain(world, ["object"], steps=[2, 6, 16, 32], users=60)
        spreads.append(speed_sd(setting))
        inside.append(total(setting.run(world, images=1), "time").inside)
    assert np.median(spreads) == pytest.approx(0.05, rel=0.3) and sum(inside) >= 17
    still = chain(World(seed=5), ["object"], steps=[2, 6, 16, 32], users=60)
    assert speed_sd(still) < 0.015


def test_intervals_that_do_not_hold_a_shared_noise_are_said_not_to(setting):
    for noise, said in (("shared", True), ("own", False)):
        metrics = replace(setting.profiles.metrics, error=MetricDefinition(noise=noise))
        other = replace(setting, profiles=replace(setting.profiles, metrics=metrics))
        notes = other.validate([]).notes
        assert any("the same noise" in note for note in notes) == said


def test_one_prompt_asked_often_is_not_an_average_over_prompts():
    # Images of one prompt share its difficulty: intervals must not shrink with their number alone.
    setting = chain(
        World(seed=5), ["object"], steps=[2, 6, 16, 32], prompts=30, seeds=(0, 1, 2), users=200
    )
    validation = setting.run(World(seed=6), images=8)
    assert 0.9 <= validation.coverage["error"] <= 0.99
    assert 0.9 <= validation.coverage["utility"] <= 0.99


def test_error_and_utility_raise_the_objective_together(setting):
    """As if fully correlated: a picture that is another than expected is worse in both."""
    validation = setting.run(World(seed=9), images=1)
    halves = {
        name: (row.high - row.low) / 2
        for name in ("error", "utility", "objective")
        for row in [total(validation, name)]
    }
    weights, users = setting.problem.weights, setting.problem.users
    error = weights["cost"] * weights["error"] * halves["error"]
    together = users * (error + weights["utility"] * halves["utility"])
    assert halves["objective"] > 0.99 * together


@pytest.mark.slow
def test_totals_hold_the_uncertainty_that_all_users_share():
    # Few calibration prompts, many users: nearly all uncertainty about the mean is the profile's,
    # and does not average out.
    names = ("time", "error", "utility", "objective")
    inside = []
    for seed in range(12):
        setting = chain(World(seed=100 + seed), ["object"], steps=[1, 6, 16, 32], users=100)
        validation = setting.run(World(seed=200 + seed), images=1)
        inside.append([total(validation, name).inside for name in names])
    assert (np.sum(inside, axis=0) >= 9).all(), np.sum(inside, axis=0)


def test_the_machines_drift_is_told_from_a_wrong_prediction(setting):
    """Slower by 30 %: the total is off, and right again at the speed that anchors say; a wrong
    prediction stays wrong.
    """
    slow = World(seed=3, watts=40.0, slower=1.3)
    records = slow.execute(setting.scenario, setting.allocation)
    validation = setting.validate([*records, *anchors(slow, MODELS, 12)])
    raw, mended = (row for row in validation.totals if row.quantity.startswith("time"))
    assert (raw.quantity, mended.quantity) == ("time (sum)", "time (sum), drift removed")
    assert not raw.inside and raw.relative_error == pytest.approx(1 / 1.3 - 1, abs=0.02)
    assert mended.inside and abs(mended.relative_error) < 0.03
    assert mended.high - mended.low > raw.high - raw.low
    slower = [note for note in validation.notes if "slower while" in note]
    assert sum("30." in note or "29." in note for note in slower) == 2
    assert {user.images for user in validation.users} == {2}  # anchors are no user's images
    wrong = setting.validate([*records, *anchors(World(seed=4), MODELS, 12)])
    assert not total(wrong, "time (sum), drift removed").inside


def test_drift_needs_three_anchors_at_each_place_and_counts_each_once(setting, executed):
    world, times = World(seed=5), setting.profiles.times()
    assert drifts([*anchors(world, MODELS, 2)] * 2, times) == {}
    edge = anchors(world, ["edge"], 3)
    assert {place: drift.n for place, drift in drifts(edge * 2, times).items()} == {"edge": 3}
    validation = setting.validate([*executed, *edge])
    rows = [row.quantity for row in validation.totals if "time" in row.quantity]
    assert rows == ["time (sum)"]
