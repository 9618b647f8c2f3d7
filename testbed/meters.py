"""Energy meters behind one interface: ``start()``, then ``stop()`` gives joules, or ``None`` where
none were measured.

A meter reads counters of joules that only grow: through Zeus those of the GPU that computes (NVML,
AMD SMI), of the CPU packages and their memory (RAPL), or of a whole system on a chip.
:class:`ReplayMeter` reads recorded ones instead.
"""

import csv
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from solver.inputs import InputError

WATCH = 0.5  # s, for which the counters are watched when a meter is opened
_CLOCK_PERIOD = 0.1  # s between two readings of the clock frequency
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
    """``read()`` gives joules since some moment; past ``wraps_at`` joules, more than a window
    takes, it starts at 0 again (None: never).
    """

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None


class NoMeter:
    """Stands where no meter is: every energy is ``None``, never zero."""

    name = parts_j = clock_hz = period = None

    def start(self):
        pass

    def stop(self):
        return None

    def idle(self, seconds=0.0, pause=0.0):
        return None


class Meter:
    """Joules of all ``counters`` together, and the mean clock frequency, between ``start()`` and
    ``stop()``.

    Opening it watches the counters for half a second: ``period`` is the longest time in seconds
    between two updates of a counter, and a counter that stands still is left out with a warning.
    After ``stop()``, ``parts_j`` holds the joules by counter as they were counted, and ``clock_hz``
    the mean of ``read_clock()``, or None without one.

    A counter that is updated every ``period`` misses or gains up to one update in a window. So a
    window that is shorter, or in which a counter did not move, has no joules of its own: ``stop()``
    gives None. Its ``parts_j`` still count in a sum over many windows.
    """

    def __init__(self, name, counters, read_clock=None, now=time.perf_counter, sleep=time.sleep):
        self.name, self.parts_j, self.clock_hz = name, None, None
        self._now, self._sleep, self._clock = now, sleep, None
        self._read_clock = read_clock if read_clock and read_clock() else None
        self._counters, self._told = list(counters), False
        self.period = self._watch()

    def counters(self):
        """Names of the counters that are read."""
        return [counter.name for counter in self._counters]

    def _read(self):
        return {counter.name: counter.read() for counter in self._counters}

    def _watch(self):
        """Leave out the counters that stand still; the others' longest time between updates
        (``WATCH`` if seen only once).
        """
        end = self._now() + WATCH
        last, updates = self._read(), {counter.name: [] for counter in self._counters}
        while (at := self._now()) < end:
            for name, joules in self._read().items():
                if joules != last[name]:
                    last[name] = joules
                    updates[name].append(at)
            self._sleep(0.001)
        still = [name for name, times in updates.items() if not times]
        if still:
            warnings.warn(
                f"energy: {', '.join(still)}: the counter stands still; it is left out",
                stacklevel=3,
            )
        self._counters = [counter for counter in self._counters if counter.name not in still]
        gaps = [
            float(np.max(np.diff(times))) if len(times) > 1 else WATCH
            for times in updates.values()
            if times
        ]
        return max(gaps, default=None)

    def start(self):
        if self._clock:  # a window that an error left open
            self._clock.mean()
        self._since, self._before = self._now(), self._read()
        self._clock = _MeanClock(self._read_clock) if self._read_clock else None

    def stop(self):
        """Joules since ``start()``, or None where they were not measured."""
        after, seconds = self._read(), self._now() - self._since
        self.clock_hz = self._clock.mean() if self._clock else None
        self._clock = None
        self.parts_j = {}
        for name, _, wraps_at in self._counters:
            counted = after[name] - self._before[name]
            self.parts_j[name] = counted % wraps_at if wraps_at else counted
        if seconds >= self.period and min(self.parts_j.values()) > 0:
            return sum(self.parts_j.values())
        if not self._told:
            self._told = True
            said = f"counters are updated every {self.period:.3g} s; single images of {seconds:.3g} s are too short"
            warnings.warn(f"energy: {said}", stacklevel=2)
        return None

    def idle(self, seconds=3.0, pause=1.0):
        """Watts while this process rests, measured for ``seconds`` after a ``pause``; None if too
        short to tell.
        """
        self._sleep(pause)
        self.start()
        self._sleep(seconds)
        joules = self.stop()
        return None if joules is None else joules / (self._now() - self._since)


class _MeanClock:
    """The mean of ``read()``, taken every tenth of a second from the making of this object to
    ``mean()``, and once at the end.
    """

    def __init__(self, read):
        self._read, self._found, self._end = read, [], threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while not self._end.wait(_CLOCK_PERIOD):
            self._found.append(self._read())

    def mean(self):
        self._end.set()
        found = [hertz for hertz in [*self._found, self._read()] if hertz]
        return sum(found) / len(found) if found else None


