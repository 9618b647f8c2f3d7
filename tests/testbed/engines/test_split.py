"""Split images: what one model begins another finishes; a model with itself makes its own image."""

import diffusers
import numpy as np
import pytest
import torch

from calibration.records.split import Split, split_options
from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines import split as splits
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.engines.split import check_pipelines, generate
from testbed.engines.stock import generate as own_call
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline
from tests.testbed.pipelines_world import stable_diffusion, stable_diffusion_xl, with_sampler

PROMPTS = ["a big red ball in the middle", "a small blue house at the top"]
THREADS = {"local": 1, "edge": 1}


@pytest.fixture(scope="module")
def embedded():
    device = torch.device("cpu")
    return {
        place: open_pipeline(ModelConfig(f"embedded:{name}"), device)[0]
        for place, name in (("local", "light"), ("edge", "edge"))
    }


def requests(steps, guidance=3.0):
    return [Request(prompt, seed, steps, guidance) for seed, prompt in enumerate(PROMPTS)]


def made(pipelines, how, asked, edge=None):
    return generate(pipelines, how, {"local": asked, "edge": edge or asked}, THREADS, NoMeter())


def batched(pipeline, asked):
    done = sorted(BatchedEngine(pipeline).run(asked), key=lambda finished: finished.index)
    return np.stack([finished.pixels for finished in done])


@pytest.mark.parametrize("sampler", ["DDIM", "DPMSolverMultistep", "EulerAncestralDiscrete"])
def test_a_model_that_goes_on_with_its_own_latents_makes_its_own_image(sampler):
    """To the bit, also where a sampler keeps a history or draws noise."""
    pipeline = with_sampler(stable_diffusion(), sampler)
    both, asked = {"local": pipeline, "edge": pipeline}, requests(5, 4.0)
    alone = batched(pipeline, asked)
    for how in (Split("local", 1), Split("edge", 3)):
        assert np.array_equal(made(both, how, asked)[0].pixels, alone)


@pytest.mark.parametrize("place", ["local", "edge"])
def test_of_the_embedded_models_it_is_the_pipelines_own_call(embedded, place):
    pipeline = embedded[place]
    expected = own_call(pipeline, PROMPTS, range(2), 3, 3.0, NoMeter()).images.astype(int)
    for how in split_options(3):
        done, _ = made({"local": pipeline, "edge": pipeline}, how, requests(3))
        assert np.abs(done.images - expected).max() <= 1


def test_each_further_step_of_the_edges_brings_an_image_nearer_to_its_own(embedded):
    edge, local = (batched(embedded[place], requests(4)) for place in ("edge", "local"))
    for first in ("local", "edge"):
        apart = [
            np.abs(made(embedded, Split(first, steps), requests(4))[0].pixels - edge).mean()
            for steps in (1, 2, 3)
        ]
        assert np.abs(local - edge).mean() > apart[0] > apart[1] > apart[2] > 0


def test_a_record_tells_both_places_seconds_and_what_is_handed_over(embedded):
    done, measured = made(embedded, Split("edge", 3), requests(4))
    shape = BatchedEngine(embedded["edge"]).networks.latent_shape
    assert measured.handover.bytes == 4 * np.prod(shape), "float32 latents"
    assert measured.time == measured.handover.local_time + measured.handover.edge_time
    assert len(measured.step_times) == 4 and measured.batch == 2
    assert measured.time >= sum(measured.step_times)
    assert measured.handover.edge_time > sum(measured.step_times[:3])
    assert len(done.names) == len(done.pixels) == 2


def test_a_sampler_with_a_history_hands_it_over_too():
    pipeline = with_sampler(stable_diffusion(), "DPMSolverMultistep")
    both, single = {"local": pipeline, "edge": pipeline}, 4 * 4 * 8 * 8
    sizes = [made(both, Split("edge", k), requests(5))[1].handover.bytes for k in (1, 3)]
    assert single < sizes[0] < sizes[1] and sizes[1] % single == 0


def test_each_model_is_guided_by_its_own_scale(embedded):
    how, asked = Split("local", 2), requests(4, 1.0)
    unguided, _ = made(embedded, how, asked)
    guided, _ = made(embedded, how, asked, requests(4, 6.0))
    assert np.abs(unguided.pixels - guided.pixels).max() > 0.05
    swapped, _ = made(embedded, how, requests(4, 6.0), asked)
    assert np.abs(swapped.pixels - guided.pixels).max() > 0.05


def test_what_fails_of_an_image_is_raised(embedded, monkeypatch):
    monkeypatch.setattr(splits, "BatchedEngine", Failing)
    with pytest.raises(RuntimeError, match="wrong latents"):
        made(embedded, Split("edge", 1), requests(3))


class Failing(BatchedEngine):
    def _iterate(self, batch):
        raise RuntimeError("wrong latents")


def test_models_must_share_latents_vae_and_schedule(embedded):
    shared = check_pipelines(embedded, [4])
    assert len(shared.vae) == len(shared.scheduler) == 12
    spaced = diffusers.DDIMScheduler.from_config(
        embedded["edge"].scheduler.config, timestep_spacing="leading"
    )
    other = with_sampler(embedded["edge"], "DDIM")
    other.scheduler = spaced
    with pytest.raises(InputError, match="sweep.splits: scheduler: found .* of the local model"):
        check_pipelines({**embedded, "edge": other}, [4])
    with pytest.raises(InputError, match="sweep.splits: vae: found"):
        check_pipelines({"local": stable_diffusion(), "edge": stable_diffusion_xl()}, [4])
    with pytest.raises(InputError, match="sweep.splits: latents: found"):
        check_pipelines({**embedded, "edge": stable_diffusion()}, [4])


def test_what_a_checkpoint_was_saved_with_does_not_matter(embedded):
    other = with_sampler(embedded["edge"], "DDIM")
    other.scheduler = diffusers.DDIMScheduler.from_config(
        {**embedded["edge"].scheduler.config, "_diffusers_version": "0.1"}
    )
    assert check_pipelines({**embedded, "edge": other}, [4]) == check_pipelines(embedded, [4])


def test_stock_pipelines_and_samplers_of_second_order_are_refused(embedded):
    watched = stable_diffusion()
    watched.safety_checker = torch.nn.Identity()
    with pytest.raises(InputError, match="sweep.splits: local: found a .*safety_checker"):
        check_pipelines({**embedded, "local": watched}, [4])
    heun = with_sampler(stable_diffusion(), "HeunDiscrete")
    with pytest.raises(InputError, match="found 4 steps, for which the sampler takes 7 iter"):
        check_pipelines({"local": heun, "edge": heun}, [4])


def test_two_models_of_two_dtypes_cannot_share_latents(embedded):
    half = open_pipeline(ModelConfig("embedded:light", dtype="float16"), torch.device("cpu"))[0]
    with pytest.raises(InputError, match="splits: dtype: found torch.float16 of the local model"):
        check_pipelines(embedded | {"local": half}, [4])
