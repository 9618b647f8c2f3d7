"""The counters of joules, and the clock, that this machine lets a process read.

That of an NVIDIA GPU is read through NVML itself. Zeus reads those of other GPUs (AMD SMI), of CPU
packages and their memory (RAPL), and of a whole system on a chip.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from testbed.metering import nvml

Value = TypeVar("Value")

#: Where the kernel lists RAPL's zones.
RAPL = Path("/sys/class/powercap")
_NEEDED = {
    "cpu": "RAPL (needs root or Zeus's daemon)",
    "cuda": "the GPU's energy counter (NVML: Volta or newer, no MIG)",
    "mps": "zeus-apple-silicon",
}
# Parts of a system on a chip that do not contain each other, as Zeus names them.
_SOC_PARTS = (
    "cpu_energy_mj",
    "gpu_energy_mj",
    "cpu_total_mj",
    "gpu_mj",
    "gpu_sram_mj",
    "ane_mj",
    "dram_mj",
)


class Counter(NamedTuple):
    """``read()`` gives joules since some moment. Past ``wraps_at`` joules it starts at 0 again
    (None: never). ``device``: which one it counts, where there may be several of a kind.
    """

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None
    device: str | None = None


class NoCounters(Exception):
    """No counter can be read; the message says which is missing, and why."""


def find_counters(device: torch.device) -> dict[str, list[Counter]]:
    """The counters of what computes when ``device`` does, by the interface that reads them; raises
    :class:`NoCounters` if there are none.
    """
    zeus, reasons = _zeus(), list[str]()
    if zeus and (soc := _soc(zeus.get_soc)):  # its total holds the GPU and the CPU
        return soc
    counters: dict[str, list[Counter]] = {}
    if device.type == "cuda":
        counters = _gpu(zeus, _index(device), reasons)
    # without the GPU's counter the CPU's joules would pass for the work's
    if counters or device.type == "cpu":
        counters |= (_cpus(zeus.get_cpus) if zeus else {}) or _rapl(reasons)
    if not counters:
        if zeus is None:
            reasons.insert(0, "zeus is not installed")
        said = ", and ".join(reasons)
        raise NoCounters(said or f"{_NEEDED[device.type]} cannot be read")
    return counters


def _zeus() -> Any:
    """Zeus's functions that open devices; None without Zeus."""
    try:
        # optional: pip install 'edge-aigc-testbed[energy]'
        return import_module("zeus.device")
    except ImportError:
        return None


def find_clock(device: torch.device) -> Callable[[], float | None] | None:
    """A function that gives the frequency in Hz: of the GPU's multiprocessors, or of the quickest
    core that may be used; it gives None where it cannot be read.
    """
    if device.type == "cuda":
        gpu = _try(lambda: nvml.Gpu(_index(device)))
        return lambda: _try(gpu.clock if gpu else lambda: torch.cuda.clock_rate(device) * 1e6)
    if not hasattr(os, "sched_getaffinity"):
        return None
    # /proc/cpuinfo is no substitute: without the kernel's measurement it states the nominal
    # frequency
    files = [
        Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        for core in os.sched_getaffinity(0)
    ]
    return lambda: _try(lambda: max(float(file.read_text()) for file in files) * 1e3)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _try(read: Callable[[], Value]) -> Value | None:
    try:
        return read()
    # each library raises errors of its own for a missing device or permission
    except Exception:
        return None


def _soc(get_soc: Callable[[], Any]) -> dict[str, list[Counter]]:
    soc = _try(get_soc)
    if not soc:
        return {}
    return {"soc": [Counter("soc", lambda: _soc_joules(soc.get_total_energy_consumption()))]}


def _soc_joules(measured: Any) -> float:
    total = getattr(measured, "total_energy_mj", None)
    if total is None:
        total = sum(getattr(measured, name, None) or 0 for name in _SOC_PARTS)
    return total / 1000


