"""Tasks and their ids; the order and the completeness of a sweep."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.task import Task
from calibration.sweep.grid import SEEDS, sweep
from solver.inputs import InputError
from tests.calibration.world import MODEL, MODELS

TASK = Task(
    place="edge",
    model="embedded:edge",
    prompt="a red ball",
    prompt_class="object",
    seed=3,
    steps=8,
    **MODEL,
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


PROMPTS = {"object": ["a", "b", "c"], "scene": ["d"]}


def test_a_sweep_has_every_combination_once():
    tasks = sweep(MODELS, PROMPTS, [5, 6], [1, 4, 16], 50, "shared")
    asked = Counter((t.place, t.prompt_class, t.prompt, t.seed, t.steps, t.purpose) for t in tasks)
    wanted = [
        (place, name, prompt, seed, steps, "converged" if steps == 50 else "sweep")
        for place in MODELS
        for name, prompts in PROMPTS.items()
        for prompt in prompts
        for seed in (5, 6)
        for steps in (1, 4, 16, 50)
    ]
    assert asked == Counter(wanted)
    assert len({task.id for task in tasks}) == len(tasks) == 64


def test_the_converged_image_comes_before_its_grid_and_places_alternate():
    tasks = sweep(MODELS, PROMPTS, [5, 6], [1, 4, 16], 50, "shared")
    reached = set()
    for task in tasks:
        key = (task.place, task.prompt, task.seed)
        assert (key not in reached) == (task.purpose == "converged")
        reached.add(key)
    assert [task.place for task in tasks] == ["local", "edge"] * 32
    assert [task.prompt for task in tasks[::8]] == [
        "a",
        "d",
        "b",
        "d",
        "c",
        "a",
        "b",
        "c",
    ]  # classes in turns


def test_each_prompt_and_seed_has_a_noise_of_its_own_that_all_its_images_begin_with():
    tasks = sweep(MODELS, PROMPTS, [5, 6], [1, 4, 16], 50)
    noises = {}
    for task in tasks:
        noises.setdefault(task.prompt, set()).add(task.seed)
    assert (
        all(len(some) == 2 for some in noises.values()) and len(set().union(*noises.values())) == 8
    )
    assert all(0 <= seed < SEEDS for some in noises.values() for seed in some)
    shared = sweep(MODELS, PROMPTS, [5, 6], [1, 4, 16], 50, "shared")
    assert {task.seed for task in shared} == {5, 6} and len(shared) == len(tasks)


def test_every_second_grid_runs_backwards():
    tasks = [
        task
        for task in sweep(MODELS, PROMPTS, [5, 6], [4, 1, 16], 50, "shared")
        if task.place == "edge"
    ]
    assert [task.steps for task in tasks[:8]] == [50, 1, 4, 16, 50, 16, 4, 1]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": []}, "steps: found .*at least one"),
        ({"steps": [0]}, "steps: found 0;"),
        ({"steps": [2.5]}, "steps: found 2.5;"),
        ({"steps": [4, 4]}, "steps: found 4 twice"),
        ({"seeds": []}, "seeds: found"),
        ({"seeds": [1, 1]}, "seeds: found 1 twice"),
        ({"seeds": [True]}, "seeds: found True"),
        ({"seeds": [SEEDS]}, "seeds: found 1000000; allowed: .*from 0 to 999999"),
        ({"prompts": {}}, "prompts: found"),
        ({"prompts": {"scene": []}}, "prompts.scene: found"),
        ({"prompts": {"scene": ["a", "a"]}}, "prompts.scene: found 'a' twice"),
        ({"prompts": {"scene": [""]}}, "prompts.scene: found ''"),
        (
            {"converged_steps": 16},
            "converged_steps: found 16; allowed: a whole number above the grid's largest, 16",
        ),
        ({"converged_steps": 99.0}, "converged_steps: found 99.0"),
        ({"models": {}}, "models: found"),
        ({"models": {"egde": MODELS["edge"]}}, "'egde' is unknown; perhaps you meant 'edge'"),
        ({"models": {"edge": {"model": "m"}}}, "models.edge: 'device' is missing"),
        ({"models": {"edge": {**MODELS["edge"], "steps": 3}}}, "models.edge: 'steps' is unknown"),
    ],
)
def test_wrong_plans_are_refused_in_one_line(change, message):
    plan = {
        "models": MODELS,
        "prompts": PROMPTS,
        "seeds": [0],
        "steps": [1, 4, 16],
        "converged_steps": 50,
    }
    with pytest.raises(InputError, match=message) as raised:
        sweep(**{**plan, **change})
    assert "\n" not in str(raised.value)
