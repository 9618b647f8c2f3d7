"""Throughput of continuous batching, paired with its ceiling and the stock pipeline: same requests,
seeds, precision and threads, in turns.

    python -m benchmarks.serving.engine --requests 64 --repeats 3 -o benchmarks/results/engine.json

``networks``: the network calls that the engine makes, at the same batch sizes, with nothing around
them (the ceiling); ``denoiser``: those of the denoiser alone. ``batched``: the engine. ``stock``:
the pipeline's own call, one request after another. ``grouped``: the same with all requests of equal
steps in calls of up to ``--batch``. The last line is JSON; times are medians over the repeats, in
seconds.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from calibration.schema import Schema, frozen
from calibration.serving.simulator import simulate
from solver.inputs import InputError, write_json
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, captions
from testbed.engines.batched import CAP, BatchedEngine
from testbed.engines.networks import Networks, call_options, unsupported_reason
from testbed.engines.request import Request, all_made
from testbed.engines.stock import synchronised_clock
from testbed.environment import environment
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.models.published import architectures

#: Pixels in [0, 1], (height, width, 3), by request.
Images = dict[int, NDArray[np.float32]]


@frozen
class Difference(Schema):
    """Greatest difference of a pixel in [0, 1] from the stock pipeline alone: ``median`` over the
    requests, and the ``worst`` of them. ``worst_in_a_stock_batch``: what the stock pipeline itself
    makes of that one in a call with others, for rounding alone depends on the batch.
    """

    median: float
    worst: float
    worst_in_a_stock_batch: float


@frozen
class Comparison(Schema):
    """``seconds`` of each way by repeat, and their ``median``; ``ticks`` of the engine's last run
    and its ``caps_at_end``. ``ceiling_ratio`` and ``denoiser_ratio``: the engine's share of the
    speed of the calls alone. ``over_stock`` and ``over_grouped``: how many times as fast it is.
    """

    requests: int
    steps: int
    batch: int
    ticks: int
    caps_at_end: dict[str, int]
    seconds: dict[str, tuple[float, ...]]
    median: dict[str, float]
    ceiling_ratio: float
    denoiser_ratio: float
    over_stock: float
    over_grouped: float
    image_difference: Difference


def make_requests(
    count: int, fewest: int, most: int, guidance: float, levels: int | None = None
) -> list[Request]:
    """``count`` requests in an order drawn once, their steps spread evenly over ``fewest`` to
    ``most``: over as many different step counts as can be, or over ``levels``.
    """
    texts = [caption.text for name in CLASSES for caption in captions(name, "held-out")]
    spread = np.linspace(fewest, most, levels or count).round().astype(int)
    steps = np.random.default_rng(0).permutation(np.resize(spread, count))
    return [
        Request(texts[i * len(texts) // count], i, int(s), guidance) for i, s in enumerate(steps)
    ]


class Ceiling:
    """The calls of a run of the engine, on inputs made before, with nothing around them."""

    def __init__(self, networks: Networks, requests: Sequence[Request], cap: int, ticks: list[int]):
        self._networks, self._requests = networks, requests
        self._log = simulate([0.0] * len(requests), ticks, lambda batch: 1.0, cap).log
        conditions = networks.encode(requests[:cap])
        device, noise = networks.device, networks.noise(torch.Generator("cpu"), conditions[0])
        self._latents = noise.repeat(2 * cap, 1, 1, 1)
        self._rows: dict[int, tuple[torch.Tensor, torch.Tensor, dict[str, Any]]] = {}
        for batch in {int(batch) for batch in self._log["batch"]}:
            guided = sum(networks.guided(request.guidance) for request in requests[:batch])
            negative = [networks.negative()] * guided if guided else []
            self._rows[batch] = (
                self._latents[: guided + batch],
                torch.full((guided + batch,), 500.0, device=device),
                networks.stack(negative + conditions[:batch]),
            )

    @torch.no_grad()
    def denoiser(self) -> None:
        """The calls of the denoiser alone."""
        for batch, count in zip(self._log["batch"], self._log["ticks"]):
            for _ in range(count):
                self._networks.denoise(*self._rows[int(batch)])

    @torch.no_grad()
    def networks(self) -> None:
        """The calls of all networks."""
        self.denoiser()
        for encoded, decoded in zip(self._log["encoded"], self._log["decoded"]):
            if encoded:
                self._networks.encode(self._requests[:encoded])
            if decoded:
                self._networks.decode(self._latents[:decoded])


def stock(pipeline: DiffusionPipeline, requests: Sequence[Request], cap: int) -> Images:
    """Made by the pipeline's own call: requests of equal steps together, up to ``cap``."""
    alike: dict[int, list[int]] = defaultdict(list)
    images: Images = {}
    for i, request in enumerate(requests):
        alike[request.steps].append(i)
    for steps, members in alike.items():
        for part in (members[i : i + cap] for i in range(0, len(members), cap)):
            pixels = pipeline(
                [requests[i].prompt for i in part],
                num_inference_steps=steps,
                guidance_scale=requests[part[0]].guidance,
                generator=[torch.Generator("cpu").manual_seed(requests[i].seed) for i in part],
                output_type="np",
                **call_options(pipeline, steps),
            ).images
            images.update(zip(part, pixels))
    return images


