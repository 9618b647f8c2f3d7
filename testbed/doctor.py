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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meter = open_meter().name
    print(f"{'energy:':12} {meter or 'no meter: measured energy is null; a scenario may ask for modelled energy'}")
    print(f"{'free disk:':12} {shutil.disk_usage('.').free / 1e9:.0f} GB")
    for folder in sorted(path for path in WEIGHTS.glob("*") if path.is_dir()):
        size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        print(f"{'weights:':12} embedded:{folder.name}, {size:.1f} MB")
    print(f"{'emulated:':12} a user's device class scales time measured here by a published ratio (calibration/devices.py)")
