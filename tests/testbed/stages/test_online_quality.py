"""Scores of an executed stream where some of the images that they need could not be made."""

from types import SimpleNamespace

import numpy as np
import pytest

from calibration import load_profiles
from calibration.records.record import Measured, Record
from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.config import SweepConfig
from testbed.runs.folder import RunFolder
from testbed.runs.store import RecordStore
from testbed.stages.online.execute import Stage
from tests.conftest import ROOT
from tests.testbed.pipelines_world import Unscored

SPEC = ModelSpec("m", device="cpu", dtype="float32", scheduler="s", guidance=3.0)
SHADES = {1: 20, 2: 40, 9: 80, 30: 160}  # by steps: an image of this grey
EDGE = np.array([True, True, False, False])


class Executor:
    """Makes what is asked for, but for the tasks that ``fail``."""

    def __init__(self, fail):
        self.fail, self.asked = fail, []

    def run(self, tasks, store, _title):
        self.asked += tasks
        for task in tasks:
            if not self.fail(task) and task.id not in store:
                add(store, task.id, task)


def add(store, key, task):
    measured = Measured(0.1, (0.1,) * task.steps, 0.1, 1.0, energy_j=None)
    store.add(Record(key, task, measured), np.full((4, 4, 3), SHADES[task.steps], np.uint8))


def score(folder, fail):
    """Error, utility and the number of requests left out, of two requests at each place."""
    stage = Stage.__new__(Stage)
    stage.folder, stage.profiles = folder, load_profiles(ROOT / "docs" / "profiles.json")
    stage.world = SimpleNamespace(labels=[("object", "phone")])
    stage.pools = {"object": [("a ball", 7), ("a cube", 8)]}
    # the local model is distilled: it has few steps, and images that converge at few
    sweep = SweepConfig(steps=(1, 2, 4), converged_steps=30, local_steps=(1, 2, 4, 9))
    executor = Executor(fail)
    stage.rig = SimpleNamespace(
        config=SimpleNamespace(sweep=sweep),
        specs={"local": SPEC, "edge": SPEC},
        executor=executor,
        quality=SimpleNamespace(clip=Unscored()),
    )
    stream = SimpleNamespace(asked=np.zeros(4, int))
    outcome = SimpleNamespace(edge=EDGE, steps=np.array([1, 2, 1, 2]))
    store = RecordStore(folder.path / "online" / "1", images="")
    for index in (0, 1):
        add(store, f"{index:06d}", stage._task(stream, index, "edge", index + 1))
    live = SimpleNamespace(served=SimpleNamespace(outcome=outcome), store=store)
    return *stage._quality(live, stream), executor.asked, store


def test_converged_images_are_those_of_each_place(tmp_path):
    error, utility, unscored, asked, store = score(RunFolder(tmp_path), lambda task: False)
    converged = {(task.place, task.steps) for task in asked if task.purpose == "converged"}
    assert converged == {("edge", 30), ("local", 9)}
    assert unscored == 0 and error.value > 0 and utility.low <= utility.value <= utility.high
    assert all(record.measured.clip_score == 50.0 for record in store.records())


@pytest.mark.parametrize(
    "fail, left",
    [
        (lambda task: task.purpose == "converged" and task.place == "local", 2),
        (lambda task: task.purpose == "untimed" and task.steps == 1, 1),
        (lambda task: task.purpose == "converged" and task.prompt == "a ball", 2),
    ],
)
def test_requests_whose_images_failed_are_left_out_and_counted(tmp_path, fail, left):
    with pytest.warns(UserWarning, match=f"{left} of 4 requests are left out of error and utility"):
        error, _, unscored, _, _ = score(RunFolder(tmp_path), fail)
    assert unscored == left and error.value > 0


def test_a_stream_without_any_score_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no image that a score needs could be made"):
        score(RunFolder(tmp_path), lambda task: task.purpose == "converged")
