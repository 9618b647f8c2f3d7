"""The execution path on real images: what is recorded of them, whatever the order in which they are
asked for.
"""

from dataclasses import replace

import pytest
import torch

from calibration.records.task import Task
from testbed.config import ModelConfig
from testbed.metrics.quality import distance
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def executor():
    pipeline, _ = open_pipeline(ModelConfig(model="embedded:light"), CPU)
    return Executor({"local": pipeline}, Unscored(), CPU, 4)


def test_images_made_before_their_converged_one_get_their_distance_when_it_is_there(
    executor, tmp_path
):
    asked = {
        "place": "local",
        "model": "embedded:light",
        "revision": None,
        "device": "cpu",
        "dtype": "float32",
        "scheduler": "DDIM",
        "guidance": 3.0,
    }
    first = [
        Task(
            **asked,
            prompt="a big red ball",
            prompt_class="object",
            seed=seed,
            steps=steps,
            purpose="untimed",
        )
        for seed in (0, 1)
        for steps in (1, 3)
    ]
    before = executor.run(first, store := RecordStore(tmp_path), "test")
    assert all(record["measured"]["distance"] is None for record in before)
    converged = replace(first[0], steps=12, purpose="converged")
    after = executor.run([*first, converged], RecordStore(tmp_path), "test")
    for was, record in zip(before, after):
        same = record["asked"]["seed"] == converged.seed
        apart = (
            distance(store.image(record["id"]), RecordStore(tmp_path).image(converged.id))
            if same
            else None
        )
        assert record == {**was, "measured": {**was["measured"], "distance": apart}} and (
            not same or apart > 0
        )
    assert executor.run([*first, converged], RecordStore(tmp_path), "test") == after, (
        "written once, and kept"
    )
    assert executor.run(first, RecordStore(tmp_path), "test") == before, (
        "an earlier round sees again what it saw"
    )
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4 + 1 + 2
