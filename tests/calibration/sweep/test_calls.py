"""Which images are made together follows from the list of tasks alone, and loses none."""

from dataclasses import replace
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.sweep.calls import GROUP, plan, shares
from calibration.sweep.grid import split_tasks, sweep
from tests.calibration.world import MODELS

TASKS = sweep(
    MODELS, {"object": [f"prompt {i}" for i in range(30)]}, [0], [1, 2, 4, 9], 20, timed=3
)


@settings(max_examples=40)
@given(st.integers(1, 40), st.sets(st.sampled_from(["local", "edge"])))
def test_every_image_is_made_once_and_converged_ones_before_those_that_need_them(cap, batched):
    first, rest = plan(TASKS, cap, batched)
    made = [task for call in (*first, *rest) for task in call.tasks]
    assert len(made) == len(TASKS) and {task.id for task in made} == {task.id for task in TASKS}
    assert {task.purpose for call in first for task in call.tasks} == {"converged"}
    for call in (*first, *rest):
        assert len({task.place for task in call.tasks}) == 1
        if call.kind == "single":
            assert [task.purpose for task in call.tasks] == ["sweep"]
        elif call.kind == "stock":
            assert call.place not in batched and len(call.tasks) <= cap
            assert len({(task.purpose, task.steps) for task in call.tasks}) == 1
        else:
            assert call.place in batched and len(call.tasks) <= GROUP * cap
            steps = [task.steps for task in call.tasks]
            assert steps == sorted(steps, reverse=True), "short ones fill the batch at the end"


def test_split_images_are_made_with_others_that_are_split_alike():
    splits = split_tasks(MODELS, {"object": [f"prompt {i}" for i in range(5)]}, [0], [2, 8])
    assert len({task.id for task in splits}) == len(splits) == 5 * (2 + 6)
    user = replace(splits[0], purpose="user", user=1)
    first, rest = plan([*TASKS, *splits, user], 3, ["local", "edge"])
    made = [call for call in rest if call.split]
    alone, *together = sorted(made, key=lambda call: call.kind != "single")
    assert alone.tasks == (user,) and not any(call.split for call in first)
    assert sum(len(call.tasks) for call in together) == len(splits)
    for call in together:
        assert call.kind == "stock" and len(call.tasks) <= 3
        assert len({(task.split, task.steps) for task in call.tasks}) == 1
    _, rest = plan([*TASKS, *splits], 3, ["local", "edge"])
    assert [call for call in rest if not call.split] == plan(TASKS, 3, ["local", "edge"])[1]


def test_timed_images_are_spread_over_the_whole_sweep():
    """All at its beginning, they would not see how the speed of the machine drifts."""
    _, rest = plan(TASKS, 2, ["local", "edge"])
    at = [index for index, call in enumerate(rest) if call.kind == "single"]
    others = [index for index, call in enumerate(rest) if call.kind == "batched"]
    assert len(others) >= 10 and len(at) == 24
    assert at[0] <= 1 and at[-1] >= len(rest) - 2
    assert max(after - before for before, after in zip(at, at[1:])) <= 3
    assert [rest[index].tasks[0] for index in at] == [t for t in TASKS if t.purpose == "sweep"]


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 9))
def test_processes_share_groups_evenly_and_whole(processes, cap):
    calls = list(chain(*plan(TASKS, cap, ["edge"])))
    dealt = shares(calls, processes)
    assert sorted(map(id, chain(*dealt))) == sorted(map(id, calls))
    load = [sum(call.evaluations for call in share) for share in dealt]
    assert max(load) - min(load) <= max(call.evaluations for call in calls)
