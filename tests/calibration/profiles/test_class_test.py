"""Do the prompt classes differ: found where they do, and not more often than promised where they do
not.
"""

import numpy as np

from calibration.profiles import build as profile
from calibration.profiles.class_test import differences
from tests.calibration.world import HARDER, World, units


def same(monkeypatch):
    """A world whose classes are all alike."""
    for name in HARDER:
        monkeypatch.setitem(HARDER, name, 0.8)


def test_classes_that_differ_are_found_and_where():
    rows = {
        (row["place"], row["quantity"]): row
        for row in differences(World(seed=1).calibrate(), units())
    }
    assert set(rows) == {
        (place, name) for place in ("local", "edge") for name in ("time", "error", "utility")
    }
    for (
        _,
        name,
    ), row in rows.items():  # the world's classes differ in quality, and take the same time
        assert row["differ"] == (name != "time") and row["prompts"] == 36
        assert row["share"] > 0.3 if name != "time" else row["share"] < 0.3


def test_classes_that_are_alike_are_called_different_as_rarely_as_promised(monkeypatch):
    same(monkeypatch)
    p = [
        row["p"]
        for seed in range(25)
        for row in differences(World(seed=seed).calibrate(prompts=4, steps=[1, 4, 16]), units())
    ]
    assert len(p) == 150 and np.mean(np.array(p) < 0.05) < 0.1 and 0.4 < np.mean(p) < 0.6


def test_what_cannot_be_tested_is_left_out():
    """One class; one prompt of a class; a prompt that is not there at every step count."""
    records = World().calibrate(classes=["object"])
    assert differences(records, units()) == []
    assert differences(World().calibrate(prompts=1), units()) == []
    records = [
        one
        for one in World().calibrate(prompts=3)
        if not (one["asked"]["prompt"] == "scene 0" and one["asked"]["steps"] == 8)
    ]
    assert {row["prompts"] for row in differences(records, units())} == {8}


def test_profiles_say_it():
    built = profile.build(World().calibrate(), units(), {}, {}, {})
    assert len(built["class_differences"]) == 6 and profile.check(built) is built
    del built["class_differences"]  # files of before have none
    assert profile.check(built) is built
