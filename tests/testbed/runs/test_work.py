"""What is made of an interrupted or a grown sweep, and what may not be fitted together."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest

from calibration.records.record import Record
from calibration.records.task import ModelSpec
from calibration.sweep.calls import plan
from calibration.sweep.grid import sweep
from solver.inputs import InputError
from testbed.environment import alike
from testbed.runs.store import RecordStore
from testbed.runs.work import check_setups, interrupted, open_calls
from tests.testbed.runs.world import IMAGE, record

LIGHT = ModelSpec("light", device="cpu", dtype="float32", scheduler="DDIM", guidance=3.0)
MODELS = {"local": LIGHT, "edge": replace(LIGHT, model="heavy")}
PROMPTS = {"object": [f"ball {index}" for index in range(60)]}


def calls(steps, batched=tuple(MODELS)):
    """The calls of a sweep's images that are compared with converged ones."""
    return plan(sweep(MODELS, PROMPTS, [0], steps, timed=2), 2, batched)[1]


def ids(of_calls):
    return {task.id for call in of_calls for task in call.tasks}


@pytest.mark.parametrize("batched", [tuple(MODELS), ()])
def test_a_sweep_that_has_grown_makes_only_what_is_missing(batched):
    before, grown = ids(calls([1, 2, 3], batched)), calls([1, 2, 3, 5], batched)
    wanted = ids(grown) - before
    made = open_calls(grown, before, (), (), processes=1)
    assert ids(made) == wanted and sum(len(call.tasks) for call in made) == len(wanted)
    assert all(call.tasks for call in made)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_call_that_an_interruption_left_half_done_is_made_as_a_whole(processes):
    every = calls([1, 2, 3])
    long = [call for call in every if len(call.tasks) > 2]
    left = {call.tasks[-1].id for call in long[:processes]}
    assert open_calls(every, ids(every) - left, (), (), processes) == long[:processes]
    # what failed is none of it
    made = open_calls(every, ids(every) - left, (), left, processes)
    assert ids(made) == left


def check(folder, kept, tasks, **now):
    """Hold ``tasks`` against a store with records of ``kept``, each with its environment."""
    store = RecordStore(folder)
    for task, environment in kept.items():
        store.add(Record(task.id, task, record("any").measured, environment), IMAGE)
    machine = {"machine": "AMD EPYC 7B13", "torch": "2.9"} | now
    check_setups(store, tasks, {"local": {}, "edge": {}}, machine, {})


def tasks(purpose="sweep", seeds=2):
    about = {"place": "local", "prompt": "a ball", "prompt_class": "object", "steps": 3}
    return [LIGHT.task(**about, seed=seed, purpose=purpose) for seed in range(seeds)]


def test_images_that_are_missing_are_not_timed_on_another_machine(tmp_path):
    first, second = tasks()
    other = {first: {"machine": "AMD EPYC 7B12", "torch": "2.9"}}
    with pytest.raises(InputError, match="local: found images that were timed on 'AMD EPYC 7B12'"):
        check(tmp_path / "resumed", other, [first, second])
    # a fit takes all of a sweep, also what is not asked for any more
    with pytest.raises(InputError, match="allowed: the same machine, or another --out"):
        check(tmp_path / "changed", other, [second])
    check(tmp_path / "finished", other, [first])
    check(tmp_path / "untimed", other, tasks("untimed"))
    user = {task: other[first] for task in tasks("user", 1)}
    check(tmp_path / "another allocation", user, tasks("user")[1:])
    check(tmp_path / "another model", {replace(first, revision="b"): other[first]}, [second])


@pytest.mark.parametrize(
    "name, before, now, way_back",
    [
        ("memory", "whole", "sliced", "set memory = 'whole'"),
        ("link", "lte by tun", "lte by relay", "allowed: the preset and method of .link."),
        ("resolution", "64x64", "128x128", "allowed: a server that makes images of that size"),
    ],
)
def test_a_set_up_that_changed_is_told_how_it_is_put_back(tmp_path, name, before, now, way_back):
    store, (task, _) = RecordStore(tmp_path), tasks()
    store.add(Record(task.id, task, record("any").measured, {"pipeline": {name: before}}), IMAGE)
    with pytest.raises(InputError, match=f"local.{name}: was '{before}' .* '{now}'; {way_back}"):
        check_setups(store, [task], {"local": {name: now}}, {}, {})


@pytest.mark.parametrize(
    "environment", [{}, {"machine": None}, {"machine": "AMD EPYC"}, {"machine": "AMD EPYC 7B13"}]
)
def test_older_records_and_shorter_names_are_no_other_machine(tmp_path, environment):
    first, second = tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(tmp_path, {first: environment}, [first, second])


def test_another_torch_or_number_of_threads_is_warned_of(tmp_path):
    first, second = tasks()
    now = {"machine": "AMD EPYC 7B13", "torch": "2.8", "threads": 2}
    with pytest.warns(UserWarning, match="timed with torch 2.8, and others are now with 2.9"):
        check(tmp_path, {first: now}, [first, second])
    with pytest.warns(UserWarning, match="timed with threads 2, and others are now with 1"):
        check_setups(
            RecordStore(tmp_path),
            [first, second],
            {"local": {}},
            now,
            {"local": SimpleNamespace(single=1)},
        )


@pytest.mark.parametrize(
    "name, other, same",
    [
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel Xeon Processor", True),
        ("AMD EPYC", "AMD EPYC 9B14 96-Core Processor", True),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100", True),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", False),
        ("AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.20GHz", False),
    ],
)
def test_names_of_one_kind_of_processor(name, other, same):
    assert alike(name, other) == alike(other, name) == same


def test_an_image_whose_timing_was_interrupted_is_the_last_one_that_stands_out(tmp_path):
    """A run that was killed after the first line of a disturbed image once kept its time."""
    store, asked = RecordStore(tmp_path), tasks(seeds=8)
    for task in asked:
        disturbed = 9.0 if task in (asked[0], asked[-1]) else 0.0
        measured = replace(record("any").measured, time=0.8 + disturbed, step_times=(0.2,) * 3)
        store.add(Record(task.id, task, measured), IMAGE)
    last = asked[-1].id
    assert interrupted(store, asked, 1, 3) == interrupted(store, asked, 2, 3) == {last}
    assert interrupted(store, asked[:-1], 1, 3) == interrupted(store, asked, 1, 1) == set()
    again = replace(store[last].measured, attempts=3)
    store.write(replace(store[last], measured=again))
    assert interrupted(RecordStore(tmp_path), asked, 1, 3) == set()
