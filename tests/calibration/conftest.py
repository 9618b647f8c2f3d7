"""Profiles of the made-up testbed that several rooms' tests share, made once for all processes."""

import pytest

from calibration.profiles.store import load, save
from tests.calibration.world import World, profiles
from tests.conftest import make_once


@pytest.fixture(scope="session")
def kept(tmp_path_factory, worker_id):
    """``kept(name, make)``: the profiles that ``make`` makes, from a file; see ``make_once``."""

    def of(name, make):
        folder = make_once(
            name, lambda folder: save(folder / "profiles.json", make()), tmp_path_factory, worker_id
        )
        return load(folder / "profiles.json")

    return of


def swept():
    """Records of three classes, 12 prompts each, at both places."""
    return World(seed=1).calibrate(steps=[1, 2, 4, 8, 16, 32])


@pytest.fixture(scope="session")
def measured(kept):
    """Profiles of the records that :func:`swept` gives."""
    return kept("measured", lambda: profiles(swept()))


@pytest.fixture(scope="session")
def exact(kept):
    """Profiles of one class, made without noise, of 50 W."""

    def make():
        world = World(noise=0.0, watts=50.0)
        return profiles(world.calibrate(["object"], prompts=4, seeds=(0, 1)), ["object"])

    return kept("exact", make)
