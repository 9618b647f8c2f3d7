"""The engine one iteration at a time: requests that come, go and fail while others are served."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solver.inputs import InputError
from testbed.engines import networks
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import Networks
from testbed.engines.request import Failed, Finished, Request, all_made
from testbed.engines.request_state import RequestState
from testbed.engines.stock import ImageError
from tests.testbed.pipelines_world import stable_diffusion_xl

STEPS = (1, 4, 2, 2, 3)
REQUESTS = [
    Request(f"a red car number {i}", 10 + i, s, (3.0, 1.0)[i % 2]) for i, s in enumerate(STEPS)
]
BAD = 1  # who fails or leaves
SAID = {"text": "text", "network": "network", "scheduler": "scheduler", "values": "not finite"}


@pytest.fixture(scope="module")
def pipeline():
    return stable_diffusion_xl().to(torch.float64)


@pytest.fixture(scope="module")
def alone(pipeline):
    return [next(BatchedEngine(pipeline, 1).run([request])).pixels for request in REQUESTS]


def serve(engine, requests, events=lambda tick: None):
    """All outcomes by index; ``events(tick)`` before each iteration."""
    for index, request in requests.items():
        engine.add(index, request)
    outcomes, tick = {}, 0
    while engine.present:
        events(tick)
        outcomes.update({outcome.index: outcome for outcome in engine.advance()})
        tick += 1
    return outcomes


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cap=st.integers(1, 4),
    leave=st.dictionaries(st.integers(0, 4), st.integers(0, 8), max_size=3),
    come=st.lists(st.integers(0, 4), min_size=5, max_size=5),
)
def test_who_comes_late_or_leaves_changes_nobody_elses_image(pipeline, alone, cap, leave, come):
    engine, gone, outcomes = BatchedEngine(pipeline, cap), set(), {}
    for tick in range(40):
        for index in (i for i, at in enumerate(come) if at == tick):
            engine.add(index, REQUESTS[index])
        for index in (i for i, at in leave.items() if at == tick):
            if engine.cancel(index):
                gone.add(index)
            assert index not in [running.index for running in engine.present]
        outcomes.update({outcome.index: outcome for outcome in engine.advance()})
    assert not engine.present and engine.advance() == []
    late = {i for i, at in leave.items() if at < come[i]}  # cancelled before they came
    assert set(outcomes) == set(range(5)) - gone and not late & gone
    for index, finished in outcomes.items():
        assert isinstance(finished, Finished)
        assert np.abs(finished.pixels - alone[index]).max() < 1e-7
        assert finished.share_time <= finished.service_time
    assert max(size for size, _ in engine.log.tick or [(0, 0)]) <= cap


def test_what_a_cancelled_request_holds_is_freed(pipeline):
    engine = BatchedEngine(pipeline)
    for index, request in enumerate(REQUESTS):
        engine.add(index, request)
    engine.advance()
    watched = weakref.ref(next(r for r in engine.present if r.index == BAD))
    latents = weakref.ref(watched().state.latents)
    assert engine.cancel(BAD) and not engine.cancel(BAD)
    gc.collect()
    assert watched() is None and latents() is None


def broken(monkeypatch, kind):
    """Make the request BAD fail: at its text, in its second call of the network, in its scheduler's
    first step, or by its values.
    """
    if kind == "text":
        encode = Networks.encode

        def encode_or_fail(self, requests):
            if REQUESTS[BAD] in requests:
                raise ValueError("text")
            return encode(self, requests)

        monkeypatch.setattr(Networks, "encode", encode_or_fail)
        return
    step, seed = RequestState.step, REQUESTS[BAD].seed
    first, given = RequestState.__init__, RequestState.network_input

    def remember(self, scheduler, condition, noise, options):
        first(self, scheduler, condition, noise, options)
        self.bad = options.get("generator") and options["generator"].initial_seed() == seed

    def step_or_fail(self, output):
        if self.bad and kind == "scheduler":
            raise ValueError("scheduler")
        step(self, output * float("nan") if self.bad and kind == "values" else output)

    def input_or_fail(self):
        if self.bad and kind == "network" and self.tick == 1:
            raise ValueError("network")
        return given(self)

    monkeypatch.setattr(RequestState, "network_input", input_or_fail)
    monkeypatch.setattr(RequestState, "__init__", remember)
    monkeypatch.setattr(RequestState, "step", step_or_fail)


@pytest.mark.parametrize("kind", SAID)
def test_a_request_fails_alone_and_the_others_are_unchanged_to_the_bit(pipeline, monkeypatch, kind):
    """As if it had never come, had been cancelled after the first iteration, or been sound."""
    requests = dict(enumerate(REQUESTS))
    reference = BatchedEngine(pipeline)
    left = partial(serve, reference, requests, lambda t: t == 1 and reference.cancel(BAD))
    expected = {
        "text": lambda: serve(reference, {i: r for i, r in requests.items() if i != BAD}),
        "network": left,
        "scheduler": left,
        "values": lambda: serve(reference, requests),
    }[kind]()
    with monkeypatch.context() as patched:
        broken(patched, kind)
        outcomes = serve(BatchedEngine(pipeline), requests)
        run = {outcome.index: outcome for outcome in BatchedEngine(pipeline).run(REQUESTS)}
        with pytest.raises((ValueError, ImageError), match=SAID[kind]):
            all_made(run.values())
    failed = outcomes.pop(BAD)
    assert isinstance(run.pop(BAD), Failed)
    assert isinstance(failed, Failed) and SAID[kind] in str(failed.error)
    assert set(outcomes) == {0, 2, 3, 4}
    for index, finished in outcomes.items():
        assert np.array_equal(finished.pixels, expected[index].pixels)
        assert np.array_equal(run[index].pixels, expected[index].pixels)


def test_a_call_that_fails_for_all_ends_those_in_it_and_the_engine_goes_on(pipeline, monkeypatch):
    engine = BatchedEngine(pipeline, 3)
    with monkeypatch.context() as patched:
        patched.setattr(Networks, "denoise", lambda *_: 1 / 0)
        for index, request in enumerate(REQUESTS):
            engine.add(index, request)
        assert [outcome.index for outcome in engine.advance()] == [0, 1, 2]
    assert {outcome.index for outcome in serve(engine, {}).values()} == {3, 4}


def test_steps_that_the_scheduler_refuses_are_refused_on_arrival(pipeline, monkeypatch):
    sampler = DDIMScheduler.from_config(pipeline.scheduler.config)
    monkeypatch.setattr(pipeline, "scheduler", sampler)
    engine = BatchedEngine(pipeline)
    with pytest.raises(InputError, match="steps"):
        engine.add(0, Request("a red car", 1, 100_000, 3.0))
    assert engine.present == []


def test_the_image_so_far_turns_into_the_image(pipeline, alone):
    engine = BatchedEngine(pipeline)
    engine.add(7, REQUESTS[1])
    assert engine.preview(7) is None
    apart = []
    while engine.present:
        done = engine.advance()
        if (pixels := engine.preview(7)) is not None:
            apart.append(np.abs(pixels - alone[1]).mean())
    assert len(apart) == STEPS[1] - 1 and apart[-1] < apart[0]
    assert np.abs(done[0].pixels - alone[1]).max() < 1e-7, "looking changes nothing"


def test_an_image_so_far_that_cannot_be_made_is_none(pipeline, alone, monkeypatch):
    """Its error ended the server's thread, and all requests with it."""
    engine = BatchedEngine(pipeline)
    engine.add(7, REQUESTS[1])
    engine.advance()
    judged = []

    def fails(networks, _latents):
        judged.append(networks.pipeline.vae.judged)
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(Networks, "decode", fails)
        assert engine.preview(7) is None and judged == [False]
    assert engine.preview(7) is not None
    (done,) = serve(engine, {}).values()
    assert np.abs(done.pixels - alone[1]).max() < 1e-7


def test_ever_new_negative_prompts_do_not_fill_the_memory(pipeline, monkeypatch):
    monkeypatch.setattr(networks, "NEGATIVE_PROMPTS", 3)
    engine, kept = BatchedEngine(pipeline, 2), []
    requests = [Request("a red car", 1, 1, 3.0, negative_prompt=f"no {i}") for i in range(12)]
    for _ in engine.run(requests):
        kept.append(len(engine.networks._negative))
    assert max(kept) <= 3 + 2
