"""Profiles from records."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.profiles.profile import DistancePoint, Distances
from calibration.records.scale import Scales
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import InputError
from tests.calibration.world import (
    CLASSES,
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
WITHOUT = Scales.without_utility(0.4, "not looked at")


@pytest.fixture(scope="module")
def records():
    return World(seed=1).calibrate(KINDS, prompts=8, steps=[1, 2, 4, 8, 16, 32])


def test_a_profile_of_exact_records_is_the_truth(exact):
    for place in ("local", "edge"):
        profile = exact.find(place, "object")
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
    assert exact.find("edge", "object").error.chosen == "exponential_floor"
    assert exact.find("local", "object").error.chosen == "power"


def test_points_keep_prompts_apart_from_images():
    records = World(seed=4).calibrate(["object"], prompts=60, seeds=range(4), steps=[2, 6, 20])
    edge = profiles(of_place(records, "edge"), ["object"])
    for point in edge.find("edge", "object").utility.points:
        # what the world adds to each prompt
        assert point.sd_prompt == pytest.approx(0.05, rel=0.35)
        assert point.sd == pytest.approx(np.hypot(0.05, 0.04), rel=0.2)
        assert point.se == pytest.approx(np.hypot(0.05, 0.04 / 2) / np.sqrt(60), rel=0.25)


def test_repeated_foreign_and_converged_records_change_nothing(records):
    objects = of_class(records)
    made = profiles(objects, ["object"])
    # an image for a user with the same task otherwise
    task = replace(objects[5].task, user=0, purpose="user")
    user = replace(objects[5], id="0" * 16, task=task)
    assert profiles([user, *objects, *objects[:50]], ["object"]) == made
    # converged images are longer than the grid: neither their times nor their zero distances are
    # points
    first = made.places[0].classes[0]
    assert max(point.steps for point in first.time.points) == 32
    assert all(point.value > 0 for point in first.error.points)


def test_of_repeated_ids_the_last_record_counts():
    records = of_place(World().calibrate(["object"], prompts=3, steps=[1, 2, 4]), "edge")
    index = next(i for i, record in enumerate(records) if record.task.purpose == "sweep")
    measured = replace(records[index].measured, distance=0.1)
    other = replace(records[index], measured=measured)
    made = errors(records)
    assert errors([other, *records]) == made
    assert errors([*records, other]) != made


def test_one_prompt_makes_a_profile_that_says_less():
    records = of_place(World().calibrate(["object"], prompts=1), "edge")
    made = profiles(records, ["object"])
    profile = made.find("edge", "object")
    json.dumps(made.to_dict(), allow_nan=False)
    for curve in (profile.error, profile.utility):
        for point in curve.points:
            assert (point.se, point.sd, point.n) == (None, None, 1)
        assert curve.chosen in [family.family for family in curve.families]


def test_what_belongs_to_a_place_goes_where_it_belongs(records):
    outcome = SweepOutcome(target=0.1, rounds=(), evaluations=5, uniform_evaluations=50, widths=())
    points = (DistancePoint(steps=4, value=3.2, n=12, low=2.9, high=3.6),)
    objects = of_class(records)
    built = profiles(
        objects,
        ["object"],
        distances={("edge", "object"): Distances(frechet=points, kid=points[:0], cmmd=points)},
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
    assert built.get("edge") is edge
    assert errors(of_place(objects, "local")).get("edge") is None
    (there,), (here,) = edge.classes, local.classes
    assert (there.frechet, there.kid, there.cmmd) == (points, (), points)
    assert (here.frechet, here.kid, here.cmmd) == ((), (), ())


def wandering(records):
    """A class's records of a machine whose speed changes in the course of the sweep of each
    place.
    """
    records = of_class(records)
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


def of_class(records, name="object"):
    return [record for record in records if record.task.prompt_class == name]


def of_place(records, place):
    return [record for record in records if record.task.place == place]


def errors(records):
    """Profiles of one class without utility, which take half of the time."""
    return profiles(records, scales=dict.fromkeys(scales(["object"]), WITHOUT))


def speeds(records):
    return [place.speed_sd for place in errors(records).places]


def test_places_on_one_device_have_one_spread_of_speed(records):
    made = wandering(records)
    local, edge = (of_place(made, place) for place in ("local", "edge"))
    alone = speeds(local) + speeds(edge)
    assert alone[1] > 2 * alone[0] > 0
    assert speeds(made) == pytest.approx([np.sqrt(np.mean(np.square(alone)))] * 2)
    elsewhere = [replace(record, task=replace(record.task, device="other")) for record in made]
    apart = [new if new.task.place == "edge" else old for old, new in zip(made, elsewhere)]
    assert speeds(apart) == alone
    few = [record for record in made if record.task.prompt in ("object 0", "object 1")]
    assert speeds(few) == [0.0, 0.0]
    assert speeds(edge + of_place(few, "local")) == [alone[1]] * 2, "too few have the other's"


def test_profiles_tell_their_classes_and_times(measured):
    assert measured.classes() == set(CLASSES)
    assert measured.times()["edge", "scene"] is measured.find("edge", "scene").time
    assert len(measured.times()) == 6
    message = "no edge profile of prompt class 'x'; there: object, relation, scene"
    with pytest.raises(InputError, match=message):
        measured.find("edge", "x")


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
    metered, not_metered = (
        errors(of_place(World(watts=watts).calibrate(["object"], 4, (0, 1)), "edge"))
        for watts in (50.0, None)
    )
    profile = metered.find("edge", "object")
    assert profile.energy.step_j == pytest.approx(50 * profile.time.step_time, rel=0.03)
    assert profile.energy.law is None and profile.energy.idle_watts is None
    assert profile.power.watts == pytest.approx(50.0, rel=0.02)
    assert not_metered.find("edge", "object").energy is None