def _gpu(zeus: Any, index: int, reasons: list[str]) -> dict[str, list[Counter]]:
    """The counter of the GPU that torch counts as ``index``; what fails is added to ``reasons``.

    NVIDIA's is found by its UUID. Zeus counts as the management libraries do, which is another
    order where cards are unlike or hidden.
    """
    interface = "amdsmi" if torch.version.hip else "nvml"
    if interface == "nvml":
        try:
            gpu = nvml.Gpu(index)
            gpu.energy()
            device = f"{gpu.name()}, {gpu.uuid}"
            return {interface: [Counter(f"gpu{index}", gpu.energy, device=device)]}
        except nvml.NvmlError as error:
            reasons.append(str(error))
            if not isinstance(error, nvml.NoLibrary):
                return {}  # Zeus's card of that number may be another one
    if zeus is None:
        return {}
    try:
        gpus = zeus.get_gpus()
        if not gpus.supports_get_total_energy_consumption(index):
            reasons.append(f"{_NEEDED['cuda']} cannot be read")
            return {}
    except Exception as error:  # a class of its own for each library
        reasons.append(f"Zeus: {' '.join(str(error).split())}")
        return {}
    counter = Counter(f"gpu{index}", lambda: gpus.get_total_energy_consumption(index) / 1000)
    return {interface: [counter]}


def _cpus(get_cpus: Callable[[], Any]) -> dict[str, list[Counter]]:
    """Packages and memory. The zone "psys" is the whole platform with the packages in it, and must
    not count again.
    """
    cpus = _try(get_cpus)
    if not cpus:
        return {}
    counters: list[Counter] = []
    for cpu in cpus.cpus:
        zone = Path(cpus.rapl_dir, f"intel-rapl:{cpu.cpu_index}", "name")
        if zone.read_text(encoding="utf-8").strip() != "psys":
            counters += _zones(cpu) if hasattr(cpu, "rapl_file") else _daemon(cpu)
    return {"rapl": counters} if counters else {}


def _rapl(reasons: list[str]) -> dict[str, list[Counter]]:
    """Packages, and their memory where it may be read, as the kernel lists them, without Zeus: that
    takes all of a package's zones or none.
    """
    counters = []
    for package in sorted(RAPL.glob("intel-rapl:*")):
        number = re.fullmatch(r"package-(\d+(?:-die-\d+)?)", _name(package))
        if number is None:
            continue
        zones = {f"cpu{number[1]}": package}
        for part in package.glob("intel-rapl:*"):
            if _name(part) == "dram":
                zones[f"dram{number[1]}"] = part
        for label, zone in zones.items():
            try:
                read = partial(_joules_of, zone / "energy_uj")
                read()
                wraps_at = _joules_of(zone / "max_energy_range_uj")
            except OSError as error:
                reasons.append(f"RAPL: {error}: root may read it, or after chmod a+r all may")
                continue
            counters.append(Counter(label, read, wraps_at))
    if not any(counter.name.startswith("cpu") for counter in counters):
        return {}  # memory alone is not the work's energy
    return {"rapl": counters}


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _zones(cpu: Any) -> list[Counter]:
    """Read the files themselves: Zeus starts one more process per zone to count how often it
    wraps.
    """
    zones = {f"cpu{cpu.cpu_index}": cpu.rapl_file, f"dram{cpu.cpu_index}": cpu.dram}
    return [
        Counter(
            name,
            partial(_joules_of, Path(zone.energy_uj_path)),
            zone.max_energy_range_uj / 1e6,
        )
        for name, zone in zones.items()
        if zone
    ]


def _joules_of(file: Path) -> float:
    return float(file.read_text()) / 1e6


def _daemon(cpu: Any) -> list[Counter]:
    """Through Zeus's daemon, which counts the wraps."""
    measure = cpu.get_total_energy_consumption
    counters = [Counter(f"cpu{cpu.cpu_index}", lambda: measure().cpu_mj / 1000)]
    if cpu.supports_get_dram_energy_consumption():
        counters.append(Counter(f"dram{cpu.cpu_index}", lambda: measure().dram_mj / 1000))
    return counters