class ReplayMeter(Meter):
    """A meter on recorded counters, which run on from the moment that it is opened.

    ``readings``: columns of equal length: ``seconds``, ascending; ``clock_hz``, if it was recorded;
    all others cumulative joules of one counter each, which hold until the next row. ``wraps_at``:
    joules by counter, for those that wrap around. Reading past the last row raises
    :class:`InputError`.
    """

    def __init__(self, readings, wraps_at=None, now=time.perf_counter, sleep=time.sleep):
        readings = {name: np.asarray(column, float) for name, column in readings.items()}
        seconds, opened = readings.pop("seconds"), now()

        def reader(column):
            def read():
                at = seconds[0] + now() - opened
                if at > seconds[-1]:
                    raise InputError(
                        f"replay: seconds: found {at:.6g}; allowed: at most {seconds[-1]:.6g}, where the recording ends"
                    )
                return float(column[np.searchsorted(seconds, at, side="right") - 1])

            return read

        read_clock = reader(readings.pop("clock_hz")) if "clock_hz" in readings else None
        counters = [
            Counter(name, reader(column), (wraps_at or {}).get(name))
            for name, column in readings.items()
        ]
        super().__init__("replay", counters, read_clock, now, sleep)

    @classmethod
    def load(cls, path, **options):
        """Open a recording: a CSV file with the columns as headings; raises :class:`InputError`
        naming the line.
        """
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        if "seconds" not in header or len(header) < 2 or not rows:
            raise InputError(
                f"{path}: found columns {header} and {len(rows)} rows; allowed: seconds and at least one counter, with rows"
            )
        numbers = []
        for line, row in enumerate(rows, 2):
            try:
                numbers.append([float(value) for value in row])
            except ValueError:
                raise InputError(f"{path}: line {line}: found {row}; allowed: numbers") from None
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {line}: found {len(row)} values; allowed: {len(header)}"
                )
        return cls(dict(zip(header, np.transpose(numbers), strict=True)), **options)


def open_meter(device):
    """The meter of what computes when ``device`` does, or :class:`NoMeter` with a warning that says
    why there is none.
    """
    try:
        from zeus.device import (
            get_cpus,
            get_gpus,
            get_soc,
        )  # optional: pip install 'edge-aigc-testbed[energy]'
    except ImportError:
        warnings.warn(
            "no energy meter: zeus is not installed; energy is not measured", stacklevel=2
        )
        return NoMeter()
    found = _soc(get_soc)  # its total holds the GPU and the CPU
    if not found:
        found = (
            _gpu(get_gpus, torch.cuda.current_device() if device.index is None else device.index)
            if device.type == "cuda"
            else {}
        )
        if (
            found or device.type == "cpu"
        ):  # without the GPU's counter the CPU's joules would pass for the work's
            found |= _cpus(get_cpus)
    if not found:
        warnings.warn(
            f"no energy meter: {_NEEDED[device.type]} cannot be read; energy is not measured",
            stacklevel=2,
        )
        return NoMeter()
    meter = Meter("+".join(found), [one for some in found.values() for one in some], _clock(device))
    return meter if meter.period else NoMeter()


def _found(find):
    try:
        return find()
    # Zeus raises its own error for each kind of missing device or permission; all mean "none here"
    except Exception:
        return None


def _soc(get_soc):
    soc = _found(get_soc)
    return (
        {"soc": [Counter("soc", lambda: _soc_joules(soc.get_total_energy_consumption()))]}
        if soc
        else {}
    )


def _soc_joules(measured):
    total = getattr(measured, "total_energy_mj", None)
    return (
        sum(getattr(measured, name, None) or 0 for name in _SOC_PARTS) if total is None else total
    ) / 1000


def _gpu(get_gpus, index):
    gpus = _found(get_gpus)
    if not gpus or not _found(lambda: gpus.supports_get_total_energy_consumption(index)):
        return {}
    kind = "amdsmi" if torch.version.hip else "nvml"
    return {kind: [Counter(f"gpu{index}", lambda: gpus.get_total_energy_consumption(index) / 1000)]}


def _cpus(get_cpus):
    """Packages and memory. The zone "psys" is the whole platform with the packages in it, and must
    not count again.
    """
    cpus, counters = _found(get_cpus), []
    for cpu in cpus.cpus if cpus else ():
        index = cpu.cpu_index
        if (
            Path(cpus.rapl_dir, f"intel-rapl:{index}", "name").read_text(encoding="utf-8").strip()
            == "psys"
        ):
            continue
        if hasattr(
            cpu,
            "rapl_file",
            # read the file itself: Zeus starts one more process per zone to count how often it wraps
        ):
            for name, zone in ((f"cpu{index}", cpu.rapl_file), (f"dram{index}", cpu.dram)):
                if zone:
                    counters.append(
                        Counter(
                            name,
                            lambda file=zone.energy_uj_path: float(Path(file).read_text()) / 1e6,
                            zone.max_energy_range_uj / 1e6,
                        )
                    )
        else:  # through Zeus's daemon, which counts the wraps
            counters.append(
                Counter(
                    f"cpu{index}", lambda cpu=cpu: cpu.get_total_energy_consumption().cpu_mj / 1000
                )
            )
            if cpu.supports_get_dram_energy_consumption():
                counters.append(
                    Counter(
                        f"dram{index}",
                        lambda cpu=cpu: cpu.get_total_energy_consumption().dram_mj / 1000,
                    )
                )
    return {"rapl": counters} if counters else {}


def _clock(device):
    """A function that gives the frequency in Hz: of the GPU's multiprocessors, or of the quickest
    core that may be used.
    """
    if device.type == "cuda":
        return lambda: _found(lambda: torch.cuda.clock_rate(device) * 1e6)
    if not hasattr(os, "sched_getaffinity"):
        return None
    # /proc/cpuinfo is no substitute: without the kernel's measurement it states the nominal
    # frequency
    files = [
        Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        for core in os.sched_getaffinity(0)
    ]
    return lambda: _found(lambda: max(float(file.read_text()) for file in files) * 1e3)
