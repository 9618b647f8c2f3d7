"""How many threads torch computes with on a CPU: one or all, whichever is quicker."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from diffusers import DiffusionPipeline

from calibration.schema import Schema, frozen, limits
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import least_steps, unsupported_reason
from testbed.engines.request import Request, run_through
from testbed.engines.stock import generate
from testbed.metering.meters import NoMeter

#: All threads must take at most this share of the time that one takes: they can be disturbed.
_CLEARLY = 0.85
_ROUNDS, _SECONDS, _STEPS = 6, 5.0, 2


@frozen
class Threads(Schema):
    """Threads for images that are made alone (``single``) and for batches (``batched``).

    ``asked``: of what they were chosen. Images depend on them in their last bits.
    """

    single: int = limits(least=1)
    batched: int = limits(least=1)
    asked: dict[str, Any]

    @classmethod
    def current(cls) -> Self:
        """Those that torch takes by itself, or that the environment asks for."""
        return cls(torch.get_num_threads(), torch.get_num_threads(), {})


def asked_for() -> bool:
    """Whether the environment asks for a number of threads."""
    return any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))


@contextmanager
def using(threads: int) -> Iterator[None]:
    """Compute with so many ``threads``, and then with as many as before."""
    before = torch.get_num_threads()
    if threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads != before:
            torch.set_num_threads(before)


def choose(pipeline: DiffusionPipeline, batch: int, asked: dict[str, Any]) -> Threads:
    """The quicker numbers of threads for a ``pipeline`` alone, and for a ``batch`` of images.

    Takes a second on small networks. What gains from all threads alone gains in batches too.
    """
    steps = least_steps(pipeline, _STEPS)
    single = quicker(lambda: _alone(pipeline, 1, steps))
    if single > 1 or batch == 1:
        return Threads(single, single, asked)
    stock = unsupported_reason(pipeline) is not None
    together = _alone if stock else _batched
    return Threads(single, quicker(lambda: together(pipeline, batch, steps)), asked)


def quicker(call: Callable[[], float]) -> int:
    """One thread, or all if they are clearly quicker; ``call`` works and returns its seconds."""
    every, start = torch.get_num_threads(), time.perf_counter()
    if every == 1:
        return 1
    seconds: dict[int, list[float]] = {1: [], every: []}
    for turn in range(_ROUNDS):
        for threads in sorted(seconds, reverse=turn % 2 == 1):
            with using(threads):
                seconds[threads].append(call())
        if time.perf_counter() - start > _SECONDS:
            break
    # the first calls pay for allocation and kernel selection
    single, all_of_them = (
        float(np.median(seconds[threads][1:] or seconds[threads])) for threads in (1, every)
    )
    return every if all_of_them < _CLEARLY * single else 1


def _alone(pipeline: DiffusionPipeline, images: int, steps: int) -> float:
    done = generate(pipeline, [""] * images, range(images), steps, 3.0, NoMeter())
    return float(np.mean(done.step_times))


def _batched(pipeline: DiffusionPipeline, images: int, steps: int) -> float:
    engine = BatchedEngine(pipeline, images)
    run_through(engine.run([Request("", seed, steps, 3.0) for seed in range(images)]))
    return float(np.mean([seconds for _, seconds in engine.log.tick]))
