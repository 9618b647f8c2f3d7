"""The way to an edge behind a network is part of an offloaded image's time, and of no other's."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import solver
from calibration.links import LINKS
from calibration.profiles.profile import Profiles
from calibration.records.record import Record, Transfer
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.validation.validate import validate
from tests.calibration.world import World, profiles

ROUND_TRIP, BASE, PER_BYTE = 0.02, 0.045, 2e-6
CLASSES = ("object", "scene")


def carried(records, seed=0, slower=1.0):
    """The records with a way to both places, of answers of about 40 and 80 kB by class."""
    draw = np.random.default_rng(seed)
    return [replace(record, measured=_carried(record, draw, slower)) for record in records]


def _carried(record, draw, slower):
    size = int(draw.uniform(35e3, 45e3)) * (1 + (record.task.prompt_class == "scene"))
    seconds = slower * (BASE + PER_BYTE * size + abs(draw.normal(0, 0.001)))
    transfer = Transfer(
        round_trip=0.0,  # without one there is no slow start, so that the sum below is exact
        connect=ROUND_TRIP,
        send=0.0,
        wait=record.measured.time + seconds - ROUND_TRIP,
        receive=0.0,
        bytes_up=400,
        bytes_down=size,
        server=record.measured.time,
        basis="emulated",
        link="made up",
    )
    return replace(record.measured, transfer=transfer)


@pytest.fixture(scope="module")
def linked():
    records = World(1).calibrate(CLASSES, steps=[1, 2, 4, 8, 16, 32])
    return profiles(carried(records), CLASSES)


def scenario(**change):
    shares = dict.fromkeys(CLASSES, 1)
    return Scenario.from_dict({"users": 12, "edge_budget": 120, "prompt_classes": shares, **change})


def test_the_transfer_is_that_of_the_users_class(linked, measured):
    far, near = (to_problem(each, scenario()) for each in (linked, measured))
    added = np.asarray(far.edge.transfer_time) - np.asarray(near.edge.transfer_time)
    sizes = {"object": 40e3, "scene": 80e3}
    for user, name in enumerate(far.labels["prompt_class"]):
        assert added[user] == pytest.approx(BASE + PER_BYTE * sizes[name], rel=0.05)
    assert (np.asarray(far.local.transfer_time) == np.asarray(near.local.transfer_time)).all()


def test_a_radio_that_sleeps_is_modelled_and_said_to_be(linked):
    slept, none = (to_problem(linked, scenario(**radio)) for radio in ({"radio": "lte"}, {}))
    added = np.asarray(slept.edge.transfer_time) - np.asarray(none.edge.transfer_time)
    assert added == pytest.approx(LINKS["lte"].radio.cold_time)
    joules = LINKS["lte"].radio.joules(400, 40e3)
    assert np.asarray(slept.edge.transfer_energy) == pytest.approx(joules, rel=0.01)
    assert not np.asarray(none.edge.transfer_energy).any()
    bases = sites(linked, scenario(radio="lte"))[0].edge.way.bases
    assert bases == ("emulated", "modelled")


def test_a_radio_without_a_network_to_the_edge_is_said_to_add_nothing(linked, measured):
    with pytest.warns(UserWarning, match="radio: found 'lte', which adds nothing"):
        to_problem(measured, scenario(radio="lte"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_problem(linked, scenario(radio="lte"))


def check(linked, slower=1.0, **change):
    """The users' validation and its total time, where transfers are so many times as long."""
    asked = scenario(**change)
    problem = to_problem(linked, asked)
    allocation = solver.solve(problem)
    records = carried(World(7).execute(asked, allocation), 7, slower)
    validation = validate(problem, allocation, linked, asked, records)
    return [user for user in validation.users if user.place == "edge"], validation.totals[0]


def test_offloaded_times_are_predicted_with_their_way_and_a_slower_link_is_noticed(linked):
    users, total = check(linked)
    assert len(users) >= 3 and total.inside
    assert all(user.time.basis == "emulated and measured" for user in users)
    assert abs(total.relative_error) < 0.03
    assert not any(user.time.inside for user in check(linked, slower=3.0)[0])


def test_what_is_not_known_of_the_way_is_the_same_for_all_users(linked):
    """It once averaged out among users, as if each had measured the way alone."""
    place = linked.get("edge")
    unsure = replace(place.transfer, covariance=((0.05**2, 0.0), (0.0, 0.0)))
    places = tuple(
        replace(each, transfer=unsure) if each is place else each for each in linked.places
    )
    users, total = check(replace(linked, places=places))
    _, sure = check(linked)
    half, known = ((row.high - row.low) / 2 for row in (total, sure))
    shared = 1.96 * 0.05 * len(users)
    assert half == pytest.approx(np.hypot(known, shared), rel=0.15) and shared > 2 * known
    for user in users:
        assert (user.time.high - user.time.low) / 2 > 0.9 * 1.96 * 0.05


def test_the_modelled_start_of_a_radio_stands_on_both_sides(linked):
    users, total = check(linked, radio="lte", weights={"time": 0.0})
    assert users and total.inside and "modelled" in total.basis


def test_profiles_and_records_keep_the_way_and_older_ones_have_none(linked):
    assert Profiles.from_dict(linked.to_dict()) == linked
    record = carried(World(1).calibrate(["object"], 2, steps=[1, 2]))[0]
    assert Record.from_dict(record.to_dict()) == record
    older = World(1).calibrate(["object"], 2, steps=[1, 2])[0].to_dict()
    assert "transfer" not in older["measured"]
    assert Record.from_dict(older).measured.transfer is None
