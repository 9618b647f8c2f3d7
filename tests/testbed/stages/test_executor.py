"""The execution path on real images: what is recorded of them, in whatever order they are made."""

import time
from dataclasses import replace

import pytest
import torch

from calibration.records.split import Split
from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.metering.meters import NoMeter
from testbed.metrics.pixels import distance
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored
from tests.testbed.stages.world import records

CPU = torch.device("cpu")
LIGHT = ModelSpec("embedded:light", device="cpu", dtype="float32", scheduler="DDIM", guidance=3.0)


@pytest.fixture(scope="module")
def executor():
    pipeline, _ = open_pipeline(ModelConfig(model="embedded:light"), CPU)
    return Executor({"local": pipeline}, Unscored(), CPU, 4)


def task(seed, steps, purpose="untimed"):
    return LIGHT.task(
        place="local",
        prompt="a big red ball",
        prompt_class="object",
        seed=seed,
        steps=steps,
        purpose=purpose,
    )


def test_images_made_before_their_converged_one_get_their_distance_when_it_is_there(
    executor, tmp_path
):
    first = [task(seed, steps) for seed in (0, 1) for steps in (1, 3)]
    before = executor.run(first, store := RecordStore(tmp_path), "test")
    assert all(record.measured.distance is None for record in before)
    converged = task(0, 12, "converged")
    after = executor.run([*first, converged], RecordStore(tmp_path), "test")
    for was, record in zip(before, after):
        same = record.task.seed == converged.seed
        target = RecordStore(tmp_path).image(converged.id) if same else None
        apart = distance(store.image(record.id), target) if same else None
        assert record == replace(was, measured=replace(was.measured, distance=apart))
        assert not same or apart > 0
    assert executor.run([*first, converged], RecordStore(tmp_path), "test") == after, (
        "written once, and kept"
    )
    assert executor.run(first, RecordStore(tmp_path), "test") == before, (
        "an earlier round sees again what it saw"
    )
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4 + 1 + 2


def test_records_of_a_pipeline_that_was_set_up_otherwise_are_not_mixed_with_new_ones(
    executor, tmp_path
):
    (record,) = executor.run([task(0, 1)], store := RecordStore(tmp_path), "test")
    other = {**record.environment["pipeline"], "memory": "sliced"}
    store.write(replace(record, environment={**record.environment, "pipeline": other}))
    with pytest.raises(InputError, match="local.memory: was 'sliced' when this run began"):
        executor.run([task(0, 1), task(1, 1)], store, "test")


class Calls(NoMeter):
    """Counts the calls that are measured, and how often networks were evaluated in the last one."""

    calls = steps = 0

    def start(self):
        self.calls, self.steps = self.calls + 1, 0


@pytest.mark.usefixtures("timed_again")
@pytest.mark.parametrize("split", [None, Split("local", 3)])
def test_an_image_whose_step_waited_is_timed_again_split_or_not(split, tmp_path):
    pipelines = {
        place: open_pipeline(ModelConfig(f"embedded:{name}"), CPU)[0]
        for place, name in (("local", "light"), ("edge", "edge"))
    }
    meter = Calls()

    def wait(*_):
        meter.steps += 1
        if (meter.calls, meter.steps) == (3, 5):  # calls before are the warm-up
            time.sleep(1.0)

    for pipeline in pipelines.values():
        pipeline.unet.register_forward_pre_hook(wait)
    asked = replace(LIGHT, model="embedded:edge").task(
        place="edge",
        prompt="a big red ball",
        prompt_class="object",
        seed=0,
        steps=6,
        purpose="user",
        user=0,
        split=split,
        local_model=LIGHT if split else None,
    )
    executor = Executor(pipelines, Unscored(), CPU, 4, meter)
    (record,) = executor.run([asked], RecordStore(tmp_path), "test")
    first = records(tmp_path / "records.jsonl")[0]["measured"]
    assert first["time"] > 1.0 and "attempts" not in first
    assert record.measured.attempts > 1 and record.measured.time < first["time"]
