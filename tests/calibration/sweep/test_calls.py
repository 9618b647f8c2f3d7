"""Which images are made together follows from the list of tasks alone, and loses none."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from calibration.sweep.calls import GROUP, plan, shares
from calibration.sweep.grid import sweep
from tests.calibration.world import MODELS

TASKS = sweep(
    MODELS, {"object": [f"prompt {i}" for i in range(30)]}, [0], [1, 2, 4, 9], 20, timed=3
)


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


def test_timed_images_are_spread_over_the_whole_sweep():
    """All at its beginning, they would not see how the speed of the machine drifts."""
    _, rest = plan(TASKS, 2, ["local", "edge"])
    at = [index for index, call in enumerate(rest) if call.kind == "single"]
    others = [index for index, call in enumerate(rest) if call.kind == "batched"]
    assert len(others) >= 10 and len(at) == 24
    assert at[0] <= 1 and at[-1] >= len(rest) - 2
    assert max(after - before for before, after in zip(at, at[1:])) <= 3
    assert [rest[index].tasks[0] for index in at] == [t for t in TASKS if t.purpose == "sweep"]


@given(st.integers(1, 5), st.integers(1, 9))
def test_processes_share_groups_evenly_and_whole(processes, cap):
    calls = list(chain(*plan(TASKS, cap, ["edge"])))
    dealt = shares(calls, processes)
    assert sorted(map(id, chain(*dealt))) == sorted(map(id, calls))
    load = [sum(call.evaluations for call in share) for share in dealt]
    assert max(load) - min(load) <= max(call.evaluations for call in calls)
