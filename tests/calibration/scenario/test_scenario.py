"""Scenarios from TOML and JSON: defaults, shares and the drawing of users, refusals."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.scenario import scenario as scenario_module
from calibration.scenario.devices import DEVICES
from calibration.scenario.scenario import PHONES, Scenario
from solver.inputs import InputError, write_json


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(0, 10**6),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.floats(0.1, 10), min_size=1),
    st.dictionaries(st.sampled_from(sorted(DEVICES)), st.integers(1, 9), min_size=1),
)
def test_shares_are_met_to_within_one_user(users, seed, prompts, devices):
    settings_ = {"users": users, "seed": seed, "prompt_classes": prompts, "device_classes": devices}
    scenario = Scenario.from_dict(settings_)
    for field, shares in (("prompt_class", prompts), ("device_class", devices)):
        counts = Counter(getattr(user, field) for user in scenario.users)
        assert sum(counts.values()) == users
        for name, share in shares.items():
            assert abs(counts[name] - users * share / sum(shares.values())) < 1
    assert Scenario.from_dict(settings_) == scenario
    assert Scenario.from_dict(json.loads(json.dumps(scenario.to_dict()))) == scenario


def test_the_default_assignment_is_the_same_everywhere():
    scenario = Scenario.from_dict({})
    assert len(scenario.users) == 30 and scenario.edge_budget == 180
    assert [(user.prompt_class, user.device_class) for user in scenario.users[:3]] == [
        ("relation", "snapdragon-8-gen-3"),
        ("object", "snapdragon-x-elite"),
        ("object", "snapdragon-8-elite-gen-5"),
    ]
    assert Scenario.from_dict({"seed": 1}).users != scenario.users
    assert Counter(user.device_class for user in scenario.users) == dict.fromkeys(PHONES, 6)


def test_the_documented_scenario_is_the_default(tmp_path):
    block = scenario_module.__doc__.split("::\n", 1)[1].split("\nThe cost adds", 1)[0]
    path = tmp_path / "scenario.toml"
    path.write_text("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    documented, default = Scenario.load(path).to_dict(), Scenario.from_dict({}).to_dict()
    shown = {
        "deadline": 2.0,
        "max_error": 0.5,
        "radio": "lte",
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


def test_shares_whose_sum_overflows_are_proportions_too():
    plain, large = (
        Scenario.from_dict(
            {"users": 9, "prompt_classes": {"object": share, "scene": 2 * share}}
        ).users
        for share in (0.5, 0.5e308)
    )
    assert plain == large
