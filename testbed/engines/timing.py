"""Timing what a batch costs: the calls of continuous batching at several batch sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from calibration.schema import Schema, frozen
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import least_steps
from testbed.engines.request import Request, run_through

TICKS = 4  # iterations of one timing: the mean of a few is less skewed than a single one
ROUNDS = 10

#: Batch sizes (n,), and the seconds of a call (n,) of that many requests.
Calls = tuple[tuple[int, ...], tuple[float, ...]]


@frozen
class BatchTimings(Schema):
    """Timed calls of an iteration (``tick``), of text encoding and of decoding; ``memory``: bytes
    that one more request in the batch takes, None where nobody measured.
    """

    tick: Calls
    text: Calls
    decode: Calls
    memory: float | None


def time_batches(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    guidance: float,
    sizes: Sequence[int],
    rounds: int = ROUNDS,
) -> BatchTimings:
    """Time the engine's calls at each batch size of ``sizes``, ``rounds`` times.

    Sizes take turns, so that a drift of the machine falls on all alike; a first round warms up.
    Sizes for which memory does not suffice are left out.
    """
    timed: list[int] = []
    seconds: dict[str, list[float]] = {kind: [] for kind in ("tick", "text", "decode")}
    peak: dict[int, int] = {}
    device, steps = pipeline._execution_device, least_steps(pipeline, TICKS)
    for turn in range(rounds + 1):
        for size in sorted(sizes, reverse=turn % 2 == 1):
            if size not in sizes:  # any more
                continue
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            engine = BatchedEngine(pipeline, size)
            requests = [Request(prompts[i % len(prompts)], i, steps, guidance) for i in range(size)]
            run_through(engine.run(requests))
            if min(engine.caps.values()) < size:
                sizes = [smaller for smaller in sizes if smaller < size]
                continue
            if device.type == "cuda":
                peak[size] = torch.cuda.max_memory_allocated(device)
            if turn:
                timed.append(size)
                for kind, values in seconds.items():
                    calls = getattr(engine.log, kind)
                    values.append(float(np.mean([spent for _, spent in calls])))

    def held(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(value for size, value in zip(timed, values) if size in sizes)

    tick, text, decode = ((held(timed), held(values)) for values in seconds.values())
    return BatchTimings(
        tick, text, decode, _memory({size: peak[size] for size in sizes if size in peak})
    )


def _memory(peak: dict[int, int]) -> float | None:
    """Bytes that one more request takes, from the ``peak`` bytes of batches of each size."""
    if len(peak) < 2:
        return None
    least, most = min(peak), max(peak)
    memory = (peak[most] - peak[least]) / (most - least)
    return memory if memory > 0 else None
