"""Continuous batching: batches, orders, arrivals, and running out of memory."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.serving.simulator import ORDERS, simulate
from solver.inputs import InputError
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import Networks, unsupported_reason
from testbed.engines.request import Failed, Finished, Request, all_made
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter
from tests.testbed.pipelines_world import stable_diffusion, stable_diffusion_xl

STEPS = (1, 4, 3, 2, 3)
AWAY = [None, None, "a blue house", None, "a green tree"]
REQUESTS = [
    Request(f"a red car number {i}", 10 + i, steps, (3.0, 1.0)[i % 2], negative_prompt=AWAY[i])
    for i, steps in enumerate(STEPS)
]


@pytest.fixture(scope="module")
def pipeline():
    """SDXL's architecture, in float64: an image that depended on its neighbours would differ by far
    more than rounding.
    """
    return stable_diffusion_xl().to(torch.float64)


@pytest.fixture(scope="module")
def alone(pipeline):
    return [next(BatchedEngine(pipeline, 1).run([request])).pixels for request in REQUESTS]


def check(done, alone):
    assert sorted(finished.index for finished in done) == list(range(len(alone)))
    assert all(np.abs(finished.pixels - alone[finished.index]).max() < 1e-7 for finished in done)


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(5)),
    cap=st.integers(1, 6),
    by=st.sampled_from(sorted(ORDERS)),
    late=st.lists(st.floats(0, 0.1), min_size=5, max_size=5),
)
def test_images_do_not_depend_on_order_cap_or_arrivals(pipeline, alone, order, cap, by, late):
    requests = [dataclasses.replace(REQUESTS[i], arrival=late[i]) for i in order]
    done = list(BatchedEngine(pipeline, cap, by).run(requests))
    check(done, [alone[i] for i in order])
    for finished in done:
        request = requests[finished.index]
        assert finished.arrival == request.arrival <= finished.joined < finished.finished
        assert finished.queue_time + finished.service_time == pytest.approx(
            finished.end_to_end_time
        )
        assert len(finished.tick_times) == request.steps and 1 <= finished.batch <= min(cap, 5)
        assert (
            finished.text_time + sum(finished.tick_times) + finished.decode_time
            <= finished.service_time + 1e-6
        )


@pytest.mark.parametrize("make", [stable_diffusion, stable_diffusion_xl])
def test_guidance_leads_away_from_each_requests_own_negative_prompt_as_in_the_stock_pipeline(make):
    pipeline = make().to(torch.float64)
    requests = [
        Request("a red car", 7, 3, 3.0, negative_prompt=negative)
        for negative in (None, "a blue house", "a green tree")
    ]
    made = {done.index: done.pixels for done in BatchedEngine(pipeline).run(requests)}
    assert np.abs(made[0] - made[1]).max() > 1e-4 < np.abs(made[1] - made[2]).max()
    for index, request in enumerate(requests):
        wanted = pipeline(
            request.prompt,
            num_inference_steps=3,
            guidance_scale=3.0,
            negative_prompt=request.negative_prompt,
            generator=torch.Generator().manual_seed(7),
            output_type="np",
        ).images[0]
        assert np.abs(made[index] - wanted).max() < 1e-7
        ours = generate(
            pipeline, [request.prompt], [7], 3, 3.0, NoMeter(), request.negative_prompt
        ).images[0]
        assert np.abs(ours - 255 * wanted).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    "order, cap", [*((order, cap) for order in ORDERS for cap in (1, 3)), ("first_come", 16)]
)
def test_batches_are_those_that_the_prediction_simulates(pipeline, order, cap):
    engine = BatchedEngine(pipeline, cap, order)
    finished = [done.index for done in engine.run(REQUESTS)]
    expected = simulate([0.0] * 5, STEPS, lambda batch: 1.0, cap, order)
    assert [size for size, _ in engine.log.tick] == [
        int(row["batch"]) for row in expected.log for _ in range(row["ticks"])
    ]
    assert [size for size, _ in engine.log.text] == [n for n in expected.log["encoded"] if n]
    assert [size for size, _ in engine.log.decode] == [n for n in expected.log["decoded"] if n]
    assert [expected.finished[i] for i in finished] == sorted(expected.finished)


def test_one_call_a_tick_with_a_second_half_for_the_guided_alone(pipeline, monkeypatch):
    rows = []
    real = Networks.denoise
    monkeypatch.setattr(
        Networks,
        "denoise",
        lambda self, latents, *rest: (rows.append(len(latents)), real(self, latents, *rest))[1],
    )
    list(BatchedEngine(pipeline).run(REQUESTS))
    left = [[steps > tick for steps in STEPS] for tick in range(max(STEPS))]
    assert rows == [sum(present) + sum(present[::2]) for present in left]


def test_late_requests_join_the_running_batch(pipeline):
    long, late = Request("a red car", 1, 60, 3.0), Request("a blue house", 2, 2, 3.0, arrival=0.1)
    first, second = BatchedEngine(pipeline).run([long, late])
    assert (first.index, second.index) == (1, 0)
    assert first.batch == 2 and 1 < second.batch < 2
    assert 0.1 <= first.joined < first.finished < second.finished


def test_the_engine_waits_for_arrivals_in_real_time(pipeline):
    (done,) = BatchedEngine(pipeline).run([Request("a red car", 1, 1, 3.0, arrival=0.3)])
    assert 0.3 <= done.joined < 0.4 and done.queue_time < 0.1


class Limited:
    """``Networks`` whose calls hold so many rows, and run out of memory beyond, as a GPU does: in
    the midst of the work.
    """

    def __init__(self, monkeypatch, error, **most):
        self.failures = 0
        for name, limit in most.items():
            monkeypatch.setattr(Networks, name, self._limit(getattr(Networks, name), limit, error))

    def _limit(self, real, limit, error):
        def limited(networks, items, *rest):
            result = real(networks, items, *rest)
            if len(items) > limit:
                self.failures += 1
                raise error
            return result

        return limited


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()],  # of torch, and of none of its
    ids=str,
)
def test_out_of_memory_halves_the_cap_and_loses_nothing(pipeline, alone, monkeypatch, error):
    limited = Limited(monkeypatch, error, encode=3, denoise=4)
    engine = BatchedEngine(pipeline, 16)
    check(list(engine.run(REQUESTS)), alone)
    assert limited.failures == 2 and engine.caps == {"text": 2, "tick": 2, "decode": 16}
    assert max(size for size, _ in engine.log.tick) == 2 and sum(
        size for size, _ in engine.log.tick
    ) == sum(STEPS)


def test_decoding_that_runs_out_of_memory_goes_on_with_fewer(pipeline, monkeypatch):
    Limited(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), decode=1)
    engine = BatchedEngine(pipeline)
    requests = [Request("a red car", seed, 2, 3.0) for seed in range(5)]
    assert len(all_made(engine.run(requests))) == 5
    assert engine.caps["decode"] == 1 and [size for size, _ in engine.log.decode] == [1] * 5


def test_what_fails_together_and_not_alone_is_made_alone(pipeline, alone, monkeypatch):
    """A guided request alone has two rows."""
    Limited(monkeypatch, RuntimeError("shapes cannot be multiplied"), denoise=2)
    engine = BatchedEngine(pipeline)
    check(list(engine.run(REQUESTS)), alone)
    assert {size for size, _ in engine.log.tick} == {1} and engine.caps["tick"] == 16


def test_too_little_memory_for_a_request_is_the_failure_of_each(pipeline, monkeypatch):
    Limited(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), denoise=0)
    outcomes = list(BatchedEngine(pipeline).run(REQUESTS))
    assert sorted(outcome.index for outcome in outcomes) == list(range(len(REQUESTS)))
    assert all(isinstance(outcome.error, torch.OutOfMemoryError) for outcome in outcomes)
    assert all(outcome.error.__traceback__ is None for outcome in outcomes), "it holds no memory"


def test_steps_that_the_scheduler_refuses_fail_alone_in_a_run(pipeline, monkeypatch):
    sampler = DDIMScheduler.from_config(pipeline.scheduler.config)
    monkeypatch.setattr(pipeline, "scheduler", sampler)
    steps = (2, 100_000, 1)
    requests = [Request("a red car", i, count, 3.0) for i, count in enumerate(steps)]
    outcomes = {outcome.index: outcome for outcome in BatchedEngine(pipeline).run(requests)}
    assert isinstance(outcomes[1], Failed) and isinstance(outcomes[1].error, InputError)
    assert isinstance(outcomes[0], Finished) and isinstance(outcomes[2], Finished)


def test_what_cannot_be_served_is_said():
    sd = stable_diffusion()
    assert unsupported_reason(sd) is None and unsupported_reason(stable_diffusion_xl()) is None
    sd.safety_checker = torch.nn.Identity()
    assert "safety_checker" in unsupported_reason(sd)
    assert "StableDiffusionImg2Img" in unsupported_reason(type("StableDiffusionImg2Img", (), {})())
    sd.safety_checker, sd.vae = None, torch.nn.Identity()
    assert "Identity" in unsupported_reason(sd)


@pytest.mark.gpu
@pytest.mark.parametrize("make", [stable_diffusion, stable_diffusion_xl])
def test_on_a_gpu_the_images_are_the_stock_pipelines_in_half_precision(make):
    pipeline = make().to("cuda", torch.float16)
    made = {done.index: done.pixels for done in BatchedEngine(pipeline, 3).run(REQUESTS)}
    for index, request in enumerate(REQUESTS):
        expected = pipeline(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            negative_prompt=request.negative_prompt,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="np",
        ).images[0]
        assert np.abs(made[index] - expected).max() <= 4 / 256
