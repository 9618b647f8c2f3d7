"""The order and the completeness of a sweep."""

from collections import Counter

import pytest

from calibration.sweep.grid import SEEDS, noise_seed, sweep
from solver.inputs import InputError
from tests.calibration.world import MODELS

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
    assert all(len(seeds) == 2 for seeds in noises.values())
    every = set().union(*noises.values())
    assert len(every) == 8 and all(0 <= seed < SEEDS for seed in every)
    shared = sweep(MODELS, PROMPTS, [5, 6], [1, 4, 16], 50, "shared")
    assert {task.seed for task in shared} == {5, 6} and len(shared) == len(tasks)


def test_every_second_grid_runs_backwards():
    tasks = [
        task
        for task in sweep(MODELS, PROMPTS, [5, 6], [4, 1, 16], 50, "shared")
        if task.place == "edge"
    ]
    assert [task.steps for task in tasks[:8]] == [50, 1, 4, 16, 50, 16, 4, 1]


def test_the_first_prompts_are_timed_and_a_sweep_that_grows_keeps_every_task():
    """With more prompts or seeds an image must not change its purpose: it would be made twice."""
    wider = {"object": [*PROMPTS["object"], "e"], "scene": ["d", "f"]}
    small, more = (
        sweep(MODELS, prompts, seeds, [1, 4, 16], 50, timed=2)
        for prompts, seeds in ((PROMPTS, [5]), (wider, [5, 6]))
    )
    timed = {(task.prompt_class, task.prompt) for task in small if task.purpose == "sweep"}
    assert timed == {("object", "a"), ("object", "b"), ("scene", "d")}
    assert {task.id for task in small} < {task.id for task in more}
    first = {noise_seed(text, 5) for text in ("a", "b", "d", "f")}
    assert {task.seed for task in more if task.purpose == "sweep"} == first
    assert Counter(task.purpose for task in small) == {"converged": 8, "sweep": 18, "untimed": 6}


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
    ],
)
def test_wrong_sweeps_are_refused_in_one_line(change, message):
    arguments = {
        "models": MODELS,
        "prompts": PROMPTS,
        "seeds": [0],
        "steps": [1, 4, 16],
        "converged_steps": 50,
    }
    with pytest.raises(InputError, match=message) as raised:
        sweep(**{**arguments, **change})
    assert "\n" not in str(raised.value)


def test_a_place_has_steps_of_its_own():
    own = {"local": ([1, 2], 4)}
    tasks = sweep(MODELS, PROMPTS, [5], [2, 8, 16], 50, own=own)
    steps = {
        place: Counter((task.steps, task.purpose) for task in tasks if task.place == place)
        for place in MODELS
    }
    assert steps["local"] == {(1, "sweep"): 4, (2, "sweep"): 4, (4, "converged"): 4}
    assert set(steps["edge"]) == {
        (2, "sweep"),
        (8, "sweep"),
        (16, "sweep"),
        (50, "converged"),
    }
    with pytest.raises(InputError, match="converged_steps: found 2; allowed: a whole number above"):
        sweep(MODELS, PROMPTS, [5], [2, 8], 50, own={"local": ([1, 2], 2)})
