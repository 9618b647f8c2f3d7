"""Continuous batching makes the stock pipeline's own images: every sampler, the embedded models,
and the architectures of SD 1.5 and SDXL.
"""

import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import Networks
from testbed.engines.request import Request
from testbed.engines.request_state import make_schedule
from testbed.models.pipelines import open_pipeline
from tests.testbed.pipelines_world import stable_diffusion, stable_diffusion_xl, with_sampler

# what a pipeline is told and what a sampler does are computed apart: not every pair is made
SAMPLERS = ["DDIM", "EulerDiscrete", "DPMSolverMultistep", "PNDM", "LCM", "EulerAncestralDiscrete"]
PAIRS = [("sd", name) for name in SAMPLERS] + [
    *(("light", "DDIM"), ("sdxl", "EulerDiscrete"), ("sdxl", "PNDM")),
]
REQUESTS = [
    Request("a big red ball in the middle", 11, 2, 3.0),
    Request("a small blue house at the top", 2, 5, 1.0),
    Request("a green tree left of a red car", 7, 3, 7.5),
    Request("", 1, 6, 3.0),
]
BUILD = {
    "light": lambda: open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))[0],
    "edge": lambda: open_pipeline(ModelConfig("embedded:edge"), torch.device("cpu"))[0],
    "sd": stable_diffusion,
    "sdxl": stable_diffusion_xl,
}


@pytest.fixture(scope="module")
def opened():
    return {name: build() for name, build in BUILD.items()}


class Times(torch.Tensor):
    """Tells where it is moved to, and in which dtype."""

    def to(self, device):
        return device.type, self.dtype


@pytest.mark.parametrize("kind, dtype", [("mps", torch.float32), ("cpu", torch.float64)])
def test_timesteps_are_in_a_dtype_that_the_device_has(opened, monkeypatch, kind, dtype):
    """Some samplers' are in float64, of which MPS has none."""
    networks = Networks(opened["sd"])
    networks.device = torch.device(kind)
    monkeypatch.setattr(networks.adapter, "denoise", lambda _latents, times, _arguments: times)
    times = torch.ones(2, dtype=torch.float64).as_subclass(Times)
    assert networks.denoise(torch.ones(2, 4, 8, 8), times, {}) == (kind, dtype)


def stock(pipeline, request):
    """What the pipeline's own call makes of a request alone: float32 in [0, 1]."""
    generator = torch.Generator().manual_seed(request.seed)
    return pipeline(
        request.prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        generator=generator,
        output_type="np",
    ).images[0]


def batched(pipeline, requests, cap=16, order="first_come"):
    return {done.index: done.pixels for done in BatchedEngine(pipeline, cap, order).run(requests)}


def apart(pipeline, requests, **options):
    images = batched(pipeline, requests, **options)
    return max(
        np.abs(images[i] - stock(pipeline, request)).max() for i, request in enumerate(requests)
    )


@pytest.fixture
def double(opened):
    """The pipelines in float64, where rounding is out of sight: what is left of a difference would
    be another computation.
    """
    for pipeline in opened.values():
        pipeline.to(torch.float64)
    yield opened
    for pipeline in opened.values():
        pipeline.to(torch.float32)


@pytest.mark.parametrize("model, sampler", PAIRS)
def test_alone_the_image_is_the_stock_pipelines_to_the_bit(opened, model, sampler):
    assert apart(with_sampler(opened[model], sampler), REQUESTS[:3], cap=1) == 0


@pytest.mark.parametrize("model, sampler", PAIRS)
def test_together_the_images_are_the_stock_pipelines(double, model, sampler):
    assert apart(with_sampler(double[model], sampler), REQUESTS) <= 1e-7


@pytest.mark.parametrize(
    "model, sampler",
    [("light", "DDIM"), ("edge", "DPMSolverMultistep"), ("sdxl", "EulerDiscrete")],
)
def test_in_single_precision(opened, model, sampler):
    """Within 1e-5 of the range, or as near as the stock pipeline's own images are when the same
    requests are made in one call.
    """
    pipeline = with_sampler(opened[model], sampler)
    requests = [Request(request.prompt, request.seed, 4, 3.0) for request in REQUESTS]
    alone = [stock(pipeline, request) for request in requests]
    together = pipeline(
        [request.prompt for request in requests],
        num_inference_steps=4,
        guidance_scale=3.0,
        output_type="np",
        generator=[torch.Generator().manual_seed(request.seed) for request in requests],
    ).images
    others = [Request("a red car", 3, steps, 3.0) for steps in (2, 3, 5)]
    ours = batched(pipeline, [*requests, *others], cap=4, order="shortest")
    assert max(np.abs(ours[i] - alone[i]).max() for i in range(4)) <= max(
        1e-5, 3 * np.abs(together - np.stack(alone)).max()
    )


@pytest.mark.parametrize("sampler", ["UniPCMultistep", "HeunDiscrete", "DEISMultistep"])
def test_samplers_that_nothing_was_written_for(double, sampler):
    """A corrector, two ticks a step, polynomial histories: a scheduler a request is all that they
    need.
    """
    assert apart(with_sampler(double["sd"], sampler), REQUESTS, cap=3) <= 1e-7


@pytest.mark.parametrize(
    "settings",
    [
        {"clip_sample": True},
        {"thresholding": True},
        {"prediction_type": "v_prediction"},
        {"timestep_spacing": "trailing"},
    ],
    ids=str,
)
def test_a_config_means_what_it_means_in_diffusers(double, settings):
    pipeline = with_sampler(double["sd"], "DDIM", **settings)
    assert apart(pipeline, REQUESTS) <= 1e-7
    other, ours = (
        batched(each, REQUESTS[3:])[0] for each in (with_sampler(double["sd"], "DDIM"), pipeline)
    )
    assert np.abs(other - ours).max() > 1e-3


def test_a_distilled_network_that_takes_the_guidance_scale_itself():
    pipeline = with_sampler(stable_diffusion(time_cond_proj_dim=16).to(torch.float64), "LCM")
    assert apart(pipeline, REQUESTS) <= 1e-7
    little, much = (
        batched(pipeline, [Request("a red ball", 1, 4, guidance)])[0] for guidance in (2.0, 9.0)
    )
    assert np.abs(little - much).max() > 1e-4


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.bfloat16, 8 / 256), (torch.float16, 2 / 256)], ids=str
)
@pytest.mark.parametrize("build", [stable_diffusion, stable_diffusion_xl])
def test_half_precision(build, dtype, tolerance):
    """Alone to the bit; together within ``tolerance`` of the whole range. SDXL's VAE, upcast for
    float16, comes back to it.
    """
    pipeline = build().to(dtype)
    assert apart(pipeline, REQUESTS[:2], cap=1) == 0
    assert apart(pipeline, REQUESTS) <= tolerance
    assert pipeline.vae.dtype == dtype


def test_the_pipelines_own_scheduler_stays_as_it_was(opened):
    pipeline = with_sampler(opened["light"], "DPMSolverMultistep")
    before = str(vars(pipeline.scheduler))
    batched(pipeline, REQUESTS[:2])
    assert str(vars(pipeline.scheduler)) == before


def test_steps_that_a_scheduler_refuses(opened):
    adapter = Networks(with_sampler(opened["sd"], "DDIM")).adapter
    with pytest.raises(InputError, match="steps: found 2000; DDIMScheduler refuses"):
        make_schedule(adapter, 2000)
