"""The counters of joules, and the clock, that this machine lets a process read.

Zeus reads those of GPUs (NVML, AMD SMI), of CPU packages and their memory (RAPL), and of a whole
system on a chip. Without Zeus an NVIDIA GPU's is read through NVML itself.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from testbed import nvml

Value = TypeVar("Value")

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
    """``read()`` gives joules since some moment. Past ``wraps_at`` joules, more than a window
    takes, it starts at 0 again (None: never).
    """

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None


class NoCounters(Exception):
    """No counter can be read; the message says which is missing, and why."""


def find_counters(device: torch.device) -> dict[str, list[Counter]]:
    """The counters of what computes when ``device`` does, by the interface that reads them; raises
    :class:`NoCounters` if there are none.
    """
    try:
        # optional: pip install 'edge-aigc-testbed[energy]'
        from zeus.device import get_cpus, get_gpus, get_soc
    except ImportError:
        return _without_zeus(device)
    if soc := _soc(get_soc):  # its total holds the GPU and the CPU
        return soc
    counters = _gpu(get_gpus, _index(device)) if device.type == "cuda" else {}
    # without the GPU's counter the CPU's joules would pass for the work's
    if counters or device.type == "cpu":
        counters |= _cpus(get_cpus)
    if not counters:
        raise NoCounters(f"{_NEEDED[device.type]} cannot be read")
    return counters


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


def _without_zeus(device: torch.device) -> dict[str, list[Counter]]:
    reason = "zeus is not installed"
    if device.type != "cuda" or torch.version.hip:
        raise NoCounters(reason)
    index = _index(device)
    try:
        gpu = nvml.Gpu(index)
        gpu.energy()
    except nvml.NvmlError as error:
        raise NoCounters(f"{reason}, and {error}") from None
    return {"nvml": [Counter(f"gpu{index}", gpu.energy)]}


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


def _gpu(get_gpus: Callable[[], Any], index: int) -> dict[str, list[Counter]]:
    gpus = _try(get_gpus)
    if not gpus or not _try(lambda: gpus.supports_get_total_energy_consumption(index)):
        return {}
    interface = "amdsmi" if torch.version.hip else "nvml"
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
