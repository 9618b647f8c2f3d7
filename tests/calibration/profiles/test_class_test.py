"""Do the prompt classes differ: found where they do, and not more often than promised where they do
not.
"""

from dataclasses import replace

import numpy as np

from calibration.profiles.class_test import differences
from calibration.profiles.store import parse
from calibration.records.scale import Scales
from tests.calibration.world import CLASSES, HARDER, MODELS, SCALES, World

OF_CLASS = dict.fromkeys(CLASSES, SCALES)


def same(monkeypatch):
    """A world whose classes are all alike."""
    for name in HARDER:
        monkeypatch.setitem(HARDER, name, 0.8)


def rows(records):
    """{(place, quantity): row} of the world's records."""
    return {
        (place, row.quantity): row
        for place in MODELS
        for row in differences(
            [record for record in records if record.task.place == place], OF_CLASS
        )
    }


def test_classes_that_differ_are_found_and_where():
    measured = rows(World(seed=1).calibrate(steps=[1, 4, 16]))
    assert set(measured) == {
        (place, name) for place in ("local", "edge") for name in ("time", "error", "utility")
    }
    # the world's classes differ in quality, and take the same time
    for (_, name), row in measured.items():
        assert row.differ == (name != "time") and row.prompts == 36
        assert row.share > 0.3 if name != "time" else row.share < 0.3


def test_classes_that_are_alike_are_called_different_as_rarely_as_promised(monkeypatch):
    same(monkeypatch)
    p = [
        row.p
        for seed in range(15)
        for row in rows(World(seed=seed).calibrate(prompts=4, steps=[1, 4, 16])).values()
    ]
    assert len(p) == 90 and np.mean(np.array(p) < 0.05) < 0.1 and 0.4 < np.mean(p) < 0.6


def test_what_cannot_be_tested_is_left_out():
    """One class; one prompt of a class; a prompt that is not there at every step count; a class
    without utility.
    """
    assert rows(World().calibrate(classes=["object"], steps=[1, 8])) == {}
    assert rows(World().calibrate(prompts=1, steps=[1, 8])) == {}
    records = [
        record
        for record in World().calibrate(prompts=3, steps=[1, 8])
        if not (record.task.prompt == "scene 0" and record.task.steps == 8)
    ]
    assert {row.prompts for row in rows(records).values()} == {8}
    partly = {**OF_CLASS, "scene": Scales.without_utility(0.4, "captions match nothing")}
    local = [record for record in records if record.task.place == "local"]
    prompts = {row.quantity: row.prompts for row in differences(local, partly)}
    assert prompts == {"time": 8, "error": 8, "utility": 6}


def test_profiles_say_it(measured):
    assert [len(place.class_differences) for place in measured.places] == [3, 3]
    written = measured.to_dict()
    assert parse(written) == measured
    for place in written["places"]:  # files of before have none
        del place["class_differences"]
    assert [place.class_differences for place in parse(written).places] == [(), ()]


def test_times_of_images_that_are_made_in_batches_do_not_count():
    """Of half of the prompts, all of one class among them, only a batch's time is known."""
    records = World(seed=1).calibrate(steps=[1, 4, 16])
    shared = {record.task.prompt for record in records[:: len(records) // 6]}
    mixed = [
        replace(
            record,
            task=replace(record.task, purpose="untimed"),
            measured=replace(record.measured, time=20 * record.measured.time),
        )
        if record.task.prompt in shared
        else record
        for record in records
    ]
    kept, told = [r for r in records if r.task.prompt not in shared], rows(mixed)
    for place in MODELS:
        assert told[place, "time"] == rows(kept)[place, "time"]
        assert told[place, "error"] == rows(records)[place, "error"]
