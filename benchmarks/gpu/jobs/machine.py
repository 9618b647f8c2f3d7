"""What there is: card, driver, libraries, energy counter; how quick the card is at best; and what
``testbed doctor`` says.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting
from testbed.metering.meters import open_meter
from testbed.metering.nvml import Gpu

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "torchmetrics",
    "numpy",
    "scipy",
    "matplotlib",
    "tqdm",
    "jinja2",
    "zeus",
    "pynvml",
    "pytest",
    "hypothesis",
    "triton",
)


def run(notes: Notes, setting: Setting) -> str:
    """Note each fact by itself: a missing one does not hide the others."""
    notes.add(packages=versions())
    environment = notes.attempt("environment", lambda: _environment(setting)) or {}
    notes.attempt("card", lambda: card(setting))
    meter = notes.attempt("meter", lambda: counter(setting)) or {}
    side = 256 if setting.small else 8192
    rates = notes.attempt("best", lambda: best(setting, side)) or {}
    notes.attempt("doctor", lambda: doctor(setting))
    if not rates:
        raise RuntimeError(f"{setting.device}: {notes.read()['best']['failed']}")
    name = environment.get("machine", "unknown machine")
    power = f"{meter['idle_watts']:.0f} W idle" if meter.get("idle_watts") else "no idle power"
    speed = ", ".join(f"{value:.3g} {unit}" for unit, value in rates.items())
    return f"{name}; energy: {meter.get('name') or 'not measured'}, {power}; at best {speed}"


def _environment(setting: Setting) -> dict[str, Any]:
    from testbed.environment import environment

    return environment(setting.where)


def versions() -> dict[str, str | None]:
    """Versions of the packages that the testbed and this check may use; None: not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a folder on the path
        return "without metadata"


def card(setting: Setting) -> dict[str, Any]:
    """The card as torch and NVML describe it."""
    device, described = setting.where, {"cpus": os.cpu_count()}
    if device.type != "cuda":
        return described
    about, gpu = torch.cuda.get_device_properties(device), Gpu(device.index)
    return described | {
        "name": about.name,
        "memory_bytes": about.total_memory,
        "multiprocessors": about.multi_processor_count,
        "capability": f"{about.major}.{about.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": gpu.driver(),
        "power_limit_w": gpu.power_limit(),
        "clock_hz": gpu.clock(),
        "temperature_c": gpu.temperature(),
        "energy_counter_j": gpu.energy(),
    }


def counter(setting: Setting) -> dict[str, Any]:
    """The energy meter: which counters, how often they are updated, and the idle power."""
    meter = open_meter(setting.where)
    watts = meter.idle(seconds=0.5 if setting.small else 2.0, pause=0.2)
    return {
        "name": meter.name,
        "period_s": meter.period,
        "idle_watts": watts,
        "clock_hz": meter.clock_hz,
    }


def best(setting: Setting, side: int) -> dict[str, float]:
    """What no network exceeds: matrix products of ``side`` in half precision, and copies."""
    device = setting.where
    a, b = (torch.randn(side, side, device=device, dtype=torch.float16) for _ in range(2))
    out = torch.empty_like(a)
    product = _seconds(lambda: torch.mm(a, b, out=out), device)
    large = torch.randn(4 * side * side, device=device)
    target = torch.empty_like(large)
    copy = _seconds(lambda: target.copy_(large), device)
    return {"TFLOP/s": 2 * side**3 / product / 1e12, "TB/s": 2 * 4 * large.numel() / copy / 1e12}


def _seconds(call: Callable[[], object], device: torch.device, times: int = 20) -> float:
    for _ in range(3):
        call()
    start = _clock(device)
    for _ in range(times):
        call()
    return (_clock(device) - start) / times


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def doctor(setting: Setting) -> list[str]:
    """The lines of ``testbed doctor``, which times few batches in a trial."""
    from testbed.commands import doctor

    if setting.small:
        doctor.SIZES = (1, 2)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        doctor.print_report()
    return text.getvalue().splitlines()
