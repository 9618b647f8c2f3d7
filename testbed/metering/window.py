"""What counters of joules and a clock give in one window of time."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from solver.inputs import InputError
from testbed.metering.counters import Counter

_CLOCK_PERIOD = 0.1  # s between two readings of the clock frequency
#: s between two readings, in a window, of counters that wrap around.
COUNT_PERIOD = 10.0
#: s in which no counter wraps around, at the highest power of what it counts: Intel states about a
#: minute for RAPL (Software Developer's Manual, volume 3, "RAPL interfaces").
WRAP_TIME = 60.0
#: W that nothing with a counter takes: beyond these, with a second for updates of the counter that
#: are still to come, it was set to another value.
MOST_WATTS = 10_000.0


class Window:
    """What counters and clock give from the making of this object to ``close()``.

    A thread reads the clock every tenth of a second, and every few seconds the counters that wrap
    around. ``watts``: the highest power of each counter so far. ``joules``: by counter; ``fault``:
    why they cannot be told, None if they can.
    """

    def __init__(
        self,
        counters: Sequence[Counter],
        watts: Mapping[str, float],
        read_clock: Callable[[], float | None] | None,
        now: Callable[[], float],
    ) -> None:
        self.joules = {counter.name: 0.0 for counter in counters}
        self.fault: str | None = None
        self._counters, self._watts = counters, watts
        self._read_clock, self._now = read_clock, now
        self._hertz: list[float | None] = []
        self._last: dict[str, float] = {}
        self._end, self._counting = threading.Event(), threading.Lock()
        wraps = any(counter.wraps_at for counter in counters)
        with self._counting:
            if read_clock or wraps:
                period = _CLOCK_PERIOD if read_clock else COUNT_PERIOD
                threading.Thread(target=self._watch, args=(period, wraps), daemon=True).start()
            # last: what is done here is not the window's work
            self._since = self._at = now()
            self._add_moves()

    @property
    def seconds(self) -> float:
        """From the first to the last reading of the counters."""
        return self._at - self._since

    def close(self) -> None:
        """End the window."""
        self._count()
        self._end.set()
        if self._read_clock:
            self._hertz.append(self._read_clock())

    def clock_hz(self) -> float | None:
        """The mean of the readings of the clock."""
        readings = [hertz for hertz in self._hertz if hertz]
        return sum(readings) / len(readings) if readings else None

    def _watch(self, period: float, wraps: bool) -> None:
        counted = time.monotonic()
        while not self._end.wait(period):
            try:
                if self._read_clock:
                    self._hertz.append(self._read_clock())
                if wraps and time.monotonic() - counted >= COUNT_PERIOD:
                    counted = time.monotonic()
                    self._count()
            except InputError:  # a recording that ended: close() says so
                return

    def _count(self) -> None:
        """Add what each counter moved by since it was last read."""
        with self._counting:
            if not self._end.is_set():
                self._add_moves()

    def _add_moves(self) -> None:
        try:
            read = {counter.name: counter.read() for counter in self._counters}
        except InputError:
            raise
        except Exception as error:  # a driver that is reset, a permission that ends
            self.fault = f"the counters cannot be read: {' '.join(str(error).split())}"
            return
        at = self._now()
        gap = at - self._at
        for name, _, wraps_at, _ in self._counters:
            moved = read[name] - self._last.get(name, read[name])
            if wraps_at:
                moved %= wraps_at
                if gap > WRAP_TIME or gap * self._watts[name] >= wraps_at:
                    self.fault = (
                        f"{name}: wraps around at {wraps_at:.6g} J, and may have more than once in "
                        f"{gap:.3g} s"
                    )
            elif moved < 0:
                self.fault = f"{name}: fell by {-moved:.6g} J: it was reset"
            if moved > MOST_WATTS * (gap + 1.0):
                self.fault = f"{name}: moved by {moved:.6g} J in {gap:.3g} s: it was set anew"
            self.joules[name] += moved
        self._last, self._at = read, at
