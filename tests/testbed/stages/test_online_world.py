"""Who asks on a stream: the kinds of a scenario's users, at a server, and from any folder."""

import os
from dataclasses import replace

import numpy as np
import pytest

from calibration.arrivals import located
from solver.inputs import InputError
from solver.online import State
from testbed.commands import online
from testbed.runs.folder import RunFolder
from testbed.stages.online.remote import Quoted
from testbed.stages.online.simulate import World
from tests.solver.online.worlds import CALLS, tables


@pytest.fixture(scope="module")
def measured(small_run):
    folder = RunFolder(small_run.folder)
    return folder.profiles(), folder.scenario()


def test_users_of_other_limits_are_kinds_of_their_own(measured):
    profiles, scenario = measured
    first, *others = scenario.users
    same = {"prompt_class": first.prompt_class, "device_class": first.device_class}
    users = [replace(first, user=i, **same) for i, _ in enumerate(scenario.users)]
    alike = World.of(profiles, replace(scenario, users=tuple(users)))
    assert len(alike.labels) == 1 and alike.shares.tolist() == [1.0]
    users[1], users[2] = replace(users[1], deadline=9.0), replace(users[2], deadline=9.0)
    world = World.of(profiles, replace(scenario, users=tuple(users)))
    assert world.labels == alike.labels * 2
    assert world.shares == pytest.approx([2 / len(users), 1 - 2 / len(users)])
    assert world.problem.deadline.tolist() == [9.0, np.inf]


def test_a_kind_that_cannot_be_served_at_home_is_refused_before_anything_is_served(measured):
    profiles, scenario = measured
    limited = replace(scenario, local=replace(scenario.local, max_steps=0))
    with pytest.raises(InputError, match="found no local step count within its limits; allowed"):
        World.of(profiles, limited)


def quoted(seconds):
    world = tables()
    steps = list(range(1, 1 + world.most_steps))
    times = [seconds * count for count in steps]
    edge = {"steps": steps, "seconds": times, "energy_j": times, "harm": [0.0] * len(steps)}
    quote = {"running": 1, "waiting": 0, "edge": edge}
    return State(world, Quoted.of(quote, CALLS, world), 0, 0.0, 0.0)


def test_whom_a_server_serves_slower_than_its_own_device_stays_at_home():
    quick, slow = quoted(1e-3), quoted(1e3)
    assert quick.allowed.all() and slow.allowed[0]
    assert quick.own.argmin() > 0 and slow.own.argmin() == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_quote_of_no_time_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds"):
        quoted(seconds)


def test_a_trace_is_the_same_from_every_folder(tmp_path, monkeypatch):
    (tmp_path / "trace.txt").write_text("Request()\n")
    monkeypatch.chdir(tmp_path)
    assert located("trace.txt") == str(tmp_path / "trace.txt")
    assert located("poisson") == "poisson" and located("no.txt") == "no.txt"
    assert os.path.isabs(located("trace.txt"))


def test_who_is_asked_for_twice_is_served_once():
    from testbed.cli import parser

    args = parser().parse_args(["online", "run", "--policy", "selfish,selfish", "--load", "1,1.0"])
    asked = online._asked(args)
    assert asked.policies == ("selfish",) and asked.loads == (1.0,)
