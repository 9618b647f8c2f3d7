"""The edge as a server: what batches cost is measured, and the completion of requests predicted
from it.
"""

import pytest
import torch

from calibration.costs.batch import fit_batching
from calibration.records.task import Task
from testbed.config import ModelConfig
from testbed.engines.stock import generate
from testbed.engines.timing import time_batches
from testbed.meters import NoMeter
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages.batch import RUNS, serve

PROMPTS = ["a big red ball in the middle", "a small blue star at the top"]


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def fit(pipeline):
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 2, 4], rounds=4)
    return fit_batching(timings.tick, timings.text, timings.decode, timings.memory)


@pytest.mark.parametrize("order, rate", [("first_come", None), ("shortest", 20.0)])
def test_users_are_served_with_the_images_of_the_stock_pipeline_and_times_that_follow_from_the_batches(
    pipeline, fit, tmp_path, order, rate
):
    asked = {
        "place": "edge",
        "model": "m",
        "device": "cpu",
        "dtype": "float32",
        "scheduler": "s",
        "prompt_class": "c",
        "guidance": 3.0,
    }
    tasks = [
        Task(**asked, prompt=PROMPTS[i % 2], seed=i, steps=2 + i % 3, user=i, purpose="user")
        for i in range(6)
    ]
    store = RecordStore(tmp_path)
    for task in tasks:
        done = generate(pipeline, [task.prompt], [task.seed], task.steps, 3.0, NoMeter())
        store.add({"id": task.id, "asked": task.to_dict(), "measured": {}}, done.images[0])
    found = serve(pipeline, fit, 0.1, tasks, order, rate, store)
    assert found["images"]["compared"] == 6 and found["images"]["largest_difference"] <= 1
    assert len(found["runs"]) == RUNS and [row["steps"] for row in found["requests"]] == [
        2,
        3,
        4,
        2,
        3,
        4,
    ]
    assert [row["quantity"] for row in found["totals"]] == [
        "makespan",
        "time (sum)",
        "makespan, drift removed",
        "time (sum), drift removed",
    ]
    raw, moved = found["totals"][:2], found["totals"][2:]
    for a, b in zip(raw, moved):
        assert a["measured"] == b["measured"]
        if (
            rate is None
        ):  # else much of the time is waiting for requests, which is not the machine's
            assert (a["high"] - a["low"]) / a["predicted"] > 0.15, (
                "a machine whose speed may differ by a tenth"
            )
    for row in (
        found["requests"] + found["totals"]
    ):  # other programs may slow this machine manyfold, not by orders of magnitude
        assert (
            row["low"] <= row["predicted"] <= row["high"]
            and 0.05 < row["measured"] / row["predicted"] < 20
        )
