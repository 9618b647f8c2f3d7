"""A process that carries packets between two TUN devices, each direction late and no faster than
its rate.

``python pump.py FD_USER FD_EDGE DELAY UP DOWN``: DELAY in s one way, rates in bit/s of data, the
headers of a packet are free. It says ``ready``, and ends when its standard input is closed. A line
that comes there is another DELAY.
"""

import ctypes
import os
import select
import sys
import time
from collections import deque
from collections.abc import Sequence

#: Bytes of a packet that are not data: IPv4, TCP and its time stamps.
HEADERS = 52
#: Seconds of data that wait for the link at most; what comes then is dropped, as in a router.
QUEUE = 0.25
_LARGEST = 65536
_AT_ONCE = 64  # packets read in a row, so that the other direction is not kept waiting
_PR_SET_TIMERSLACK = 29


class Direction:
    """Packets from the device ``source`` to ``sink``, ``delay`` s late, at ``rate`` bit/s."""

    def __init__(self, source: int, sink: int, delay: float, rate: float) -> None:
        self.source, self.sink, self.delay, self.rate = source, sink, delay, rate
        self._free = 0.0  # when the link is free again
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Read what there is, and decide when each packet arrives."""
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.source, _LARGEST)
            except BlockingIOError:
                return
            begin = max(now, self._free)
            if begin - now < QUEUE:
                self._free = begin + 8 * max(0, len(packet) - HEADERS) / self.rate
                self._waiting.append((self._free + self.delay, packet))

    def deliver(self, now: float) -> float | None:
        """Write the packets that are due; returns when the next one is, None if none waits."""
        while self._waiting:
            due, packet = self._waiting[0]
            if due > now:
                return due
            self._waiting.popleft()
            try:
                os.write(self.sink, packet)
            except OSError:  # the device is going down, or its queue is full: the packet is lost
                continue
        return None


def run(directions: Sequence[Direction], control: int) -> None:
    """Carry packets until the descriptor ``control`` is closed at its other end; each number that
    comes there is the delay from then on.
    """
    sources = {direction.source: direction for direction in directions}
    while True:
        now = time.monotonic()
        due = [at for direction in directions if (at := direction.deliver(now)) is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select([*sources, control], [], [], wait)
        if control in ready:
            if not (line := os.read(control, _LARGEST)):
                return
            for direction in directions:
                direction.delay = float(line.split()[-1])
        now = time.monotonic()
        for source in sources.keys() & ready:
            sources[source].take(now)


def main(arguments: Sequence[str]) -> None:
    """The process."""
    user, edge, (delay, up, down) = int(arguments[0]), int(arguments[1]), map(float, arguments[2:])
    # sleep to the microsecond, where the system's default is 50
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    directions = (Direction(user, edge, delay, up), Direction(edge, user, delay, down))
    print("ready", flush=True)
    run(directions, sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
