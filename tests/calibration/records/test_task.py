"""Tasks, their ids, and the models they ask for."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.task import ModelSpec, Task
from solver.inputs import InputError
from tests.calibration.world import MODELS

TASK = Task(
    place="edge",
    model="embedded:edge",
    prompt="a red ball",
    prompt_class="object",
    seed=3,
    steps=8,
    device="cpu",
    dtype="float32",
    scheduler="DDIMScheduler",
    guidance=3.0,
)
CHANGES = {
    "place": "local",
    "model": "embedded:light",
    "device": "cuda",
    "dtype": "float16",
    "scheduler": "EulerDiscreteScheduler",
    "prompt": "a red bell",
    "prompt_class": "scene",
    "seed": 4,
    "steps": 9,
    "guidance": 3.5,
    "revision": "main",
    "user": 0,
    "purpose": "user",
}


def test_id_is_the_same_everywhere():
    assert TASK.id == "7d9ac8f52675d18c"


def test_id_depends_on_every_field():
    assert set(CHANGES) == set(TASK.to_dict())
    ids = {Task(**{**TASK.to_dict(), name: value}).id for name, value in CHANGES.items()}
    assert len(ids | {TASK.id}) == len(CHANGES) + 1


@settings(deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(1, 1000),
    st.floats(0, 100),
    st.text('aé球"\\ \n', min_size=1),
)
def test_a_task_survives_json_with_its_id(seed, steps, guidance, prompt):
    task = Task(
        **{**TASK.to_dict(), "seed": seed, "steps": steps, "guidance": guidance, "prompt": prompt}
    )
    again = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task and again.id == task.id


def test_equal_guidance_gives_equal_ids():
    ids = {Task(**{**TASK.to_dict(), "guidance": value}).id for value in (0, 0.0, -0.0)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    "name, value",
    [
        ("steps", 0),
        ("steps", 2.0),
        ("steps", True),
        ("seed", -1),
        ("seed", 2**63),
        ("place", "cloud"),
        ("purpose", "fun"),
        ("prompt", ""),
        ("model", None),
        ("guidance", float("nan")),
        ("guidance", "3"),
        ("user", -1),
        ("revision", ""),
    ],
)
def test_wrong_fields_are_named(name, value):
    with pytest.raises(InputError, match=rf"line 7: {name}: found .*; allowed: "):
        Task.from_dict({**TASK.to_dict(), name: value}, "line 7")


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(InputError, match="'step' is unknown; perhaps you meant 'steps'"):
        Task.from_dict({**TASK.to_dict(), "step": 1})
    with pytest.raises(InputError, match="'seed' is missing"):
        Task.from_dict({name: value for name, value in TASK.to_dict().items() if name != "seed"})
    with pytest.raises(InputError, match="allowed: a table"):
        Task.from_dict([1])


def test_a_model_makes_tasks_and_a_task_gives_it_back():
    spec = ModelSpec.from_dict({**MODELS["edge"].to_dict(), "negative_prompt": "grey"}, "models")
    what = {"prompt": "a red ball", "prompt_class": "object", "seed": 3, "steps": 8}
    task = spec.task(place="edge", purpose="user", user=4, **what)
    assert task.spec == spec
    assert {**spec.to_dict(), **what, "place": "edge", "purpose": "user", "user": 4} == (
        task.to_dict()
    )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"device": None}, "models.edge: device: found None; allowed: a non-empty string"),
        ({"steps": 3}, "models.edge: 'steps' is unknown"),
        ({"guidance": -1}, "models.edge: guidance: found -1; allowed: a number of at least 0"),
        ({"revision": 7}, "models.edge: revision: found 7; allowed: null or a non-empty string"),
    ],
)
def test_wrong_models_are_refused(change, message):
    values = {**MODELS["edge"].to_dict(), **change}
    with pytest.raises(InputError, match=message):
        ModelSpec.from_dict(values, "models.edge")


def test_a_model_needs_all_that_tells_it_from_others():
    with pytest.raises(InputError, match="models.edge: 'device' is missing"):
        ModelSpec.from_dict({"model": "m"}, "models.edge")


def test_what_differs_in_a_target_key():
    """Images of all step counts and purposes share it; another noise or model has another."""
    same = [{"steps": 9}, {"purpose": "user"}, {"user": 1}, {"scheduler": "EulerDiscreteScheduler"}]
    other = [{"seed": 4}, {"model": "m"}, {"revision": "main"}, {"guidance": 2}, {"prompt": "b"}]
    other += [{"place": "local"}, {"negative_prompt": "grey"}]
    key = TASK.target_key
    assert all(Task(**{**TASK.to_dict(), **change}).target_key == key for change in same)
    assert len({key, *(Task(**{**TASK.to_dict(), **change}).target_key for change in other)}) == 8
