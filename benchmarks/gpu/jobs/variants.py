"""Which way to call the denoiser pays: channels last, CUDA graphs, torch.compile."""

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.jobs.graphs import GraphedDenoiser
from benchmarks.gpu.jobs.serving import LEVELS, REQUESTS, guidance_of, random_pipeline
from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting
from benchmarks.serving.engine import batched, make_requests
from testbed.bench.bench import PROMPT
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import Networks
from testbed.engines.request import Request
from testbed.engines.stock import synchronised_clock

NAME, CAP = "sd15", 16
_CALLS = 10

#: The denoiser's call, as :meth:`testbed.engines.networks.Networks.denoise`.
Denoise = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


def run(notes: Notes, setting: Setting) -> str:
    """Eager and graphs, then both once more with channels last, which the network keeps."""
    pipeline = random_pipeline(setting.architecture(NAME), setting)
    requests = _requests(setting)
    rates: dict[str, float] = {}
    for layout in ("", ", channels last"):
        if layout:
            pipeline.unet.to(memory_format=torch.channels_last)
        for kind in ("eager", "graphs"):
            networks = Networks(pipeline)
            denoise = networks.denoise if kind == "eager" else _graphed(networks, setting)
            name = f"{kind}{layout}"
            calls = notes.attempt(name, lambda d=denoise: _measure(pipeline, d, requests, setting))
            if calls:
                rates[name] = calls["steps_per_second"]
    eager = rates.get("eager")
    if not eager:
        raise RuntimeError("the eager denoiser was not measured")
    return "; ".join(f"{name}: {rate / eager:.2f} times eager" for name, rate in rates.items())


def run_compiled(notes: Notes, setting: Setting) -> str:
    """torch.compile of the repeated blocks, then of the whole network, at fixed batch sizes."""
    pipeline = random_pipeline(setting.architecture(NAME), setting)
    networks = Networks(pipeline)
    backend = "eager" if setting.small else "inductor"
    # each width of a block, at each batch size, is compiled by itself: more than are allowed
    notes.attempt("recompile limit", lambda: _allow_recompiles(64))
    eager = _calls(networks, networks.denoise, setting)
    notes.add(eager=eager)
    ratios = []
    for name, compile_network in {
        "blocks": lambda: pipeline.unet.compile_repeated_blocks(backend=backend, dynamic=False),
        "whole": lambda: pipeline.unet.compile(backend=backend, dynamic=False),
    }.items():
        start = time.monotonic()
        if notes.attempt(f"{name} compiled", lambda c=compile_network: c() or True):
            calls = notes.attempt(name, lambda: _calls(networks, networks.denoise, setting))
            notes.add(**{f"{name} seconds": time.monotonic() - start})
            if calls:
                ratios += [f"{name} {_ratios(eager, calls)}"]
    if not ratios:
        raise RuntimeError("nothing could be compiled")
    return "; ".join(ratios)


def _allow_recompiles(limit: int) -> int:
    torch._dynamo.config.recompile_limit = limit
    return limit


def _ratios(eager: dict[str, float], calls: dict[str, float]) -> str:
    return ", ".join(f"{size}: {eager[size] / calls[size]:.2f} times eager" for size in eager)


def _requests(setting: Setting) -> list[Request]:
    guidance = guidance_of(NAME)
    if setting.small:
        return make_requests(2, 1, 2, guidance)
    return make_requests(REQUESTS, 4, 20, guidance, LEVELS)


def _graphed(networks: Networks, setting: Setting) -> Denoise:
    capture = None if setting.device == "cuda" else GraphedDenoiser.repeat
    return GraphedDenoiser(networks.denoise, capture)


def _measure(
    pipeline: Any, denoise: Denoise, requests: list[Request], setting: Setting
) -> dict[str, float]:
    """Seconds of single calls, and steps a second of the engine with this call."""
    networks = Networks(pipeline)
    calls = _calls(networks, denoise, setting)
    engine = BatchedEngine(pipeline, CAP)
    engine.networks.denoise = denoise  # type: ignore[method-assign]  # the variant in question
    batched(engine, requests)  # every shape once
    start = synchronised_clock(setting.where)
    batched(engine, requests)
    seconds = synchronised_clock(setting.where) - start
    return {**calls, "steps_per_second": sum(request.steps for request in requests) / seconds}


@torch.no_grad()
def _calls(networks: Networks, denoise: Denoise, setting: Setting) -> dict[str, float]:
    """Seconds of a call for 1 request and for as many as a batch holds, both halves of each."""
    seconds, calls = {}, 1 if setting.small else _CALLS
    request = Request(PROMPT, 0, 1, guidance_of(NAME))
    for size in (1,) if setting.small else (1, CAP):
        conditions = [networks.negative()] * size + networks.encode([request] * size)
        dtype, device = conditions[0].text.dtype, networks.device
        latents = torch.randn(2 * size, *networks.latent_shape, device=device, dtype=dtype)
        times = torch.full((2 * size,), 500, device=device)
        arguments = networks.stack(conditions)
        for _ in range(1 if setting.small else 3):
            denoise(latents, times, arguments)
        start = synchronised_clock(device)
        for _ in range(calls):
            denoise(latents, times, arguments)
        seconds[f"batch {size}"] = (synchronised_clock(device) - start) / calls
    return seconds
