"""Profiles in files: both versions of the format, and what is wrong with a broken one."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.costs.batch import fit_batching
from calibration.profiles.profile import DistancePoint, Distances, Extrapolated
from calibration.profiles.store import load, parse, save
from calibration.sweep.outcome import SweepOutcome, SweepRound, SweepWidth
from solver.inputs import InputError, write_json
from tests.calibration.mutations import mutations, read_or_refused
from tests.calibration.world import World, profiles

POINTS = (
    DistancePoint(4, 9.5, 9.0, 10.0, 12, True, None, Extrapolated(8.0, 7.5, None), None),
    DistancePoint(8, 9.0, None, None, 12, False, "too few", None, "too few"),
)
WIDTH = SweepWidth("object", "error", "scale", 0.4, None, False)


def outcome(*rounds):
    last = rounds[-1].evaluations if rounds else None
    return SweepOutcome(0.1, tuple(rounds), last, last and 10 * last, (WIDTH,))


@pytest.fixture(scope="module")
def full():
    """Profiles of one class with all that a file can hold."""
    timings = ([1, 1, 1, 2, 2, 2], [1.0, 1.01, 0.99, 1.5, 1.51, 1.52])
    return profiles(
        World(seed=1, watts=50.0).calibrate(["object"], 3, (0, 1), steps=[1, 4, 8, 32]),
        ["object"],
        distances={("edge", "object"): Distances(POINTS, POINTS[:1], POINTS[:1])},
        environment={"machine": "a", "threads": 2, "nested": {"list": [1, None, "x"]}},
        batch=fit_batching(timings, timings, timings, memory=1e9),
        sweeps={"local": outcome(SweepRound(10, 40), SweepRound(20, 90))},
    )


@pytest.fixture(scope="module")
def version1(full):
    """The same as a ``profiles/1`` file told it."""
    return as_version1(full)


def as_version1(made):
    entries, differences, widths = [], [], []
    for place in made.places:
        tests = place.to_dict()["class_differences"]
        differences += [{"place": place.place, **row} for row in tests]
        widths += [
            {"place": place.place, **row.to_dict()}
            for row in (place.sweep and place.sweep.widths) or ()
        ]
        entries += [entry(place, profile) for profile in place.classes]
    plan = made.places[0].sweep
    return {
        "schema": "profiles/1",
        "environment": made.environment,
        "metrics": made.metrics.to_dict(),
        "profiles": entries,
        "class_differences": differences,
        "plan": plan and {**plan.to_dict(), "widths": widths},
    }


def entry(place, profile):
    values, scales = profile.to_dict(), profile.scales
    written = {name: getattr(place, name) for name in ("place", "model", "device", "dtype")}
    written |= {name: values[name] for name in ("prompt_class", "power", "energy")}
    written["time"] = {**values["time"], "wander": place.speed_sd}
    written["error"] = {"unit": scales.error.full, **values["error"]}
    floor, ceiling = scales.utility.zero, scales.utility.full
    written["utility"] = {"floor": floor, "ceiling": ceiling, **values["utility"]}
    for name in ("clip_score", "frechet", "kid", "cmmd"):
        written[name] = {"points": values[name]}
    written["frechet"]["note"] = "Comparable only at equal sample size."
    if place.batch is not None:
        batch = place.batch.to_dict()
        written["batching"] = {**batch.pop("tick"), **batch}
    return written


def test_profiles_survive_their_file(tmp_path, full):
    save(tmp_path / "profiles.json", full)
    assert load(tmp_path / "profiles.json") == full
    assert json.loads((tmp_path / "profiles.json").read_text())["schema"] == "profiles/2"


def test_the_old_version_says_the_same(tmp_path, full, version1):
    write_json(tmp_path / "profiles.json", version1)
    assert load(tmp_path / "profiles.json") == full


def test_an_old_sweep_of_two_places_told_only_its_sums(version1):
    values = copy.deepcopy(version1)
    (width,) = values["plan"]["widths"]
    values["plan"]["widths"].append({**width, "place": "edge", "reached": True})
    local, edge = parse(values).places
    assert local.sweep == outcome()
    assert edge.sweep.widths[0].reached and not local.sweep.widths[0].reached
    assert (edge.sweep.rounds, edge.sweep.evaluations) == ((), None)


def test_the_first_files_of_the_old_version_lacked_fields(full, version1):
    values = copy.deepcopy(version1)
    for name in ("class_differences", "plan"):
        del values[name]
    for written in values["profiles"]:
        for name in ("energy", "kid", "cmmd"):
            del written[name]
        written.pop("batching", None)
        for part, name in (("time", "wander"), ("time", "lack_of_fit"), ("error", "misfit")):
            del written[part][name]
    read = parse(values)
    for place in read.places:
        assert (place.speed_sd, place.batch, place.sweep, place.class_differences) == (
            (0.0, None, None, ())
        )
    profile = read.find("edge", "object")
    assert (profile.energy, profile.kid, profile.time.lack_of_fit) == (None, (), None)
    assert profile.error.families == full.find("edge", "object").error.families


def test_a_place_of_an_old_file_may_have_an_environment_of_its_own(version1):
    values = copy.deepcopy(version1)
    values["profiles"][0]["environment"] = {"machine": "b"}
    values["profiles"][1]["environment"] = values["environment"]
    assert [place.environment for place in parse(values).places] == [{"machine": "b"}, None]


def test_classes_of_two_machines_are_no_place(version1):
    values = copy.deepcopy(version1)
    values["profiles"].append({**values["profiles"][0], "prompt_class": "scene", "device": "cuda"})
    message = (
        r"p.json: profiles\[2\].device: found 'cuda'; allowed: as in the other classes of local"
    )
    with pytest.raises(InputError, match=message):
        parse(values, "p.json")


MISSING = object()
PLACE = "places.0"
ENTRY = "profiles.0"
BROKEN = [
    ("schema", "profiles/3", "schema: found 'profiles/3'; allowed: 'profiles/2'"),
    ("places", [], "places: found []; allowed: a list of at least one"),
    ("extra", 1, "'extra' is unknown"),
    (f"{PLACE}.place", "cloud", "places[0].place: found 'cloud'; allowed: local, edge"),
    (f"{PLACE}.place", "edge", "places: found 'edge' 2 times; allowed: once"),
    (f"{PLACE}.classes.0.time.step_time", "fast", "classes[0].time.step_time: found 'fast'"),
    (f"{PLACE}.classes.0.scales.error.full", 0, "scales.error.full: found 0.0; allowed: above"),
    (f"{PLACE}.classes.0.error.chosen", "cubic", "error.chosen: found 'cubic'; allowed: expon"),
    ("places.1.batch.tick.points", [], "places[1].batch.tick.points: found []"),
]
BROKEN_OLD = [
    ("profiles", [], "profiles: found []; allowed: a list of at least one"),
    ("profiles", {}, "profiles: found {}; allowed: a list of at least one"),
    ("metrics", {"error": {}}, "metrics: 'utility' is missing"),
    ("environment", "H100", "environment: found 'H100'; allowed: a table"),
    (ENTRY, 7, "profiles[0]: found 7; allowed: a table"),
    (f"{ENTRY}.time", MISSING, "profiles[0]: 'time' is missing"),
    (f"{ENTRY}.time", {}, "profiles[0].time: 'overhead' is missing"),
    ("profiles.1.place", "cloud", "profiles[1].place: found 'cloud'"),
    (f"{ENTRY}.error.chosen", "cubic", "profiles[0].error.chosen: found 'cubic'; allowed: expon"),
    (f"{ENTRY}.time.step_time", "fast", "profiles[0].time.step_time: found 'fast'"),
    (f"{ENTRY}.time.covariance", [1, 2], "time.covariance[0]: found 1; allowed: a list of 2"),
    (f"{ENTRY}.power.watts", -1, "power.watts: found -1"),
    (f"{ENTRY}.energy.step_j", -1.0, "energy.step_j: found -1.0; allowed: a number of at least 0"),
    (f"{ENTRY}.error.unit", 0, "error.unit: found 0; allowed: a number above 0"),
    (f"{ENTRY}.utility.ceiling", 60.0, "utility.ceiling: found 60.0; allowed: a number above 60"),
    (f"{ENTRY}.error.points", [], "error.points: found []"),
    (f"{ENTRY}.error.points.2.value", None, "error.points[2].value: found None; allowed: a finite"),
    (f"{ENTRY}.utility.families.0.family", "saturated", "perhaps you meant 'saturating"),
    (f"{ENTRY}.utility.families.0.parameters", {}, "parameters: found none; allowed: rate"),
    (f"{ENTRY}.frechet.points", [{"steps": 1}], "frechet.points[0]: 'value' is missing"),
]


def changed(values, path, value):
    values = copy.deepcopy(values)
    *parents, last = path.split(".")
    part = values
    for key in parents:
        part = part[int(key) if isinstance(part, list) else key]
    if value is MISSING:
        del part[last]
    else:
        part[int(last) if isinstance(part, list) else last] = value
    return values


@pytest.mark.parametrize("path, value, message", BROKEN)
def test_what_is_wrong_is_named(tmp_path, full, path, value, message):
    refused(tmp_path, changed(full.to_dict(), path, value), message)


@pytest.mark.parametrize("path, value, message", BROKEN_OLD)
def test_what_is_wrong_with_an_old_file_is_named(tmp_path, version1, path, value, message):
    refused(tmp_path, changed(version1, path, value), message)


def refused(tmp_path, values, message):
    path = tmp_path / "profiles.json"
    write_json(path, values)
    with pytest.raises(InputError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value)


def test_what_is_no_profile_is_refused():
    for values in (None, [], "profiles/2", {}, {"schema": "profiles/1"}):
        with pytest.raises(InputError, match="^profiles: "):
            parse(values)


@pytest.fixture(scope="module")
def version2(full):
    """With one of the places."""
    return replace(full, places=full.places[1:]).to_dict()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(version2, version1, data):
    valid = data.draw(st.sampled_from((version2, version1)), label="version")
    read_or_refused(parse, data.draw(mutations(valid)))
