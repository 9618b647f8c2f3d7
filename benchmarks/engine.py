#!/usr/bin/env python3
"""Throughput of the step engine, paired with its ceiling and the stock pipeline: same requests,
seeds, precision, threads, in turns.

    benchmarks/engine.py --requests 64 --repeats 3 -o benchmarks/results/engine.json

networks: the network calls that the engine makes, at the same batch sizes, with nothing around them
(the ceiling; denoiser: those of the denoiser alone). batched: the step engine. stock: the
pipeline's own call, one request after another. grouped: the same with all requests of equal steps
in calls of up to --batch. The last line is JSON; times are medians over the repeats, in seconds.
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from calibration.serving.simulator import simulate
from solver.inputs import InputError, write_json
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, captions
from testbed.engines.batched import CAP, BatchedEngine, Request
from testbed.engines.networks import Stages, served
from testbed.engines.stock import synchronised_clock
from testbed.environment import environment
from testbed.models import architectures
from testbed.models.pipelines import open_pipeline, pick_device


def open_model(name, dtype, device):
    """The pipeline to measure: ``embedded:NAME``, a folder, a hub id, or ``random:NAME``: an
    architecture with random weights.
    """
    if name.startswith("random:"):
        pipeline = architectures.assemble(
            name.removeprefix("random:"), device, getattr(torch, dtype)
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline
    return open_pipeline(ModelConfig(name, dtype=dtype), device)[0]


def make_requests(count, fewest, most, guidance):
    """``count`` requests, their steps spread evenly over ``fewest`` to ``most`` in an order drawn
    once.
    """
    texts = [caption.text for name in CLASSES for caption in captions(name, "held-out")]
    steps = np.random.default_rng(0).permutation(
        np.linspace(fewest, most, count).round().astype(int)
    )
    return [
        Request(texts[i * len(texts) // count], i, int(s), guidance) for i, s in enumerate(steps)
    ]


def ceiling(pipeline, requests, cap):
    """``(network calls, denoiser calls)``: two functions that make the calls of a run of the
    engine, on inputs made before.
    """
    stages = Stages(pipeline)
    ticks = [
        len(BatchedEngine(pipeline)._schedule(request.steps).timesteps) for request in requests
    ]
    log = simulate([0.0] * len(requests), ticks, lambda batch: 1.0, cap).log
    conditions = stages.encode(requests[:cap])
    dtype = conditions[0]["encoder_hidden_states"].dtype
    latents = torch.randn(2 * cap, *stages.latent_shape, device=stages.device, dtype=dtype)
    rows = {}
    for batch in {int(batch) for batch in log["batch"]}:
        guided = sum(stages.guided(request.guidance) for request in requests[:batch])
        arguments = stages.stack([stages.negative()] * guided + conditions[:batch])
        rows[batch] = (
            latents[: guided + batch],
            torch.full((guided + batch,), 500.0, device=stages.device),
            arguments,
        )

    @torch.no_grad()
    def denoiser():
        for batch, count in zip(log["batch"], log["ticks"]):
            for _ in range(count):
                stages.denoise(*rows[int(batch)])

    @torch.no_grad()
    def networks():
        denoiser()
        for encoded, decoded in zip(log["encoded"], log["decoded"]):
            if encoded:
                stages.encode(requests[:encoded])
            if decoded:
                stages.decode(latents[:decoded])

    return networks, denoiser


def stock(pipeline, requests, cap):
    """Pixels by request, made by the pipeline's own call: requests of equal steps together, up to
    ``cap``.
    """
    alike, pixels = defaultdict(list), {}
    for i, request in enumerate(requests):
        alike[request.steps].append(i)
    for steps, members in alike.items():
        for part in (members[i : i + cap] for i in range(0, len(members), cap)):
            generators = [torch.Generator("cpu").manual_seed(requests[i].seed) for i in part]
            images = pipeline(
                [requests[i].prompt for i in part],
                num_inference_steps=steps,
                guidance_scale=requests[part[0]].guidance,
                generator=generators,
                output_type="np",
            ).images
            pixels.update(zip(part, images))
    return pixels


def measure(pipeline, requests, cap, repeats, device):
    """Seconds of each way by repeat, :func:`differences`, and the engine."""
    engine = BatchedEngine(pipeline, cap)
    networks, denoiser = ceiling(pipeline, requests, cap)
    ways = {
        "networks": networks,
        "denoiser": denoiser,
        "batched": lambda: {done.index: done.pixels for done in engine.run(requests)},
        "stock": lambda: stock(pipeline, requests, 1),
        "grouped": lambda: stock(pipeline, requests, cap),
    }
    networks()  # every shape once: kernels are chosen at first sight
    stock(pipeline, requests[:1], 1)
    seconds, made = defaultdict(list), {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = synchronised_clock(device)
            made[name] = way()
            seconds[name].append(synchronised_clock(device) - start)
            print(f"{name:10} {seconds[name][-1]:8.3f} s", flush=True)
    return (
        dict(seconds),
        differences(pipeline, requests, cap, made["batched"], made["stock"]),
        engine,
    )


def differences(pipeline, requests, cap, batched, alone):
    """Greatest difference of a pixel in [0, 1] from the stock pipeline alone: median over the
    requests, and the worst of them; beside it what the stock pipeline itself makes of that one in a
    call with others, for rounding alone depends on the batch.
    """
    apart = [float(np.abs(batched[i] - alone[i]).max()) for i in range(len(requests))]
    worst = int(np.argmax(apart))
    others = [replace(request, steps=requests[worst].steps) for request in requests[: cap - 1]]
    together = stock(pipeline, [requests[worst], *others], cap)[0]
    return {
        "median": float(np.median(apart)),
        "worst": apart[worst],
        "worst_in_a_stock_batch": float(np.abs(together - alone[worst]).max()),
    }


def main():
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
    if reason := served(pipeline):
        raise InputError(f"model: {args.model}: {reason}")
    requests = make_requests(args.requests, *args.steps, args.guidance)
    seconds, apart, engine = measure(pipeline, requests, args.batch, args.repeats, device)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    result = {
        "model": args.model,
        "scheduler": type(pipeline.scheduler).__name__,
        "dtype": args.dtype,
        "requests": args.requests,
        "steps": sum(request.steps for request in requests),
        "guidance": args.guidance,
        "batch": args.batch,
        "ticks": len(engine.log.tick),
        "caps_at_end": engine.caps,
        "seconds": seconds,
        "median": median,
        "ceiling_ratio": median["networks"] / median["batched"],
        "denoiser_ratio": median["denoiser"] / median["batched"],
        "over_stock": median["stock"] / median["batched"],
        "over_grouped": median["grouped"] / median["batched"],
        "image_difference": apart,
        "environment": environment(device),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
