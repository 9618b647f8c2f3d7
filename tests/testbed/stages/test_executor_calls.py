"""Calls of the stock pipeline in the executor: halved where memory runs out, warmed up with steps
that the sampler takes, and recorded with what was not as asked.
"""

import pytest
import torch
from diffusers import PNDMScheduler

from calibration.records.task import ModelSpec
from testbed.config import ModelConfig
from testbed.metering.meters import NoMeter
from testbed.models.inspection import note_fallback
from testbed.models.pipelines import open_pipeline
from testbed.report.setup import models
from testbed.runs.store import RecordStore
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored

CPU = torch.device("cpu")


@pytest.fixture
def pipeline():
    """One that continuous batching cannot serve."""
    opened, _ = open_pipeline(ModelConfig("embedded:light", memory="offload"), CPU)
    return opened


def tasks(count, purpose="converged", steps=2):
    spec = ModelSpec("m", device="cpu", dtype="float32", scheduler="s", guidance=1.0)
    names = {"place": "edge", "prompt": "a red ball", "prompt_class": "object"}
    return [spec.task(**names, seed=i, steps=steps, purpose=purpose) for i in range(count)]


def run(pipeline, folder, asked, batch=6):
    executor = Executor({"edge": pipeline}, Unscored(), CPU, batch, NoMeter())
    return executor.run(asked, RecordStore(folder), "t")


def test_a_call_beyond_memory_is_halved_and_goes_on(pipeline, tmp_path):
    sizes, decode = [], pipeline.vae.decode

    def short(latents, *args, **kwargs):
        sizes.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(latents, *args, **kwargs)

    pipeline.vae.decode = short
    records = run(pipeline, tmp_path, tasks(6))
    assert [record.measured.batch for record in records] == [1] * 6
    assert sizes.count(6) == 1  # at the warm-up, and never again


def test_an_image_of_a_call_that_is_not_finite_is_its_own_failure(pipeline, tmp_path):
    decode = pipeline.vae.decode

    def overflow(latents, *args, **kwargs):
        images, *rest = decode(latents, *args, **kwargs)
        images[1 % len(images)] = float("nan")
        return images, *rest

    pipeline.vae.decode = overflow
    asked = tasks(3)
    with pytest.warns(UserWarning, match="1 of 3 images failed"):
        records = run(pipeline, tmp_path, asked)
    assert [record.task for record in records] == [asked[0], asked[2]]


def test_a_sampler_that_takes_four_steps_at_least_is_warmed_up(pipeline, tmp_path):
    pipeline.scheduler = PNDMScheduler.from_config(pipeline.scheduler.config)
    records = run(pipeline, tmp_path, tasks(2, "sweep", steps=4))
    assert len(records) == 2


def test_what_was_not_as_asked_is_in_records_and_report(pipeline, tmp_path):
    pipeline.notes.append("guidance has no effect on it")
    with pytest.warns(UserWarning, match="no continuous batching, the stock pipeline makes all"):
        note_fallback(pipeline)
    (record,) = run(pipeline, tmp_path, tasks(1))
    assert record.environment["notes"] == pipeline.notes and len(pipeline.notes) == 2
    (row,) = models([record], [])
    assert list(row.notes) == pipeline.notes
