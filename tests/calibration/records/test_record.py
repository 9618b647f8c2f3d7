"""Records as lines of JSON, and what of them a list of tasks asked for."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.record import Record, as_of
from calibration.records.scale import Scale, Scales
from solver.inputs import InputError
from tests.calibration.mutations import mutations, read_or_refused
from tests.calibration.world import World, record

LINE = {
    "id": "0123456789abcdef",
    "asked": {
        **{"place": "edge", "model": "m", "device": "cpu", "dtype": "float32", "seed": 1},
        **{"scheduler": "DDIMScheduler", "prompt": "a ball", "prompt_class": "object"},
        **{"steps": 2, "guidance": 3.0, "revision": None, "user": None, "purpose": "sweep"},
    },
    "measured": {
        **{"text_time": 0.1, "step_times": [0.2, 0.3], "decode_time": 0.1, "time": 0.7},
        **{"energy_j": 5.0, "energy_parts_j": {"package-0": 5.0}, "clock_hz": 2e9},
        **{"meter": "RAPL", "batch": 1, "clip_score": 31.5, "distance": 0.2},
    },
    "environment": {"machine": "a", "pipeline": {"resolution": 64}, "idle_watts": None},
    "image": "images/0123456789abcdef.png",
}


def test_a_line_survives_as_it_is():
    read = Record.from_dict(json.loads(json.dumps(LINE)), "line 1")
    assert read.task.steps == 2 and read.measured.step_times == (0.2, 0.3)
    assert read.to_dict() == LINE


def test_a_line_without_an_image_says_nothing_of_one():
    stored = Record.from_dict(LINE)
    assert "image" not in dataclasses.replace(stored, image=None).to_dict()


def test_an_older_line_is_read():
    newer = ("energy_parts_j", "clock_hz", "batch")
    old = {name: value for name, value in LINE["measured"].items() if name not in newer}
    measured = Record.from_dict({**LINE, "measured": old}).measured
    assert (measured.energy_parts_j, measured.clock_hz, measured.batch) == (None, None, 1)


def test_a_served_request_has_times_and_no_quality():
    served = {"engine": "batched", "arrival": 0.5, "queue_time": 0.25, "service_time": 1.0}
    served |= {"end_to_end_time": 1.25, "batch": 2.5}
    quality = ("clip_score", "distance")
    measured = {name: value for name, value in LINE["measured"].items() if name not in quality}
    line = {**LINE, "measured": {**measured, **served}}
    assert Record.from_dict(line).to_dict() == line


@pytest.mark.parametrize(
    "part, change, message",
    [
        ("asked", {"steps": 0}, "asked.steps: found 0; allowed: a whole number of at least 1"),
        ("measured", {"time": "1"}, "measured.time: found '1'; allowed: a finite number"),
        ("measured", {"step_times": [1, None]}, r"measured.step_times\[1\]: found None; allowed"),
        ("measured", {"tim": 1}, "measured: 'tim' is unknown; perhaps you meant 'time'"),
        ("environment", {"idle_watts": float("nan")}, "environment.idle_watts: found nan; allowed"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(part, change, message):
    with pytest.raises(InputError, match=f"^r.jsonl: line 3: {message}"):
        Record.from_dict({**LINE, part: {**LINE[part], **change}}, "r.jsonl: line 3")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_line_is_read_or_refused(data):
    read_or_refused(Record.from_dict, data.draw(mutations(LINE)))


def test_a_distance_counts_only_where_the_tasks_ask_for_its_converged_image():
    world = World()
    tasks = [record(prompt=prompt, steps=steps).task for prompt in "ab" for steps in (1, 2)]
    converged = record(prompt="a", steps=96, purpose="converged").task
    records = [world.record(task) for task in (converged, *tasks)]
    known = as_of([converged, *tasks], records)
    assert known[:3] == records[:3]
    assert [each.measured.distance for each in known[3:]] == [None, None]
    assert [each.measured.clip_score for each in known] == [
        each.measured.clip_score for each in records
    ]
    with pytest.raises(ValueError):
        as_of(tasks, records)


def test_scales_count_from_0_to_1():
    scales = Scales.of(error_unit=0.4, utility_floor=60.0, utility_ceiling=90.0)
    assert (scales.error.of(0.1), scales.utility.of(75.0)) == (0.25, 0.5)
    assert scales.error.of(None) is None and scales.utility.unit == 30.0
    assert Scales.from_dict(scales.to_dict()) == scales


@pytest.mark.parametrize(
    "values, message",
    [
        ((0.0, 60.0, 90.0), "error.full: found 0.0; allowed: above error.zero, 0.0"),
        ((0.4, 90.0, 60.0), "utility.full: found 60.0; allowed: above utility.zero, 90.0"),
    ],
)
def test_a_scale_without_extent_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Scales.of(*values)
    error, utility = Scale("distance", 0.0, values[0]), Scale("clip_score", *values[1:])
    written = {"error": error.to_dict(), "utility": utility.to_dict()}
    with pytest.raises(InputError, match=f"p.json: {message}"):
        Scales.from_dict(written, "p.json")
