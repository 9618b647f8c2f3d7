"""``testbed doctor``: what this machine has, in plain words."""

import os
import shutil
import sys
import warnings

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import CacheNotFound, scan_cache_dir

from calibration.costs.batch import fit_batching
from testbed.config import ModelConfig, SweepConfig
from testbed.engines import threads
from testbed.engines.threads import Threads, using
from testbed.engines.timing import time_batches
from testbed.environment import environment
from testbed.metering.meters import AnyMeter, open_meter
from testbed.metering.nvml import unusable_gpu
from testbed.models import memory
from testbed.models.pipelines import WEIGHTS, open_pipeline, pick_device

_MODEL = "embedded:edge"
SIZES = (1, 2, 4, 8, 16)  # of the batches that are timed
_ROUNDS = 4


def print_report() -> None:
    """Print device, libraries, meters, disk and weights, and what will be emulated or modelled.

    What takes seconds is told on stderr when it begins.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is said below
        device = pick_device()
    for key, value in {"device": device, **environment(device)}.items():
        _print(key, str(value))
    if reason := unusable_gpu():
        _print("gpu", reason)
    _tell("watching the energy counters for a second")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lines = about_meter(open_meter(device))
    for line in [*(str(warning.message) for warning in caught), *lines]:
        _print("energy", line)
    _print("free disk", f"{shutil.disk_usage('.').free / 1e9:.0f} GB")
    if (room := memory.free(device)) is not None:
        _print("free memory", f"{room / 1e9:.0f} GB on the device")
    for name, size in cached_models():
        _print("weights", f"{name}, {size / 1e9:.1f} GB in the hub's cache")
    for folder in sorted(path for path in WEIGHTS.glob("*") if path.is_dir()):
        size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        _print("weights", f"embedded:{folder.name}, {size / 1e6:.1f} MB")
    pipeline, _ = open_pipeline(ModelConfig(_MODEL), device)
    chosen = Threads.current()
    if device.type == "cpu":
        if not threads.asked_for():
            _tell(f"timing steps of {_MODEL} on one thread and on all")
            chosen = threads.choose(pipeline, SweepConfig().converged_batch, {})
        _print("threads", about_threads(chosen))
    _tell(f"timing batches of up to {max(SIZES)} on {_MODEL}, a few seconds")
    with using(chosen.batched):
        _print("batching", f"{_MODEL}: {about_batches(pipeline)}")
    _print(
        "emulated",
        "a user's device class scales time measured here by a published ratio "
        "(calibration/scenario/devices.py)",
    )


def _print(key: str, text: str) -> None:
    print(f"{key + ':':12} {text}", flush=True)


def _tell(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def cached_models() -> list[tuple[str, int]]:
    """Hub ids and bytes of the models in the hub's cache."""
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        (repository.repo_id, repository.size_on_disk)
        for repository in repositories
        if repository.repo_type == "model"
    )


def about_threads(chosen: Threads) -> str:
    """How many threads compute on this CPU, and why."""
    waiting = os.environ.get("GOMP_SPINCOUNT")
    why = "the environment asks for them" if threads.asked_for() else "the quicker ones now"
    spin = f"; waiting ones spin {waiting} times" if waiting else ""
    return (
        f"{_MODEL}: {chosen.single} for an image alone, {chosen.batched} for batches, of "
        f"{torch.get_num_threads()}: {why}{spin}"
    )


def about_batches(pipeline: DiffusionPipeline) -> str:
    """Whether batching helps on this machine; takes a few seconds."""
    timings = time_batches(pipeline, ["a big red ball in the middle"], 3.0, SIZES, _ROUNDS)
    return fit_batching(timings.tick, timings.text, timings.decode, timings.memory).verdict


def about_meter(meter: AnyMeter) -> list[str]:
    """Lines that say what ``meter`` reads, and what follows for energy; takes half a second."""
    if meter.name is None or meter.period is None:
        return [
            "in records null; in results modelled (stated watts x time), and labelled so, from "
            "the scenario's watts"
        ]
    watts = meter.idle(seconds=max(0.5, 4 * (meter.period or 0.0)), pause=0.0)
    clock = "no clock frequency can be read: the law power = k f^3 is not tested"
    if meter.clock_hz:
        clock = f"the clock frequency is read, {meter.clock_hz / 1e9:.2f} GHz now"
    return [
        f"measured by {meter.name} ({', '.join(meter.devices())})",
        f"the counters are updated every {meter.period:.2g} s; single shorter images are null, "
        "their mean is measured",
        "idling: too short to tell" if watts is None else f"idling: {watts:.3g} W",
        clock,
    ]
