"""What this machine has, in plain words."""

import shutil
import warnings

from testbed.execute import environment
from testbed.meters import open_meter
from testbed.pipelines import WEIGHTS, pick_device


def print_report():
    """Print device, libraries, meters, disk and embedded weights, and say what will be emulated or modelled."""
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
    for folder in sorted(path for path in WEIGHTS.glob("*") if path.is_dir()):
        size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        print(f"{'weights:':12} embedded:{folder.name}, {size:.1f} MB")
    print(f"{'emulated:':12} a user's device class scales time measured here by a published ratio (calibration/devices.py)")


def about_meter(meter):
    """Lines that say what ``meter`` reads, and what follows for energy; takes half a second."""
    if meter.name is None:
        return ["in records null; in results modelled (stated watts x time), and labelled so, from the scenario's watts"]
    watts = meter.idle(seconds=max(0.5, 4 * meter.period), pause=0.0)
    clock = "no clock frequency can be read: the law power = k f^3 is not tested"
    if meter.clock_hz:
        clock = f"the clock frequency is read, {meter.clock_hz / 1e9:.2f} GHz now"
    updates = f"the counters are updated every {meter.period:.2g} s; single shorter images are null, their mean is measured"
    idle = "idling: too short to tell" if watts is None else f"idling: {watts:.3g} W"
    return [f"measured by {meter.name} ({', '.join(meter.counters())})", updates, idle, clock]
