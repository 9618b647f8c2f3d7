"""The problem made of profiles and a scenario."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.scenario.devices import DEVICES
from calibration.scenario.problem import Units, to_problem, units
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import measured_steps, sites
from solver import solve
from solver.inputs import InputError
from tests.calibration.world import World, true_error, true_time, true_utility
from tests.calibration.world import profiles as profiles_of


def one_class(**settings):
    return Scenario.from_dict({"prompt_classes": {"object": 1}, **settings})


def test_the_default_problem_is_worth_solving(measured):
    problem = to_problem(measured, Scenario.from_dict({}))
    allocation = solve(problem)
    assert allocation.status == "optimal" and 5 <= sum(allocation.offload) <= 25
    assert len(set(allocation.steps)) >= 4 and allocation.edge_steps_used > 150


def test_step_limits_that_are_left_open_are_at_most_what_was_measured(measured):
    (place, other), few = measured.places, [1, 2, 4, 8]
    classes = tuple(
        replace(entry, error=cut(entry.error, few), utility=cut(entry.utility, few))
        for entry in place.classes
    )
    shorter = replace(measured, places=(replace(place, classes=classes), other))
    most = measured_steps(shorter)
    assert most == {place.place: 8, other.place: 32}
    scenario = Scenario.from_dict({"users": 3}, measured=most)
    assert {"local": scenario.local.max_steps, "edge": scenario.edge.max_steps} == {
        "local": min(16, most["local"]),
        "edge": most["edge"],
    }
    with pytest.raises(InputError, match="max_steps: found .*; allowed: at most 8"):
        to_problem(shorter, Scenario.from_dict({"users": 3}))
    to_problem(shorter, scenario)
    own = {"users": 3, "local": {"max_steps": 9}}
    assert Scenario.from_dict(own, measured=most).local.max_steps == 9, "what is given stays"


def cut(fit, steps):
    """A fit with the points at these steps alone."""
    return replace(fit, points=tuple(point for point in fit.points if point.steps in steps))


def test_a_problem_holds_the_profiles_curves_and_the_devices_ratios(measured):
    scenario = Scenario.from_dict({"device_classes": {"snapdragon-8-gen-3": 1, "server-core": 1}})
    problem = to_problem(measured, scenario)
    for n, user in enumerate(scenario.users):
        ratio = DEVICES[user.device_class].ratio
        assert problem.time("local")[n, 9] == pytest.approx(
            ratio * true_time("local", 10), rel=0.02
        )
        assert problem.time("edge")[n, 9] == pytest.approx(true_time("edge", 10), rel=0.02)
        assert problem.error("edge")[n, 9] == pytest.approx(
            true_error("edge", user.prompt_class, 10), rel=0.25
        )
        assert problem.utility("local")[n, 15] == pytest.approx(
            true_utility("local", user.prompt_class, 16), abs=0.06
        )
    assert problem.error("local").min() >= 0 and problem.utility("edge").max() <= 1


def test_auto_units_make_the_mean_local_request_one(measured):
    scenario = Scenario.from_dict({"weights": {"time": 0.3, "energy": 0.1}})
    problem = to_problem(measured, scenario)
    assert problem.weights["time"] * problem.time("local")[:, 15].mean() == pytest.approx(0.3)
    assert problem.weights["energy"] * problem.energy("local")[:, 15].mean() == pytest.approx(0.1)
    fixed = Scenario.from_dict({"time_unit": 2.0, "energy_unit": 100})
    assert units(measured, fixed) == Units(time_unit=2.0, energy_unit=100.0)
    assert to_problem(measured, fixed).weights["energy"] == pytest.approx(0.002)


def test_power_is_measured_only_on_the_device_that_was_metered(exact, measured):
    mixed = one_class(
        users=4,
        device_classes={"server-core": 1, "snapdragon-8-elite": 1},
        watts={"snapdragon-8-elite": 7.0},
        edge_watts=33,
    )
    for site in sites(exact, mixed):
        phone = site.user.device_class == "snapdragon-8-elite"
        assert site.local.watts == pytest.approx(7.0 if phone else 50.0)
        assert site.local.power_basis == ("modelled" if phone else "measured")
        assert site.local.time_basis == ("emulated" if phone else "measured")
        assert (site.edge.power_basis, site.edge.watts) == ("measured", pytest.approx(50.0))
    unmetered = sites(measured, mixed)[0].edge
    assert (unmetered.power_basis, unmetered.watts) == ("modelled", 33)


def test_steps_beyond_the_measured_grid_are_refused(exact):
    message = (
        "edge.max_steps: found 33; allowed: at most 32, "
        "the largest step count measured for edge/object"
    )
    with pytest.raises(InputError, match=message):
        to_problem(exact, one_class(edge={"max_steps": 33}))
    assert to_problem(exact, one_class(edge={"max_steps": 32})).edge.max_steps == 32


def test_steps_below_the_measured_grid_are_not_offered():
    records = World(noise=0.0).calibrate(["object"], prompts=3, steps=[4, 8, 16, 32])
    problem = to_problem(profiles_of(records, ["object"]), one_class(users=3))
    assert (
        np.isinf(problem.cost("edge")[:, :3]).all()
        and np.isfinite(problem.cost("edge")[:, 3]).all()
    )


def test_a_class_without_profile_is_named(exact):
    with pytest.raises(InputError, match="no local profile of prompt class 'scene'; there: object"):
        to_problem(exact, Scenario.from_dict({"prompt_classes": {"scene": 1}}))


def test_limits_reach_the_problem(exact):
    problem = to_problem(
        exact, one_class(users=2, deadline=0.3, max_error=0.4, local={"max_steps": 0})
    )
    allowed = np.isfinite(problem.cost("edge"))
    assert (problem.time("edge")[allowed] <= 0.3).all() and (
        problem.error("edge")[allowed] <= 0.4
    ).all()
    assert 0 < allowed.sum() < allowed.size and not np.isfinite(problem.cost("local")).any()
