"""The edge as a server: the completion of requests is predicted from what batches cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.costs.batch import fit_batching
from calibration.records.record import Record
from calibration.records.task import ModelSpec
from calibration.serving.serving import ServingRequest
from testbed.client.exchange import ServerFault
from testbed.config import ModelConfig
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Failed
from testbed.engines.stock import generate
from testbed.engines.timing import time_batches
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages import batch
from testbed.stages.batch import serve

PROMPTS = ["a big red ball in the middle", "a small blue star at the top"]
SPEC = ModelSpec("m", device="cpu", dtype="float32", scheduler="s", guidance=3.0)


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def cost(pipeline):
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 2, 4], rounds=4)
    return fit_batching(timings.tick, timings.text, timings.decode, timings.memory)


def of_users(count):
    return [
        SPEC.task(
            place="edge",
            prompt=PROMPTS[i % 2],
            prompt_class="c",
            seed=i,
            steps=2 + i % 3,
            user=i,
            purpose="user",
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("order, rate", [("first_come", None), ("shortest", 20.0)])
def test_users_get_the_stock_pipelines_images_and_times_that_follow_from_the_batches(
    pipeline, cost, tmp_path, order, rate
):
    tasks = of_users(6)
    store = RecordStore(tmp_path)
    for task in tasks:
        meter = NoMeter()
        done = generate(pipeline, [task.prompt], [task.seed], task.steps, 3.0, meter)
        store.add(Record(task.id, task, done.measured(meter)), done.images[0])
    asked = ServingRequest(tuple(task.id for task in tasks), order, rate)
    serving = serve(pipeline, cost, 0.1, tasks, asked, store.image)
    assert serving.asked == asked and serving.users == (0, 1, 2, 3, 4, 5)
    assert serving.images.compared == 6 and serving.images.largest_difference <= 1
    assert len(serving.runs) == batch.RUNS
    assert [row.steps for row in serving.requests] == [2, 3, 4, 2, 3, 4]
    assert [total.quantity for total in serving.totals] == [
        "makespan",
        "time (sum)",
        "makespan, drift removed",
        "time (sum), drift removed",
    ]
    for total, removed in zip(serving.totals[:2], serving.totals[2:]):
        assert total.measured == removed.measured
        # else much of the time is waiting for requests, which is not the machine's
        if rate is None:
            assert (total.high - total.low) / total.predicted > 0.15, (
                "a machine whose speed may differ by a tenth"
            )
    # other programs may slow this machine manyfold, not by orders of magnitude
    for row in serving.requests + serving.totals:
        assert row.low <= row.predicted <= row.high
        assert 0.05 < row.measured / row.predicted < 20


def test_a_batch_that_memory_holds_no_longer_is_told(pipeline, cost, monkeypatch):
    """Two rows a request under guidance: the network holds two requests, of four that it held."""
    forward = pipeline.unet.forward

    def shrinking(sample, *args, **kwargs):
        if len(sample) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", shrinking)
    about = {"place": "edge", "prompt": PROMPTS[0], "prompt_class": "c", "purpose": "user"}
    tasks = [SPEC.task(**about, seed=i, steps=1, user=i) for i in range(4)]
    asked = ServingRequest(tuple(task.id for task in tasks), "first_come", None)
    with pytest.raises(ServerFault, match="memory no longer holds 4 images at a time"):
        serve(pipeline, replace(cost, cap=4), 0.1, tasks, asked, None)


def test_users_whose_images_fail_are_left_out_and_the_others_served(pipeline, cost, monkeypatch):
    failing = {1}

    class Engine(BatchedEngine):
        def run(self, requests):
            for outcome in super().run(requests):
                failed = requests[outcome.index].seed in failing
                yield Failed(outcome.index, ValueError("no numbers")) if failed else outcome

    monkeypatch.setattr(batch, "BatchedEngine", Engine)
    tasks, black = of_users(3), np.zeros((1, 1, 3), np.uint8)
    asked = ServingRequest(tuple(task.id for task in tasks), "first_come", None)
    with pytest.warns(UserWarning, match="without 1 of 3: 1 requests failed, .* of no numbers"):
        serving = serve(pipeline, cost, 0.1, tasks, asked, lambda key: black)
    assert serving.users == (0, 2) and [row.steps for row in serving.requests] == [2, 4]
    assert serving.asked == asked and serving.images.compared == 2
    failing |= {0, 2}
    with pytest.raises(ServerFault, match="3 requests failed, the first of no numbers"):
        serve(pipeline, cost, 0.1, tasks, asked, lambda key: black)
