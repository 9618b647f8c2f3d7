"""Profiles from records."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.profiles.profile import DistancePoint, Distances
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import InputError
from tests.calibration.world import (
    METRICS,
    STEP_TIME,
    World,
    profiles,
    scales,
    true_error,
    true_time,
    true_utility,
)

KINDS = ("object", "scene")


@pytest.fixture(scope="module")
def records():
    return World(seed=1).calibrate(KINDS)


@pytest.fixture(scope="module")
def made(records):
    return profiles(records, KINDS)


@pytest.fixture(scope="module")
def small():
    """One class, made without noise."""
    world = World(noise=0.0, watts=50.0)
    return profiles(world.calibrate(["object"], prompts=4, seeds=(0, 1)), ["object"])


def test_a_profile_of_exact_records_is_the_truth(small):
    for place in ("local", "edge"):
        profile = small.find(place, "object")
        assert profile.time.seconds(20) == pytest.approx(true_time(place, 20), rel=1e-6)
        assert profile.power.watts == pytest.approx(50.0)
        assert profile.power.relative_sd == pytest.approx(0, abs=1e-9)
        assert profile.power.meter == "replay" and profile.power.basis == "measured"
        stages = {"text": 0.005, "step": STEP_TIME[place], "decode": 0.01}
        assert profile.time.stages.to_dict() == stages
        for point in profile.error.points:
            assert point.value == pytest.approx(true_error(place, "object", point.steps))
            assert point.n == 8
        at8 = next(point for point in profile.clip_score if point.steps == 8)
        assert at8.value == pytest.approx(60 + 30 * true_utility(place, "object", 8))
    assert small.find("edge", "object").error.chosen == "exponential_floor"
    assert small.find("local", "object").error.chosen == "power"


def test_points_keep_prompts_apart_from_images():
    records = World(seed=4).calibrate(["object"], prompts=60, seeds=range(4), steps=[2, 6, 20])
    for point in profiles(records, ["object"]).find("edge", "object").utility.points:
        # what the world adds to each prompt
        assert point.sd_prompt == pytest.approx(0.05, rel=0.35)
        assert point.sd == pytest.approx(np.hypot(0.05, 0.04), rel=0.2)
        assert point.se == pytest.approx(np.hypot(0.05, 0.04 / 2) / np.sqrt(60), rel=0.25)


def test_repeated_foreign_and_converged_records_change_nothing(records, made):
    # an image for a user with the same task otherwise
    task = replace(records[5].task, user=0, purpose="user")
    user = replace(records[5], id="0" * 16, task=task)
    assert profiles([user, *records, *records[:50]], KINDS) == made
    # converged images are longer than the grid: neither their times nor their zero distances are
    # points
    first = made.places[0].classes[0]
    assert max(point.steps for point in first.time.points) == 32
    assert all(point.value > 0 for point in first.error.points)


def test_of_repeated_ids_the_last_record_counts():
    records = World().calibrate(["object"], prompts=3, steps=[1, 2, 4])
    made = profiles(records, ["object"])
    index = next(i for i, record in enumerate(records) if record.task.purpose == "sweep")
    measured = replace(records[index].measured, clip_score=0.0)
    other = replace(records[index], measured=measured)
    assert profiles([other, *records], ["object"]) == made
    assert profiles([*records, other], ["object"]) != made


def test_one_prompt_makes_a_profile_that_says_less():
    made = profiles(World().calibrate(["object"], prompts=1), ["object"])
    profile = made.find("edge", "object")
    json.dumps(made.to_dict(), allow_nan=False)
    for curve in (profile.error, profile.utility):
        for point in curve.points:
            assert (point.se, point.sd, point.n) == (None, None, 1)
        assert curve.chosen in [family.family for family in curve.families]


def test_distances_go_where_they_belong(records):
    points = (DistancePoint(steps=4, value=3.2, n=12, low=2.9, high=3.6),)
    few = [record for record in records if record.task.prompt_class == "object"]
    distances = {("edge", "object"): Distances(frechet=points, kid=points[:0], cmmd=points)}
    built = profiles(few, ["object"], distances=distances)
    edge, local = built.find("edge", "object"), built.find("local", "object")
    assert (edge.frechet, edge.kid, edge.cmmd) == (points, (), points)
    assert (local.frechet, local.kid, local.cmmd) == ((), (), ())


def test_what_belongs_to_a_place_goes_where_it_belongs(records, made):
    outcome = SweepOutcome(target=0.1, rounds=(), evaluations=5, uniform_evaluations=50, widths=())
    built = profiles(
        records,
        KINDS,
        environment={"machine": "a"},
        batch_note="not timed",
        sweeps={"local": outcome},
    )
    local, edge = built.places
    assert (local.place, local.model, edge.place, edge.model) == ("local", "light", "edge", "heavy")
    assert (local.sweep, edge.sweep) == (outcome, None)
    assert (local.batch_note, edge.batch_note) == (None, "not timed")
    assert (built.environment, local.environment, built.metrics) == (
        {"machine": "a"},
        None,
        METRICS,
    )
    assert [place.speed_sd for place in built.places] == [place.speed_sd for place in made.places]
    objects = [record for record in records if record.task.prompt_class == "object"]
    alone = profiles([record for record in objects if record.task.place == "local"], ["object"])
    assert built.get("edge") is edge and alone.get("edge") is None


def wandering(records):
    """A class's records of a machine whose speed changes in the course of the sweep of each
    place.
    """
    records = [record for record in records if record.task.prompt_class == "object"]
    factors = {
        "local": np.geomspace(1, 1.1, len(records)),
        "edge": np.geomspace(1, 2, len(records)),
    }
    return [
        replace(
            record,
            measured=replace(
                record.measured, time=float(record.measured.time * factors[record.task.place][at])
            ),
        )
        for at, record in enumerate(records)
    ]


def speeds(records):
    return [place.speed_sd for place in profiles(records, ["object"]).places]


def test_places_on_one_device_have_one_spread_of_speed(records):
    made = wandering(records)
    alone = [
        speeds([record for record in made if record.task.place == place])[0]
        for place in ("local", "edge")
    ]
    assert alone[1] > 2 * alone[0] > 0
    assert speeds(made) == pytest.approx([np.sqrt(np.mean(np.square(alone)))] * 2)
    elsewhere = [replace(record, task=replace(record.task, device="other")) for record in made]
    apart = [new if new.task.place == "edge" else old for old, new in zip(made, elsewhere)]
    assert speeds(apart) == alone


def test_a_place_with_few_images_has_the_spread_of_the_other_on_its_device(records):
    objects = wandering(records)
    edge = [record for record in objects if record.task.place == "edge"]
    few = [record for record in objects if record.task.prompt in ("object 0", "object 1")]
    assert speeds(few) == [0.0, 0.0]
    assert speeds(edge + [record for record in few if record.task.place == "local"]) == (
        speeds(edge) * 2
    )


def test_profiles_tell_their_classes_and_times(made):
    assert made.classes() == set(KINDS)
    assert made.times()["edge", "scene"] is made.find("edge", "scene").time
    assert len(made.times()) == 4
    with pytest.raises(InputError, match="no edge profile of prompt class 'x'; there: object, sc"):
        made.find("edge", "x")


def of_another_model(records):
    local = [record for record in records if record.task.place == "local"]
    task = replace(local[5].task, model="other")
    return [replace(record, task=task) if record is local[5] else record for record in local]


def without_distances(records):
    return [replace(record, measured=replace(record.measured, distance=None)) for record in records]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda records: [], "no calibration record"),
        (of_another_model, "local: model: found 'other' and 'light'"),
        (without_distances, "local/object: found no record with a value of distance"),
        (
            lambda records: [record for record in records if record.task.steps < 4],
            "local/object: points: found 2 different",
        ),
        (
            lambda records: [record for record in records if record.task.purpose == "converged"],
            "local/object: found no record of a sweep",
        ),
    ],
)
def test_records_that_do_not_suffice_are_refused(spoil, message):
    records = World().calibrate(["object"], prompts=2, steps=[1, 2, 4])
    with pytest.raises(InputError, match=message):
        profiles(spoil(records), ["object"])


def test_missing_scales_are_refused(records):
    few = [record for record in records if record.task.prompt_class == "scene"]
    message = "local/scene: the scales of error and utility are missing"
    with pytest.raises(InputError, match=message):
        profiles(few, scales=scales(["object"]))


def test_a_profile_holds_the_energy_that_its_records_have():
    records = {
        watts: World(watts=watts).calibrate(["object"], prompts=4, seeds=(0, 1))
        for watts in (50.0, None)
    }
    profile = profiles(records[50.0], ["object"]).find("edge", "object")
    assert profile.energy.step_j == pytest.approx(50 * profile.time.step_time, rel=0.03)
    assert profile.energy.law is None and profile.energy.idle_watts is None
    assert profile.power.watts == pytest.approx(50.0, rel=0.02)
    assert profiles(records[None], ["object"]).find("edge", "object").energy is None
