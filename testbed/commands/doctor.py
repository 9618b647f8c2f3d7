"""What this machine has, in plain words."""

import shutil
import warnings

from huggingface_hub import CacheNotFound, scan_cache_dir

from calibration.costs.batch import fit_batching
from testbed.config import ModelConfig
from testbed.environment import environment
from testbed.meters import open_meter
from testbed.models import memory
from testbed.models.pipelines import WEIGHTS, open_pipeline, pick_device
from testbed.engines.timing import time_batches


def print_report():
    """Print device, libraries, meters, disk and embedded weights, and say what will be emulated or
    modelled.
    """
    device = pick_device()
    for key, value in {"device": device, **environment(device)}.items():
        print(f"{key + ':':12} {value}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        meter = open_meter(device)
        found = about_meter(meter)
    for line in [*(str(one.message) for one in said), *found]:
        print(f"{'energy:':12} {line}")
    print(f"{'free disk:':12} {shutil.disk_usage('.').free / 1e9:.0f} GB")
    if (room := memory.free(device)) is not None:
        print(f"{'free memory:':12} {room / 1e9:.0f} GB on the device")
    for name, size in cached_models():
        print(f"{'weights:':12} {name}, {size / 1e9:.1f} GB in the hub's cache")
    for folder in sorted(path for path in WEIGHTS.glob("*") if path.is_dir()):
        size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        print(f"{'weights:':12} embedded:{folder.name}, {size:.1f} MB")
    print(f"{'batching:':12} embedded:edge: {about_batches(device)}")
    print(
        f"{'emulated:':12} a user's device class scales time measured here by a published ratio (calibration/scenario/devices.py)"
    )


def cached_models():
    """[(hub id, bytes)] of the models in the hub's cache."""
    try:
        found = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((one.repo_id, one.size_on_disk) for one in found if one.repo_type == "model")


def about_batches(device, model="embedded:edge"):
    """Whether batching helps on this machine, for ``model``; takes a few seconds."""
    pipeline, _ = open_pipeline(ModelConfig(model), device)
    timings = time_batches(
        pipeline, ["a big red ball in the middle"], 3.0, [1, 2, 4, 8, 16], rounds=4
    )
    return fit_batching(**timings)["verdict"]


def about_meter(meter):
    """Lines that say what ``meter`` reads, and what follows for energy; takes half a second."""
    if meter.name is None:
        return [
            "in records null; in results modelled (stated watts x time), and labelled so, from the scenario's watts"
        ]
    watts = meter.idle(seconds=max(0.5, 4 * meter.period), pause=0.0)
    clock = "no clock frequency can be read: the law power = k f^3 is not tested"
    if meter.clock_hz:
        clock = f"the clock frequency is read, {meter.clock_hz / 1e9:.2f} GHz now"
    updates = f"the counters are updated every {meter.period:.2g} s; single shorter images are null, their mean is measured"
    idle = "idling: too short to tell" if watts is None else f"idling: {watts:.3g} W"
    return [f"measured by {meter.name} ({', '.join(meter.counters())})", updates, idle, clock]
