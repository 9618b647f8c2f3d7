"""Continuous batching against the stock pipeline, at true size, with random weights."""

from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

from benchmarks.gpu.goals import CEILING, OVER_STOCK
from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting
from benchmarks.serving.engine import Comparison, compare, make_requests
from calibration.costs.batch import fit_batching
from testbed.bench.bench import PROMPT
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.engines.timing import time_batches
from testbed.models.memory import guard_decoder
from testbed.models.pipelines import denoiser
from testbed.models.published import architectures, catalogue

REQUESTS = 32
LEVELS = 8  # different step counts: four requests of each, so that a stock call can group them
TOLERANCE = 2 / 256  # of a pixel in half precision
_REPEATS = 3


@dataclass(frozen=True)
class Serving:
    """Compares the ways to serve mixed requests on the architecture ``name``, their steps from
    ``fewest`` to ``most``, in batches of at most the best of ``sizes``.
    """

    name: str
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    most: int = 50
    rounds: int = 4
    fewest: int = 4
    dtype: str = "float16"

    def __call__(self, notes: Notes, setting: Setting) -> str:
        """Measure the cap, then all ways in turns."""
        pipeline = random_pipeline(self.name, setting, self.dtype)
        guidance = guidance_of(self.name)
        cap = notes.attempt("cap", lambda: self.cap(pipeline, setting)) or max(self.sizes)
        requests = self.requests(setting)
        engine = BatchedEngine(pipeline, cap)
        comparison = compare(engine, requests, cap, 1 if setting.small else _REPEATS, 1)
        notes.add(
            dtype=str(denoiser(pipeline).dtype).removeprefix("torch."),
            guidance=guidance,
            scheduler=type(pipeline.scheduler).__name__,
            levels=LEVELS,
            comparison=comparison,
            goals=goals(comparison),
            overhead=overhead(engine, comparison),
        )
        return line(comparison)

    def requests(self, setting: Setting) -> list[Request]:
        """The mixed requests."""
        guidance = guidance_of(self.name)
        if setting.small:
            return make_requests(3, 1, 2, guidance, 2)
        return make_requests(REQUESTS, self.fewest, self.most, guidance, LEVELS)

    def cap(self, pipeline: DiffusionPipeline, setting: Setting) -> int:
        """The batch size beyond which no larger one makes more steps a second."""
        sizes, rounds = ((1, 2), 2) if setting.small else (self.sizes, self.rounds)
        timings = time_batches(pipeline, [PROMPT], guidance_of(self.name), sizes, rounds)
        return fit_batching(timings.tick, timings.text, timings.decode, timings.memory).cap


SD15 = Serving("sd15")
SDXL = Serving("sdxl", (1, 2, 4, 8), most=20, rounds=2)
SD35, SANA = (
    Serving(name, (1, 2, 4, 8), most=20, rounds=2, dtype="bfloat16")
    for name in ("sd35-medium", "sana")
)
FLUX, SPRINT = (
    Serving(name, (1, 2, 4, 8), most=4, rounds=2, fewest=1, dtype="bfloat16")
    for name in ("flux-schnell", "sana-sprint")
)


def random_pipeline(name: str, setting: Setting, dtype: str = "float16") -> DiffusionPipeline:
    """The architecture ``name`` in half precision."""
    kind = getattr(torch, setting.dtype(dtype))
    pipeline = architectures.assemble(name, setting.where, kind, setting.shrink)
    guard_decoder(pipeline)
    return pipeline


def guidance_of(name: str) -> float:
    """The architecture's own guidance scale."""
    return catalogue.find(name).guidance


def goals(comparison: Comparison) -> dict[str, bool]:
    """What was aimed at, and whether it is reached. Images may differ by the tolerance, or by three
    times what the stock pipeline's own do in a batch.
    """
    difference = comparison.image_difference
    allowed = max(TOLERANCE, 3 * difference.worst_in_a_stock_batch)
    return {
        f"{OVER_STOCK:g} times the stock pipeline": comparison.over_stock >= OVER_STOCK,
        f"{CEILING:g} of the ceiling": comparison.ceiling_ratio >= CEILING,
        "the stock pipeline's images": difference.worst <= allowed,
    }


def overhead(engine: BatchedEngine, comparison: Comparison) -> dict[str, float]:
    """Where the engine's seconds of its last run go: in its calls, beside the denoiser's own in an
    iteration (the schedulers), and outside of all calls.
    """
    calls = {
        kind: sum(seconds for _, seconds in getattr(engine.log, kind))
        for kind in ("text", "tick", "decode")
    }
    return {
        **{f"{kind}_s": seconds for kind, seconds in calls.items()},
        "beside_the_denoiser_s": calls["tick"] - comparison.median["denoiser"],
        "outside_s": comparison.seconds["batched"][-1] - sum(calls.values()),
        "iterations": len(engine.log.tick),
    }


def line(comparison: Comparison) -> str:
    """The ratios."""
    return (
        f"cap {comparison.batch}: {comparison.over_stock:.2f} times the stock pipeline, "
        f"{comparison.over_grouped:.2f} times grouped, {comparison.ceiling_ratio:.3f} of the "
        f"ceiling, images within {comparison.image_difference.worst:.2g} "
        f"(stock in a batch: {comparison.image_difference.worst_in_a_stock_batch:.2g})"
    )
