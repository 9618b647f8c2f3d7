"""Every pipeline with an adapter: continuous batching makes the images of the pipeline's own call.

Networks are of the true architectures, shrunk, with random weights, opened from their folders.
"""

import inspect
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines import adapters
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import (
    ADAPTERS,
    Networks,
    call_options,
    check_call,
    find_adapter,
    unsupported_reason,
)
from testbed.engines.request import Request
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter
from testbed.models.inspection import look
from testbed.models.pipelines import open_pipeline
from testbed.models.published.architectures import assemble
from testbed.models.published.catalogue import find
from testbed.server.opening import image_size

#: Large images, or text of 512 tokens: seconds each.
SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("flux-dev", "pixart", "sana", "sana-sprint")
]
QUICK = ("sd35-medium", "flux-schnell", "pixart-alpha")
KINDS = {"pixart-alpha": diffusers.PixArtAlphaPipeline} | {
    name: getattr(diffusers, find(name).pipeline)
    for name in ("sd35-medium", "flux-schnell", "flux-dev", "pixart", "sana-sprint", "sana")
}
RESOLUTION = {"sd35-medium": 64, "flux-dev": 64, "flux-schnell": 64}
ROUNDING = 5e-5  # of the range: of float32, in batches of other sizes
REQUESTS = [
    Request("a red ball", 1, 2, 4.5, negative_prompt="a green tree"),
    Request("a small blue house at the top, left of a big yellow star", 2, 1, 1.0),
]
# its own call fails for one step with its own scheduler
ALPHA = [replace(request, steps=request.steps + 1) for request in REQUESTS]


def shrunk(name):
    """Sana's images are of 512 pixels, not 1024, for which its call has a table too."""
    pipeline = assemble(name.removesuffix("-alpha"), "cpu", shrink=8)
    if name == "sana":
        pipeline.transformer.register_to_config(sample_size=16)
    return KINDS[name](**pipeline.components) if name == "pixart-alpha" else pipeline


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens each pipeline once, from a folder."""
    root, pipelines = tmp_path_factory.mktemp("models"), {}

    def open_once(name):
        if name not in pipelines:
            shrunk(name).save_pretrained(root / name)
            config = ModelConfig(str(root / name), resolution=RESOLUTION.get(name))
            pipelines[name] = open_pipeline(config, torch.device("cpu"))[0]
        return pipelines[name]

    return open_once


def own_call(pipeline, request, output_type="np"):
    """What the pipeline's own call makes of a request alone."""
    taken = inspect.signature(find_kind(pipeline).__call__).parameters
    away = {}
    if "negative_prompt" in taken and request.negative_prompt:
        away = {"negative_prompt": request.negative_prompt}
    return (
        find_kind(pipeline)
        .__call__(
            pipeline,
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator().manual_seed(request.seed),
            output_type=output_type,
            **away,
            **call_options(pipeline, request.steps),
        )
        .images[0]
    )


def find_kind(pipeline):
    return next(kind for kind in type(pipeline).__mro__ if kind in ADAPTERS)


def batched(pipeline, requests, cap=16):
    return {done.index: done.pixels for done in BatchedEngine(pipeline, cap).run(requests)}


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_images_are_those_of_the_pipelines_own_call(name, opened):
    """Alone to the bit; of other steps, guidance, seeds and prompts in a batch, within rounding."""
    pipeline = opened(name)
    assert unsupported_reason(pipeline) is None and find_kind(pipeline) is KINDS[name]
    requests = ALPHA if name == "pixart-alpha" else REQUESTS
    own = [own_call(pipeline, request) for request in requests]
    assert image_size(pipeline) == own[0].shape[1::-1]
    assert np.array_equal(batched(pipeline, requests[1:])[0], own[1])
    together = batched(pipeline, requests)
    assert max(np.abs(together[i] - own[i]).max() for i in range(2)) < ROUNDING
    assert np.abs(own[0] - own[1]).max() > 0.1, "the requests ask for different images"


def test_every_served_pipeline_is_compared():
    unets = {diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline}
    assert {*KINDS.values()} | unets == set(ADAPTERS)


def last_latents(pipeline, request, monkeypatch):
    """The latents that the engine would decode."""
    kept = []

    def keep(_networks, latents):
        kept.append(latents)
        return np.zeros((len(latents), 8, 8, 3), np.float32)

    monkeypatch.setattr(Networks, "decode", keep)
    list(BatchedEngine(pipeline).run([request]))
    return kept[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flux-dev", "sana", "sana-sprint"])
def test_in_half_precision_casts_are_those_of_the_call(name, monkeypatch):
    pipeline = shrunk(name)
    half = pipeline.transformer if "sana" in name else pipeline
    half.to(torch.bfloat16)
    request = Request("a red ball", 1, 2, 1.0)
    own, ours = own_call(pipeline, request, "latent"), last_latents(pipeline, request, monkeypatch)
    if name == "flux-dev":
        ours = pipeline._pack_latents(ours, *ours.shape)
    if name == "sana-sprint":
        ours = ours / pipeline.scheduler.config.sigma_data
    assert ours.dtype == own.dtype == (torch.float32 if "sana" in name else torch.bfloat16)
    assert torch.equal(ours[0], own)


def without_t5(dynamic):
    parts = assemble("sd3", "cpu", shrink=8).components
    parts |= {"text_encoder_3": None, "tokenizer_3": None}
    parts["scheduler"] = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dynamic)
    pipeline = diffusers.StableDiffusion3Pipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_without_t5_and_with_a_schedule_that_shifts_with_the_resolution():
    pipeline, request = without_t5(dynamic=True), Request("a red ball", 1, 3, 4.5)
    shifts = []
    for size in (8, 16):
        pipeline.default_sample_size = size
        assert np.array_equal(batched(pipeline, [request])[0], own_call(pipeline, request))
        shifts.append(Networks(pipeline).schedule(3).timesteps)
    assert not torch.equal(*shifts)


