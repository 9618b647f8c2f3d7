"""Profiles from records, scenarios from TOML, and the problem made of both."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.profiles import build as profile
from calibration.scenario.devices import DEVICES
from calibration.scenario.scenario import PHONES, Scenario, sites, to_problem
from calibration.scenario.scenario import units as scenario_units
from solver import Problem, solve
from solver.inputs import InputError, write_json
from tests.calibration.world import (
    CLASSES,
    STEP_TIME,
    UNITS,
    World,
    true_error,
    true_time,
    true_utility,
    units,
)


def build(records, classes=CLASSES, **change):
    return profile.build(
        records,
        **{"units": units(classes), "frechet": {}, "metrics": {}, "environment": {}, **change},
    )


@pytest.fixture(scope="module")
def records():
    return World(seed=1).calibrate()


@pytest.fixture(scope="module")
def profiles(records):
    return build(records)


@pytest.fixture(scope="module")
def small():
    """One class, made without noise."""
    return build(
        World(noise=0.0, watts=50.0).calibrate(["object"], prompts=4, seeds=(0, 1)), ["object"]
    )


def one_class(**settings):
    return Scenario.from_dict({"prompt_classes": {"object": 1}, **settings})


# profiles


def test_a_profile_of_exact_records_is_the_truth(small):
    for place in ("local", "edge"):
        found = profile.find(small, place, "object")
        assert found["time"]["overhead"] + found["time"]["step_time"] * 20 == pytest.approx(
            true_time(place, 20), rel=1e-6
        )
        assert found["power"]["watts"] == pytest.approx(50.0) and found["power"][
            "relative_sd"
        ] == pytest.approx(0, abs=1e-9)
        assert found["power"]["meter"] == "replay" and found["power"]["basis"] == "measured"
        assert found["time"]["stages"] == {"text": 0.005, "step": STEP_TIME[place], "decode": 0.01}
        for point in found["error"]["points"]:
            assert (
                point["value"] == pytest.approx(true_error(place, "object", point["steps"]))
                and point["n"] == 8
            )
        at8 = next(point for point in found["clip_score"]["points"] if point["steps"] == 8)
        assert at8["value"] == pytest.approx(60 + 30 * true_utility(place, "object", 8))
    assert profile.find(small, "edge", "object")["error"]["chosen"] == "exponential_floor"
    assert profile.find(small, "local", "object")["error"]["chosen"] == "power"


def test_points_keep_prompts_apart_from_images():
    world = World(seed=4)
    found = build(
        world.calibrate(["object"], prompts=60, seeds=range(4), steps=[2, 6, 20]), ["object"]
    )
    for point in profile.find(found, "edge", "object")["utility"]["points"]:
        assert point["sd_prompt"] == pytest.approx(
            0.05, rel=0.35
        )  # what the world adds to each prompt
        assert point["sd"] == pytest.approx(np.hypot(0.05, 0.04), rel=0.2)
        assert point["se"] == pytest.approx(np.hypot(0.05, 0.04 / 2) / np.sqrt(60), rel=0.25)


def test_repeated_foreign_and_converged_records_change_nothing(records, profiles):
    # an image for a UE with the same task otherwise
    user = {
        **records[5],
        "id": "0" * 16,
        "asked": {**records[5]["asked"], "user": 0, "purpose": "user"},
    }
    assert build([user, *records, *records[:50]]) == profiles
    # converged images are longer than the grid: neither their times nor their zero distances are
    # points
    assert max(point["steps"] for point in profiles["profiles"][0]["time"]["points"]) == 32
    assert all(point["value"] > 0 for point in profiles["profiles"][0]["error"]["points"])


def test_one_prompt_makes_a_profile_that_says_less():
    found = build(World().calibrate(["object"], prompts=1), ["object"])
    for curve in (profile.find(found, "edge", "object")[name] for name in ("error", "utility")):
        assert all(
            point["se"] is None and point["sd"] is None and point["n"] == 1
            for point in curve["points"]
        )
        assert curve["chosen"] in [family["family"] for family in curve["families"]]
    json.dumps(found, allow_nan=False)


def test_frechet_points_go_where_they_belong(records):
    points = [{"steps": 4, "value": 3.2, "n": 12, "low": 2.9, "high": 3.6}]
    few = [record for record in records if record["asked"]["prompt_class"] == "object"]
    found = build(few, ["object"], frechet={("edge", "object"): points})
    assert profile.find(found, "edge", "object")["frechet"]["points"] == points
    assert profile.find(found, "local", "object")["frechet"]["points"] == []


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda r: r.clear(), "no calibration record"),
        (lambda r: r[5]["asked"].update(model="other"), "model: found 'other' and 'light'"),
        (
            lambda r: [one["measured"].update(distance=None) for one in r],
            "local/object: found no record with a value of distance",
        ),
        (
            lambda r: r.__setitem__(slice(None), [one for one in r if one["asked"]["steps"] < 4]),
            "local/object: points: found 2 different",
        ),
        (
            lambda r: r.__setitem__(
                slice(None), [one for one in r if one["asked"]["purpose"] == "converged"]
            ),
            "no record of a sweep",
        ),
    ],
)
def test_records_that_do_not_suffice_are_refused(spoil, message):
    records = World().calibrate(["object"], prompts=2, steps=[1, 2, 4])
    if "model" in message:
        records = [record for record in records if record["asked"]["place"] == "local"]
    spoil(records)
    with pytest.raises(InputError, match=message):
        build(records, ["object"])


def test_missing_or_senseless_units_are_refused(records):
    with pytest.raises(
        InputError, match="local/relation: the units of error and utility are missing"
    ):
        build(
            [record for record in records if record["asked"]["prompt_class"] == "relation"],
            ["object"],
        )
    bad = {key: {**UNITS, "utility_ceiling": 50.0} for key in units(["object"])}
    with pytest.raises(InputError, match="utility_ceiling above utility_floor"):
        build(
            [record for record in records if record["asked"]["prompt_class"] == "object"], units=bad
        )


def test_profiles_survive_their_file_and_broken_ones_are_named(tmp_path, small):
    path = tmp_path / "profiles.json"
    write_json(path, small)
    assert profile.load(path) == small
    for change, message in (
        (lambda d: d.update(schema="profiles/2"), "schema: found 'profiles/2'"),
        (lambda d: d.update(profiles=[]), "profiles: found"),
        (lambda d: d.update(extra=1), "'extra' is unknown"),
        (lambda d: d["profiles"][0].pop("time"), r"profiles\[0\]: 'time' is missing"),
        (lambda d: d["profiles"][1].update(place="cloud"), r"profiles\[1\].place: found 'cloud'"),
        (
            lambda d: d["profiles"][0]["error"].update(chosen="cubic"),
            r"profiles\[0\].error.chosen: found 'cubic'; allowed: exponential",
        ),
        (
            lambda d: d["profiles"][0]["time"].update(step_time="fast"),
            r"profiles\[0\].time.step_time: found 'fast'",
        ),
        (
            lambda d: d["profiles"][0]["time"].update(covariance=[1, 2]),
            r"time.covariance: found \[1, 2\]; allowed: 2 lists of 2 numbers",
        ),
        (lambda d: d["profiles"][0]["power"].update(watts=-1), "power.watts: found -1"),
        (
            lambda d: d["profiles"][0]["error"].update(unit=0),
            "error.unit: found 0; allowed: a number above 0",
        ),
        (
            lambda d: d["profiles"][0]["utility"].update(ceiling=60.0),
            "utility.ceiling: found 60.0; allowed: a number above 60",
        ),
        (lambda d: d["profiles"][0]["error"].update(points=[]), "error.points: found"),
        (
            lambda d: d["profiles"][0]["error"]["points"][2].update(value=None),
            r"error.points\[2\].value: found None; allowed: a finite",
        ),
        (
            lambda d: d["profiles"][0]["utility"]["families"][0].update(family="saturated"),
            "perhaps you meant 'saturating",
        ),
        (
            lambda d: d["profiles"][0]["utility"]["families"][0]["parameters"].pop("rate"),
            "'rate' is missing",
        ),
    ):
        broken = json.loads(json.dumps(small))
        change(broken)
        write_json(path, broken)
        with pytest.raises(InputError, match=message) as raised:
            profile.load(path)
        assert str(path) in str(raised.value)


# scenarios


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(0, 10**6),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.floats(0.1, 10), min_size=1),
    st.dictionaries(st.sampled_from(sorted(DEVICES)), st.integers(1, 9), min_size=1),
)
def test_shares_are_met_to_within_one_ue(users, seed, prompts, devices):
    settings_ = {"users": users, "seed": seed, "prompt_classes": prompts, "device_classes": devices}
    scenario = Scenario.from_dict(settings_)
    for field, shares in (("prompt_class", prompts), ("device_class", devices)):
        counts = Counter(user[field] for user in scenario.users)
        assert sum(counts.values()) == users
        for name, share in shares.items():
            assert abs(counts[name] - users * share / sum(shares.values())) < 1
    assert Scenario.from_dict(settings_) == scenario
    assert Scenario.from_dict(json.loads(json.dumps(scenario.to_dict()))) == scenario


def test_the_default_assignment_is_the_same_everywhere():
    scenario = Scenario.from_dict({})
    assert len(scenario.users) == 30 and scenario.edge_budget == 180
    assert [(user["prompt_class"], user["device_class"]) for user in scenario.users[:3]] == [
        ("relation", "snapdragon-8-gen-3"),
        ("object", "snapdragon-x-elite"),
        ("object", "snapdragon-8-elite-gen-5"),
    ]
    assert Scenario.from_dict({"seed": 1}).users != scenario.users
    assert Counter(user["device_class"] for user in scenario.users) == dict.fromkeys(PHONES, 6)


def test_the_documented_scenario_is_the_default(tmp_path):
    from calibration.scenario.scenario import scenario as module

    block = module.__doc__.split("::\n", 1)[1].split("\nThe cost adds", 1)[0]
    path = tmp_path / "scenario.toml"
    path.write_text("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    documented, default = Scenario.load(path).to_dict(), Scenario.from_dict({}).to_dict()
    shown = {
        "deadline": 2.0,
        "max_error": 0.5,
        "watts": {"snapdragon-8-gen-3": 8.0},
    }  # keys that have no default
    assert documented == {**default, **shown}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"user": 3}, "'user' is unknown; perhaps you meant 'users'"),
        ({"users": 0}, "users: found 0; allowed: a whole number of at least 1"),
        ({"users": 2.5}, "users: found 2.5"),
        ({"users": []}, "users: found none"),
        ({"weights": {"const": 1}}, "weights: 'const' is unknown; .*'cost'"),
        ({"weights": {"cost": -1}}, "weights.cost: found -1"),
        ({"device_classes": {"snapdragon-8-gen3": 1}}, "perhaps you meant 'snapdragon-8-gen-3'"),
        ({"device_classes": {}}, "device_classes: found none"),
        ({"prompt_classes": {"a": 0}}, "prompt_classes.a: found 0"),
        ({"local": {"max_step": 3}}, "local: 'max_step' is unknown; perhaps you meant 'max_steps'"),
        ({"edge": {"max_steps": -1}}, "edge.max_steps: found -1"),
        ({"edge": 5}, "edge: found 5; allowed: a table"),
        ({"time_unit": "seconds"}, "time_unit: found 'seconds'; allowed: .*'auto'"),
        ({"energy_unit": 0}, "energy_unit: found 0"),
        ({"deadline": float("inf")}, "deadline: found inf"),
        ({"max_error": 0}, "max_error: found 0"),
        ({"edge_budget": -5}, "edge_budget: found -5"),
        ({"seed": "x"}, "seed: found 'x'"),
        ({"edge_watts": True}, "edge_watts: found True"),
        (
            {"users": [{"prompt_class": "a", "device_class": "phone"}]},
            r"users\[0\]: device_class: 'phone' is unknown",
        ),
        ({"users": [{"device_class": "server-core"}]}, r"users\[0\]: prompt_class: found None"),
        (
            {"users": [{"user": 1, "prompt_class": "a", "device_class": "server-core"}]},
            r"users\[0\]: user: found 1",
        ),
        ({"schema": "scenario/9"}, "schema"),
    ],
)
def test_wrong_scenarios_are_refused_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as raised:
        Scenario.from_dict(values, "s.toml")
    assert str(raised.value).startswith("s.toml: ") and "\n" not in str(raised.value)


def test_files_that_are_no_scenario_are_named(tmp_path):
    with pytest.raises(InputError, match="none.toml: no such file"):
        Scenario.load(tmp_path / "none.toml")
    path = tmp_path / "broken.toml"
    path.write_text("users = = 3")
    with pytest.raises(InputError, match="broken.toml: not a readable TOML file"):
        Scenario.load(path)
    write_json(tmp_path / "scenario.json", Scenario.from_dict({"users": 4}).to_dict())
    assert Scenario.load(tmp_path / "scenario.json").users == Scenario.from_dict({"users": 4}).users


def test_device_ratios_are_the_published_step_times():
    assert DEVICES["snapdragon-8-elite-gen-5"].ratio == pytest.approx(2 * 0.0448 * 24.9, abs=0.005)
    assert DEVICES["snapdragon-7-gen-4"].ratio == pytest.approx(9.16, abs=0.005)
    assert (
        DEVICES["jetson-agx-orin"].ratio == pytest.approx(9.94 * 2.18, abs=0.005)
        and "SDXL" in DEVICES["jetson-agx-orin"].source
    )
    assert DEVICES["rtx-4090-compiled"].ratio == pytest.approx(24.9 / 33.5, abs=0.005)
    assert (
        DEVICES["rtx-4090"].ratio == 1 and DEVICES["rtx-4090"].basis == "emulated"
    )  # the reference, but not the machine measured
    assert DEVICES["snapdragon-x-elite"].decode_time == 0.264
    assert DEVICES["server-core"].ratio == 1 and DEVICES["server-core"].basis == "measured"
    assert all(
        device.basis == "emulated" and device.source
        for device in DEVICES.values()
        if device.name != "server-core"
    )


# problems


def test_the_default_problem_is_worth_solving(profiles):
    problem = Problem.from_dict(to_problem(profiles, Scenario.from_dict({})))
    allocation = solve(problem)
    assert allocation.status == "optimal" and 5 <= sum(allocation.offload) <= 25
    assert len(set(allocation.steps)) >= 4 and allocation.edge_steps_used > 150


def test_a_problem_holds_the_profiles_curves_and_the_devices_ratios(profiles):
    scenario = Scenario.from_dict({"device_classes": {"snapdragon-8-gen-3": 1, "server-core": 1}})
    problem = Problem.from_dict(to_problem(profiles, scenario))
    for n, user in enumerate(scenario.users):
        ratio = DEVICES[user["device_class"]].ratio
        assert problem.time("local")[n, 9] == pytest.approx(
            ratio * true_time("local", 10), rel=0.02
        )
        assert problem.time("edge")[n, 9] == pytest.approx(true_time("edge", 10), rel=0.02)
        assert problem.error("edge")[n, 9] == pytest.approx(
            true_error("edge", user["prompt_class"], 10), rel=0.25
        )
        assert problem.utility("local")[n, 15] == pytest.approx(
            true_utility("local", user["prompt_class"], 16), abs=0.06
        )
    assert problem.error("local").min() >= 0 and problem.utility("edge").max() <= 1


def test_auto_units_make_the_mean_local_request_one(profiles):
    scenario = Scenario.from_dict({"weights": {"time": 0.3, "energy": 0.1}})
    problem = Problem.from_dict(to_problem(profiles, scenario))
    assert problem.weights["time"] * problem.time("local")[:, 15].mean() == pytest.approx(0.3)
    assert problem.weights["energy"] * problem.energy("local")[:, 15].mean() == pytest.approx(0.1)
    fixed = Scenario.from_dict({"time_unit": 2.0, "energy_unit": 100})
    assert scenario_units(profiles, fixed) == {"time_unit": 2.0, "energy_unit": 100.0}
    assert to_problem(profiles, fixed)["weights"]["energy"] == pytest.approx(0.002)


def test_power_is_measured_only_on_the_device_that_was_metered(small, profiles):
    mixed = one_class(
        users=4,
        device_classes={"server-core": 1, "snapdragon-8-elite": 1},
        watts={"snapdragon-8-elite": 7.0},
        edge_watts=33,
    )
    for site in sites(small, mixed):
        phone = site["device_class"] == "snapdragon-8-elite"
        assert site["local_watts"] == pytest.approx(7.0 if phone else 50.0)
        assert site["local_power_basis"] == ("modelled" if phone else "measured")
        assert site["time_basis"] == ("emulated" if phone else "measured")
        assert (site["edge_power_basis"], site["edge_watts"]) == ("measured", pytest.approx(50.0))
    unmetered = sites(profiles, mixed)[0]
    assert (unmetered["edge_power_basis"], unmetered["edge_watts"]) == ("modelled", 33)


def test_steps_beyond_the_measured_grid_are_refused(small):
    with pytest.raises(
        InputError,
        match="edge.max_steps: found 33; allowed: at most 32, the largest step count measured for edge/object",
    ):
        to_problem(small, one_class(edge={"max_steps": 33}))
    assert to_problem(small, one_class(edge={"max_steps": 32}))["edge"]["max_steps"] == 32


def test_steps_below_the_measured_grid_are_not_offered():
    found = build(
        World(noise=0.0).calibrate(["object"], prompts=3, steps=[4, 8, 16, 32]), ["object"]
    )
    problem = Problem.from_dict(to_problem(found, one_class(users=3)))
    assert (
        np.isinf(problem.cost("edge")[:, :3]).all()
        and np.isfinite(problem.cost("edge")[:, 3]).all()
    )


def test_a_class_without_profile_is_named(small):
    with pytest.raises(InputError, match="no local profile of prompt class 'scene'; there: object"):
        to_problem(small, Scenario.from_dict({"prompt_classes": {"scene": 1}}))


def test_limits_reach_the_problem(small):
    limited = to_problem(
        small, one_class(users=2, deadline=0.3, max_error=0.4, local={"max_steps": 0})
    )
    problem = Problem.from_dict(limited)
    allowed = np.isfinite(problem.cost("edge"))
    assert (problem.time("edge")[allowed] <= 0.3).all() and (
        problem.error("edge")[allowed] <= 0.4
    ).all()
    assert 0 < allowed.sum() < allowed.size and not np.isfinite(problem.cost("local")).any()