def batched(engine: BatchedEngine, requests: Sequence[Request]) -> Images:
    """Made by continuous batching."""
    return {made.index: made.pixels for made in all_made(engine.run(requests))}


def compare(
    engine: BatchedEngine,
    requests: Sequence[Request],
    cap: int,
    repeats: int,
    stock_repeats: int | None = None,
    say: Callable[[str, float], None] = lambda way, seconds: None,
) -> Comparison:
    """Time all ways in turns, ``repeats`` times, and compare their images; ``stock_repeats``: of
    the slow ones, at least 1. ``say`` is told each way's seconds as they are measured.
    """
    pipeline, device = engine.networks.pipeline, engine.networks.device
    ticks = [engine.iterations(request.steps) for request in requests]
    ceiling = Ceiling(engine.networks, requests, cap, ticks)
    images: dict[str, Images] = {}

    def keep(name: str, make: Callable[[], Images]) -> Callable[[], None]:
        return lambda: images.update({name: make()})

    ways: Mapping[str, Callable[[], None]] = {
        "networks": ceiling.networks,
        "denoiser": ceiling.denoiser,
        "batched": keep("batched", lambda: batched(engine, requests)),
        "stock": keep("stock", lambda: stock(pipeline, requests, 1)),
        "grouped": keep("grouped", lambda: stock(pipeline, requests, cap)),
    }
    ceiling.networks()  # every shape once: kernels are chosen at first sight
    stock(pipeline, requests[:1], 1)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, way in ways.items():
            if name in ("stock", "grouped") and turn >= (stock_repeats or repeats):
                continue
            start = synchronised_clock(device)
            way()
            seconds[name].append(synchronised_clock(device) - start)
            say(name, seconds[name][-1])
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return Comparison(
        requests=len(requests),
        steps=sum(request.steps for request in requests),
        batch=cap,
        ticks=len(engine.log.tick),
        caps_at_end=engine.caps,
        seconds={name: tuple(values) for name, values in seconds.items()},
        median=median,
        ceiling_ratio=median["networks"] / median["batched"],
        denoiser_ratio=median["denoiser"] / median["batched"],
        over_stock=median["stock"] / median["batched"],
        over_grouped=median["grouped"] / median["batched"],
        image_difference=difference(pipeline, requests, cap, images["batched"], images["stock"]),
    )


def difference(
    pipeline: DiffusionPipeline,
    requests: Sequence[Request],
    cap: int,
    together: Images,
    alone: Images,
) -> Difference:
    """How far the images made ``together`` are from those made ``alone``."""
    apart = [float(np.abs(together[i] - alone[i]).max()) for i in range(len(requests))]
    worst = int(np.argmax(apart))
    others = [replace(request, steps=requests[worst].steps) for request in requests[: cap - 1]]
    in_a_batch = stock(pipeline, [requests[worst], *others], cap)[0]
    return Difference(
        median=float(np.median(apart)),
        worst=apart[worst],
        worst_in_a_stock_batch=float(np.abs(in_a_batch - alone[worst]).max()),
    )


def open_model(name: str, dtype: str, device: torch.device) -> DiffusionPipeline:
    """The pipeline to measure: ``embedded:NAME``, a folder, a hub id, or ``random:NAME``: an
    architecture with random weights.
    """
    if name.startswith("random:"):
        kind = name.removeprefix("random:")
        return architectures.assemble(kind, device, getattr(torch, dtype))
    return open_pipeline(ModelConfig(name, dtype=dtype), device)[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded:edge")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs=2, default=(4, 50), metavar=("FEWEST", "MOST"))
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument(
        "--batch", type=int, default=CAP, help="cap of the batch (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    args = parser.parse_args()
    device = pick_device(args.device)
    pipeline = open_model(args.model, args.dtype, device)
    if reason := unsupported_reason(pipeline):
        raise InputError(f"model: {args.model}: {reason}")
    requests = make_requests(args.requests, args.steps[0], args.steps[1], args.guidance)
    engine = BatchedEngine(pipeline, args.batch)

    def say(way: str, seconds: float) -> None:
        print(f"{way:10} {seconds:8.3f} s", flush=True)

    result = {
        "model": args.model,
        "scheduler": type(pipeline.scheduler).__name__,
        "dtype": args.dtype,
        "guidance": args.guidance,
        **compare(engine, requests, args.batch, args.repeats, say=say).to_dict(),
        "environment": environment(device),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