@pytest.mark.parametrize(
    "name, guided, taken",
    [
        ("sd35-medium", True, False),
        ("pixart", True, False),
        ("flux-dev", False, True),
        ("flux-schnell", False, False),
        ("sana-sprint", False, True),
    ],
)
def test_what_guidance_means(name, guided, taken, opened):
    """A second half above 1; or a number that the network takes; or nothing."""
    networks = Networks(opened(name))
    assert networks.guided(1.5) == guided and not networks.guided(1.0)
    low, high = networks.encode([Request("", 0, 1, scale) for scale in (1.5, 4.0)])
    assert (low.guidance is not None) == taken
    assert not taken or low.guidance < high.guidance


def test_pixart_alpha_is_told_sizes_where_its_own_call_tells_them(opened, monkeypatch):
    pipeline, told = opened("pixart-alpha"), {}
    pipeline.transformer.register_to_config(sample_size=128)

    def forward(latents, **arguments):
        told.update(arguments)
        return (torch.zeros(2, 8, *latents.shape[2:]),)

    monkeypatch.setattr(pipeline.transformer, "forward", forward)
    own_call(pipeline, Request("a", 1, 2, 4.5), "latent")
    networks = Networks(pipeline)
    conditions = [networks.negative(), *networks.encode([Request("a", 1, 2, 4.5)])]
    ours = networks.stack(conditions)["added_cond_kwargs"]
    assert networks.latent_shape == (4, 128, 128)
    for key, value in told["added_cond_kwargs"].items():
        assert torch.equal(ours[key], value)
    pipeline.transformer.register_to_config(sample_size=32)


def test_of_a_single_step_pixart_alpha_takes_the_denoised_image(opened, monkeypatch):
    pipeline, request = opened("pixart-alpha"), Request("a", 1, 1, 1.0)
    with pytest.raises(InputError, match="DPMSolverMultistepScheduler refuses"):
        check_call(pipeline, 1)
    monkeypatch.setattr(pipeline, "scheduler", diffusers.DDIMScheduler(set_alpha_to_one=False))
    own = own_call(pipeline, request, "latent")
    assert torch.equal(last_latents(pipeline, request, monkeypatch)[0], own)


def test_steps_that_a_distilled_network_cannot_take(opened):
    sprint, schnell = opened("sana-sprint"), opened("flux-schnell")
    for steps in (1, 2, 3, 4):
        assert len(Networks(sprint).schedule(steps).timesteps) == steps
    for steps in (0, 5):
        with pytest.raises(InputError, match=f"steps: found {steps}; allowed: 1 to 4"):
            check_call(sprint, steps)
    check_call(schnell, 50)
    with pytest.raises(InputError, match="negative_prompt: found 'fog'; a SanaSprintPipeline"):
        check_call(sprint, 2, "fog")


@pytest.mark.slow
def test_a_distilled_model_passes_the_look_at_it(opened):
    """Its step counts were refused, each."""
    pipeline = opened("sana-sprint")
    look(pipeline, {"sweep.steps": (1, 2, 3, 4)}, 4.5)
    assert pipeline.notes == []


def test_the_stock_route_takes_the_steps_that_the_engine_takes(opened):
    """Sana-Sprint's call has a default that it refuses for other counts than 2."""
    pipeline, request = opened("sana-sprint"), Request("a red ball", 1, 1, 3.0)
    image = generate(pipeline, ["a red ball"], [1], 1, 3.0, NoMeter()).images[0]
    assert np.abs(image - 255 * batched(pipeline, [request])[0]).max() <= 0.5 + 1e-3


def test_a_subclass_or_another_decoder_is_not_served(opened):
    pipeline = without_t5(dynamic=False)
    assert unsupported_reason(pipeline) is None
    pipeline.vae = torch.nn.Identity()
    assert "Identity" in unsupported_reason(pipeline)
    other = type("Other", (diffusers.FluxPipeline,), {})
    assert find_adapter(object.__new__(other)) is None


def test_a_pipeline_is_a_small_file():
    files = {file.name: file for file in Path(adapters.__file__).parent.glob("*.py")}
    del files["adapter.py"]  # what they all inherit
    assert len(files) > 5
    assert not [name for name, file in files.items() if len(file.read_text().splitlines()) > 120]
