"""One thread or all: what is quicker here, unless the environment asks for a number."""

import os
import subprocess
import sys

import pytest
import torch

from testbed.engines import threads
from testbed.engines.threads import Threads, choose, quicker, using
from tests.conftest import ROOT
from tests.testbed.pipelines_world import stable_diffusion, with_sampler


@pytest.fixture
def two():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("single, both, chosen", [(1.0, 0.6, 2), (1.0, 0.95, 1), (1.0, 140.0, 1)])
def test_all_threads_must_be_clearly_quicker(two, single, both, chosen):
    """Beside one busy process two threads once took 140 times as long as one."""
    calls = []

    def call():
        calls.append(torch.get_num_threads())
        warm = 5.0 if len(calls) <= 2 else 0.0
        return warm + (single if calls[-1] == 1 else both)

    assert quicker(call) == chosen
    assert calls[:4] == [1, 2, 2, 1] and torch.get_num_threads() == 2, "in turns, and put back"


def test_a_single_thread_is_not_measured(monkeypatch):
    with using(1):
        assert quicker(lambda: pytest.fail("nothing to choose")) == 1


def test_batches_may_take_another_number_than_images_alone(two, monkeypatch):
    monkeypatch.setattr(threads, "_alone", lambda *_: 1.0)
    monkeypatch.setattr(threads, "_batched", lambda *_: 1.0 / torch.get_num_threads())
    assert choose(stable_diffusion(), 4, {"a": 1}) == Threads(1, 2, {"a": 1})


def test_a_sampler_that_needs_several_steps_has_them(monkeypatch):
    """It failed below four."""
    told = []
    monkeypatch.setattr(threads, "quicker", lambda call: told.append(call()) or 1)
    pipeline = with_sampler(stable_diffusion(), "PNDM", skip_prk_steps=False)
    assert choose(pipeline, 2, {}) == Threads(1, 1, {}) and min(told) > 0


@pytest.mark.slow
def test_real_pipelines_are_measured(two, monkeypatch):
    monkeypatch.setattr(threads, "_ROUNDS", 1)
    chosen = choose(stable_diffusion(), 2, {})
    assert {chosen.single, chosen.batched} <= {1, 2} and torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "given, spin", [({}, "1000"), ({"OMP_NUM_THREADS": "2"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_waiting_threads_do_not_keep_their_cores_busy_for_long(given, spin):
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))
    }
    code = (
        "import os, sys, testbed; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean, **given},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(spin), "False"]


def test_a_number_in_the_environment_is_seen(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert not threads.asked_for()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.asked_for()
