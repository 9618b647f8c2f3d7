"""Energy meters behind one interface: ``start()``, then ``stop()`` gives joules, or ``None`` where
none were measured.

A meter reads counters of joules that only grow (:mod:`testbed.metering.counters`).
:class:`ReplayMeter` reads recorded ones instead.
"""

import csv
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from solver.inputs import InputError, read_text
from testbed.metering.counters import Counter, NoCounters, find_clock, find_counters
from testbed.metering.window import Window

WATCH = 0.5  # s, for which the counters are watched when a meter is opened


class NoMeter:
    """Stands where no meter is: every energy is ``None``, never zero."""

    name: None = None
    parts_j: None = None
    clock_hz: None = None
    period: None = None

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """No joules."""
        return None

    def idle(self, seconds: float = 0.0, pause: float = 0.0) -> None:
        """No watts."""
        return None


class Meter:
    """Joules of all ``counters`` together, and the mean clock frequency, between ``start()`` and
    ``stop()``.

    Opening it watches the counters for half a second: ``period`` is the longest time in seconds
    between two updates of a counter, None if none of them moves. A counter that stands still is
    left out, with a warning. After ``stop()``, ``parts_j`` holds the joules by counter as they were
    counted, and ``clock_hz`` the mean of ``read_clock()``, or None without one.

    A counter that wraps around is read often enough in a long window that no wrap is missed. Where
    one may have been, where a counter fell, or could not be read, the window counts for nothing:
    ``stop()`` and ``parts_j`` are None, with a warning.

    A counter that is updated every ``period`` misses or gains up to one update in a window. So a
    window that is shorter, or in which a counter did not move, has no joules of its own: ``stop()``
    gives None. Its ``parts_j`` still count in a sum over many windows.
    """

    def __init__(
        self,
        name: str,
        counters: Sequence[Counter],
        read_clock: Callable[[], float | None] | None = None,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.parts_j: dict[str, float] | None = None
        self.clock_hz: float | None = None
        self._now, self._sleep = now, sleep
        self._read_clock = read_clock if read_clock and read_clock() else None
        self._counters, self._warned = list(counters), set[str]()
        self._watts = dict.fromkeys((counter.name for counter in counters), 0.0)  # highest seen
        self._window: Window | None = None
        self.period = self._watch()

    def counters(self) -> list[str]:
        """Names of the counters that are read."""
        return [counter.name for counter in self._counters]

    def devices(self) -> list[str]:
        """The counters that are read, each with the device that it counts, where that is known."""
        return [
            f"{counter.name}: {counter.device}" if counter.device else counter.name
            for counter in self._counters
        ]

    def _read(self) -> dict[str, float]:
        return {counter.name: counter.read() for counter in self._counters}

    def _watch(self) -> float | None:
        """Leave out the counters that stand still; the others' longest time between updates
        (``WATCH`` if seen only once).
        """
        end = self._now() + WATCH
        begun, last = self._now(), self._read()
        updates: dict[str, list[float]] = {name: [] for name in last}
        while (at := self._now()) < end:
            for name, joules in self._read().items():
                if joules != last[name]:
                    self._watts[name] += max(0.0, joules - last[name])
                    last[name] = joules
                    updates[name].append(at)
            self._sleep(0.001)
        self._watts = {name: joules / (at - begun) for name, joules in self._watts.items()}
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

    def start(self) -> None:
        """Begin a window."""
        if self._window:  # one that an error left open
            self._window.close()
        self._window = Window(self._counters, self._watts, self._read_clock, self._now)

    def stop(self) -> float | None:
        """Joules since ``start()``, or None where they were not measured."""
        assert self._window is not None, "start() comes first"
        window, self._window = self._window, None
        window.close()
        self.clock_hz, self.parts_j = window.clock_hz(), None
        if window.fault:
            self._warn(window.fault.partition(":")[0], f"{window.fault}; the window is not counted")
            return None
        self.parts_j = window.joules
        for name, joules in window.joules.items():
            self._watts[name] = max(self._watts[name], joules / max(window.seconds, WATCH))
        period = self.period or 0.0
        if window.seconds >= period and min(self.parts_j.values()) > 0:
            return sum(self.parts_j.values())
        self._warn(
            "short",
            f"counters are updated every {period:.3g} s; single images of {window.seconds:.3g} s "
            "are too short",
        )
        return None

    def _warn(self, kind: str, text: str) -> None:
        """Warn of each ``kind`` once."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(f"energy: {text}", stacklevel=3)

    def idle(self, seconds: float = 3.0, pause: float = 1.0) -> float | None:
        """Watts while this process rests, measured for ``seconds`` after a ``pause``; None if too
        short to tell.
        """
        self._sleep(pause)
        self.start()
        since = self._now()
        self._sleep(seconds)
        joules = self.stop()
        return None if joules is None else joules / (self._now() - since)


AnyMeter = Meter | NoMeter


class ReplayMeter(Meter):
    """A meter on recorded counters, which run on from the moment that it is opened.

    ``readings``: columns of equal length: ``seconds``, ascending; ``clock_hz``, if it was recorded;
    all others cumulative joules of one counter each, which hold until the next row. ``wraps_at``:
    joules by counter, for those that wrap around. Reading past the last row raises
    :class:`InputError`.
    """

    def __init__(
        self,
        readings: Mapping[str, ArrayLike],
        wraps_at: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        columns = {name: np.asarray(column, float) for name, column in readings.items()}
        seconds, opened = columns.pop("seconds"), now()

        def reader(column: NDArray[np.float64]) -> Callable[[], float]:
            def read() -> float:
                at, end = seconds[0] + now() - opened, seconds[-1]
                if at > end:
                    raise InputError(
                        f"replay: seconds: found {at:.6g}; allowed: at most {end:.6g}, where the "
                        "recording ends"
                    )
                return float(column[np.searchsorted(seconds, at, side="right") - 1])

            return read

        read_clock = reader(columns.pop("clock_hz")) if "clock_hz" in columns else None
        counters = [
            Counter(name, reader(column), (wraps_at or {}).get(name))
            for name, column in columns.items()
        ]
        super().__init__("replay", counters, read_clock, now, sleep)

    @classmethod
    def load(
        cls,
        path: Path,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Open a recording: a CSV file with the columns as headings; raises :class:`InputError`
        naming the line.
        """
        header, *rows = list(csv.reader(read_text(path).splitlines())) or [[]]
        if "seconds" not in header or len(header) < 2 or not rows:
            raise InputError(
                f"{path}: found columns {header} and {len(rows)} rows; allowed: seconds and at "
                "least one counter, with rows"
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
        columns = dict(zip(header, np.transpose(numbers), strict=True))
        return cls(columns, now=now, sleep=sleep)


def open_meter(device: torch.device) -> AnyMeter:
    """The meter of what computes when ``device`` does, or :class:`NoMeter` with a warning that says
    why there is none.
    """
    try:
        counters = find_counters(device)
    except NoCounters as reason:
        warnings.warn(f"no energy meter: {reason}; energy is not measured", stacklevel=2)
        return NoMeter()
    every = [counter for kind in counters.values() for counter in kind]
    meter = Meter("+".join(counters), every, find_clock(device))
    # without the GPU's own the joules of the CPU would pass for the work's
    needed = {counter.name for counter in every if counter.name.startswith("gpu")}
    return meter if meter.period and needed <= set(meter.counters()) else NoMeter()
