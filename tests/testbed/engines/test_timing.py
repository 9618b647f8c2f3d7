"""Timing batches: every size equally often, none that memory does not hold."""

import json

import pytest
import torch

from testbed.config import ModelConfig
from testbed.engines.timing import BatchTimings, time_batches
from testbed.models.pipelines import open_pipeline

PROMPTS = ["a big red ball in the middle", "a small blue star at the top"]


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))[0]


def test_every_size_is_timed_equally_often_in_turns(pipeline):
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 3], rounds=2)
    for sizes, seconds in (timings.tick, timings.text, timings.decode):
        assert sizes == (3, 1, 1, 3) and all(0 < spent < 60 for spent in seconds)
    assert timings.memory is None
    assert BatchTimings.from_dict(json.loads(json.dumps(timings.to_dict()))) == timings


def test_sizes_that_memory_does_not_hold_are_left_out(pipeline, monkeypatch):
    """Two rows a request under guidance: the network takes four rows at most."""
    forward = pipeline.unet.forward

    def small(sample, *args, **kwargs):
        if len(sample) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", small)
    assert set(time_batches(pipeline, PROMPTS, 3.0, [1, 2, 4], rounds=2).tick[0]) == {1, 2}


@pytest.mark.gpu
def test_on_a_gpu_a_requests_memory_is_measured():
    pipeline, _ = open_pipeline(ModelConfig("embedded:edge"), torch.device("cuda"))
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 16], rounds=1)
    assert 1e4 < timings.memory < 1e9
