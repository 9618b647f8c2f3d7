"""Timing batches: every size equally often, none that memory does not hold."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from testbed.config import ModelConfig
from testbed.engines import threads, timing
from testbed.engines.batched import Networks
from testbed.engines.timing import BatchTimings, time_batches
from testbed.models.pipelines import open_pipeline
from tests.testbed.pipelines_world import stable_diffusion, with_sampler

PROMPTS = ["a big red ball in the middle", "a small blue star at the top"]


@pytest.fixture(scope="module")
def pipeline():
    return with_sampler(stable_diffusion(), "DDIM")


def test_every_size_is_timed_equally_often_in_turns(pipeline):
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 3], rounds=2)
    for sizes, seconds in (timings.tick, timings.text, timings.decode):
        assert sizes == (3, 1, 1, 3) and all(0 < spent < 60 for spent in seconds)
    assert timings.memory is None
    assert BatchTimings.from_dict(json.loads(json.dumps(timings.to_dict()))) == timings


@pytest.mark.parametrize("held", [0, 4, 8])
def test_a_size_that_memory_does_not_hold_is_left_out(pipeline, monkeypatch, held):
    """Two rows a request under guidance: of four requests the network takes ``held`` calls. What
    was timed of them in earlier rounds is left out too, and the others are timed equally often.
    """
    forward, calls = pipeline.unet.forward, []

    def shrinking(sample, *args, **kwargs):
        if len(sample) > 4:
            calls.append(sample)
            if len(calls) > held:
                raise torch.OutOfMemoryError("out of memory")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", shrinking)
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 2, 4], rounds=2)
    for sizes, seconds in (timings.tick, timings.text, timings.decode):
        assert sizes == (2, 1, 1, 2) and len(seconds) == 4
    assert len(calls) == held + 1


def test_images_that_are_not_finite_are_timed_all_the_same(pipeline, monkeypatch):
    """One of them once ended a calibration after its whole sweep, and again at each new try."""
    decode = Networks.decode
    monkeypatch.setattr(Networks, "decode", lambda *given: np.nan * decode(*given))
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 2], rounds=1)
    assert timings.tick[0] == timings.decode[0] == (2, 1) and min(timings.decode[1]) > 0
    assert threads._batched(pipeline, 2, 1) > 0

    def fail(*_):
        raise ValueError("nothing is encoded")

    monkeypatch.setattr(Networks, "encode", fail)
    with pytest.raises(ValueError, match="nothing is encoded"):
        time_batches(pipeline, PROMPTS, 3.0, [1, 2], rounds=1)


def test_memory_is_measured_on_the_device_that_was_asked_for(pipeline, monkeypatch):
    """Without it CUDA tells of the first one, where nothing is."""
    asked = torch.device("cuda:1")
    taken = {asked: 0}

    class Engine:
        def __init__(self, _, size):
            self.caps = {"tick": size}
            self.log = SimpleNamespace(tick=[(size, 0.1)], text=[(size, 0.1)], decode=[(size, 0.1)])

        def run(self, requests):
            taken[asked] = 1000 + 100 * len(requests)
            return []

    def reset(device=None):
        taken[device] = 0

    monkeypatch.setattr(type(pipeline), "_execution_device", asked)
    monkeypatch.setattr(timing, "BatchedEngine", Engine)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: taken[device])
    assert time_batches(pipeline, PROMPTS, 3.0, [1, 4], rounds=1).memory == 100
    assert set(taken) == {asked}


@pytest.mark.gpu
def test_on_a_gpu_a_requests_memory_is_measured():
    pipeline, _ = open_pipeline(ModelConfig("embedded:edge"), torch.device("cuda"))
    timings = time_batches(pipeline, PROMPTS, 3.0, [1, 16], rounds=1)
    assert 1e4 < timings.memory < 1e9
