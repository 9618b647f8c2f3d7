"""Predicted against measured for users whose images two models share."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.profiles.profile import SharedLatents
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.validation.validation import Validation
from calibration.validation.verdicts import failures
from solver import evaluate
from solver.inputs import InputError
from tests.calibration.validation.setting import Setting, total
from tests.calibration.world import World
from tests.calibration.world import profiles as profiles_of

DEVICES = {"fast": {"ratio": 1.5, "watts": 5.0, "source": "made up"}}
CLASSES = ("object", "relation")


@pytest.fixture(scope="module")
def profiles():
    world = World(watts=40.0)
    records = world.calibrate(CLASSES, steps=[1, 2, 4, 8, 16, 32])
    records += world.calibrate_splits((4, 8, 16), CLASSES)
    return profiles_of(records, CLASSES, shared=SharedLatents("a", "b", (4, 8, 8)))


def setting_of(profiles, users):
    """Every second user is given a split, the others a place, whatever is best."""
    scenario = Scenario.from_dict(
        {
            "prompt_classes": dict.fromkeys(CLASSES, 1),
            "device_classes": {"fast": 1, "server-core": 1},
            "devices": DEVICES,
            "users": users,
            "edge_budget": 100 * users,
            "link": "way",
            "links": {"way": {"transfer_time": 0.02, "transfer_energy": 0.1}},
        }
    )
    problem = to_problem(profiles, scenario)
    offload, steps, edge_steps = [], [], []
    for n in range(users):
        name = problem.names[n % 4]
        offload.append(n % 4)
        split = problem.splits.get(name)
        j = 0 if split is None else n % len(split.steps)
        steps.append(5 if split is None else int(split.steps[j]))
        edge_steps.append((0, 5)[n % 4] if split is None else int(split.edge_steps[j]))
    allocation = evaluate(problem, offload, steps, edge_steps=edge_steps)
    return Setting(profiles, scenario, problem, allocation)


@pytest.fixture(scope="module")
def setting(profiles):
    return setting_of(profiles, 24)


def run(setting, world, **extra):
    splits = setting.problem.splits
    records = world.execute(setting.scenario, setting.allocation, 2, splits)
    return setting.validate(records, **extra), records


def test_predictions_are_the_problems_and_measured_values_those_of_both_places(setting):
    validation, records = run(setting, World(seed=3, watts=40.0))
    problem, allocation = setting.problem, setting.allocation
    served = sites(setting.profiles, setting.scenario)
    shared = [user for user in validation.users if user.split]
    assert len(shared) == len(validation.users) / 2
    for user in shared:
        name, n = problem.names[allocation.offload[user.user]], user.user
        split, site = problem.splits[name], served[n]
        pairs = list(zip(split.steps.tolist(), split.edge_steps.tolist()))
        j = pairs.index((allocation.steps[n], allocation.edge_steps[n]))
        for quantity in ("time", "energy", "error", "utility"):
            promised = getattr(problem, quantity)(name)[n, j]
            assert user.quantity(quantity).predicted == pytest.approx(promised, rel=1e-12)
        own = [record.measured for record in records if record.task.user == n]
        handed = [each.handover for each in own]
        sent = 0.04 if split.first == "local" else 0.02
        seconds = np.mean([site.local.ratio * h.local_time + h.edge_time for h in handed])
        assert user.time.measured == pytest.approx(seconds + sent)
        assert user.place == "edge" and user.images == 2
        assert ("emulated" in user.time.basis) == (site.device.name != "server-core")
        if site.device.name == "server-core":  # all metered, by one meter
            joules = np.mean([each.energy_j for each in own]) + 5 * sent
            assert user.energy.measured == pytest.approx(joules)
    for quantity in ("time", "energy", "error", "utility"):
        assert total(validation, quantity).predicted == pytest.approx(getattr(allocation, quantity))
    assert total(validation, "objective").predicted == pytest.approx(allocation.objective)
    assert Validation.from_dict(validation.to_dict()) == validation


def test_intervals_hold_the_measured_values_and_a_slower_world_fails_in_time_alone(profiles):
    setting = setting_of(profiles, 60)
    covered = [run(setting, World(seed=seed, watts=40.0))[0] for seed in range(3)]
    inside = [
        getattr(user, name).inside
        for validation in covered
        for user in validation.users
        if user.split
        for name in ("time", "error", "utility")
    ]
    assert 0.88 < np.mean(inside) <= 1
    assert not any(failures(validation) for validation in covered)
    slow = failures(run(setting, World(seed=1, watts=40.0, slower=1.2))[0])
    assert slow and all("time" in line or "energy" in line or "objective" in line for line in slow)


def test_only_images_that_were_split_alike_count(setting):
    _, records = run(setting, World(seed=3, watts=40.0))
    other = [
        replace(record, task=replace(record.task, split=None, local_model=None))
        for record in records
        if record.task.split
    ]
    validation = setting.validate(other)
    assert all(not user.images for user in validation.users)


def test_a_split_that_was_not_measured_is_refused(setting):
    known = setting.profiles.splits
    fewer = {name: points[:1] for name, points in known.classes.items()}
    profiles = replace(setting.profiles, splits=replace(known, classes=fewer))
    with pytest.raises(InputError, match="profiles: splits: found no .* of .*allowed: what sweep"):
        replace(setting, profiles=profiles).validate([])
