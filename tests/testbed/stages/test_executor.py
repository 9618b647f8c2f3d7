"""The execution path on real images: what is recorded of them, in whatever order they are made."""

from dataclasses import replace

import pytest
import torch

from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.metrics.pixels import distance
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored

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
