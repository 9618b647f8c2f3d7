"""What a link really does: its round trip and its rates, measured over TCP, and judged."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from calibration.schema import Schema, frozen
from testbed.link.emulated import EmulatedLink

#: How far a round trip may lie from what was set, in s and relative, and a rate, relative.
ROUND_TRIP, ROUND_TRIP_SHARE, RATE = 0.001, 0.02, 0.08
_ROUND_TRIPS = 21
_SECONDS = 0.6  # of data in one direction, so that it holds many round trips
_BYTES = (200_000, 8_000_000)  # at least, at most
_TIMEOUT = 30.0
_ECHO, _DOWN, _UP = range(3)
_COMMAND = struct.Struct("!BI")


@frozen
class LinkFigures(Schema):
    """A ``round_trip`` in s, the rates ``up`` and ``down`` in bit/s of data."""

    round_trip: float
    up: float
    down: float


@frozen
class LinkCheck(Schema):
    """A link as it was ``asked`` for and ``measured``, and the ``method`` of its emulation.

    ``failures``: in sentences, what is further off than it may be; ``note``: why the method is not
    the first choice; ``tcp``: the congestion control of the machine.
    """

    name: str
    source: str
    method: str
    note: str | None
    tcp: str | None
    asked: LinkFigures
    measured: LinkFigures
    failures: tuple[str, ...]

    def sentence(self) -> str:
        """The link in one line."""
        asked, measured = self.asked, self.measured
        rates = (
            f"{name} {getattr(measured, name) / 1e6:.3g} of {getattr(asked, name) / 1e6:.3g} Mbit/s"
            for name in ("up", "down")
        )
        told = (
            f"link {self.name}, emulated by {self.method}: round trip "
            f"{measured.round_trip * 1e3:.2f} of {asked.round_trip * 1e3:.3g} ms, "
            f"{', '.join(rates)}"
        )
        return told + "".join(f"; {failure}" for failure in self.failures)


def check(emulated: EmulatedLink) -> LinkCheck:
    """Measure an opened link, in about two seconds, and judge it.

    Its round trip is first shortened by what the emulation's own processes add to it.
    """
    link = emulated.link
    asked = LinkFigures(link.round_trip, link.up, link.down)
    with _far_end() as far:
        address = emulated.forward(far)
        with emulated.connect(address, _TIMEOUT) as connection:
            connection.settimeout(_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            emulated.shorten(_round_trip(connection) - asked.round_trip)
            round_trip = _round_trip(connection)
            down = _rate(connection, _DOWN, link.down)
            up = _rate(connection, _UP, link.up)
    measured = LinkFigures(round_trip, up, down)
    return LinkCheck(
        link.name,
        link.source,
        emulated.method,
        emulated.note,
        _congestion_control(),
        asked,
        measured,
        failures(asked, measured),
    )


def failures(asked: LinkFigures, measured: LinkFigures) -> tuple[str, ...]:
    """What of a link is further off than it may be."""
    said = []
    allowed = ROUND_TRIP + ROUND_TRIP_SHARE * asked.round_trip
    if abs(measured.round_trip - asked.round_trip) > allowed:
        said.append(
            f"the round trip is off by {1e3 * (measured.round_trip - asked.round_trip):+.2f} ms, "
            f"allowed {1e3 * allowed:.2f}"
        )
    for name in ("up", "down"):
        off = getattr(measured, name) / getattr(asked, name) - 1
        if abs(off) > RATE:
            said.append(f"the rate {name} is off by {off:+.0%}, allowed {RATE:.0%}")
    return tuple(said)


def _round_trip(connection: socket.socket) -> float:
    """Seconds, the median of several; the first, which may find the far end asleep, left out."""
    seconds = []
    for _ in range(_ROUND_TRIPS + 1):
        begin = time.perf_counter()
        connection.sendall(_COMMAND.pack(_ECHO, 1))
        _receive(connection, 1)
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:]))


def _rate(connection: socket.socket, command: int, rate: float) -> float:
    """Bits a second of a direction, of the second half of the data: the first is slow start's."""
    size = int(np.clip(rate / 8 * _SECONDS, *_BYTES))
    connection.sendall(_COMMAND.pack(command, size))
    if command == _DOWN:
        return _received_rate(connection, size)
    _send(connection, size)
    answer = bytearray()
    _receive(connection, 8, answer)
    told: float = struct.unpack("!d", answer)[0]
    return told


def _received_rate(connection: socket.socket, size: int) -> float:
    first = _receive(connection, size // 2)
    begin = time.perf_counter()
    rest = _receive(connection, size - first)
    return 8 * rest / (time.perf_counter() - begin)


def _receive(connection: socket.socket, size: int, into: bytearray | None = None) -> int:
    """Receive ``size`` bytes; returns how many came, at least as many."""
    got = 0
    while got < size:
        data = connection.recv(min(1 << 16, size - got))
        if not data:
            raise ConnectionError("the link's other end is gone")
        got += len(data)
        if into is not None:
            into += data
    return got


def _send(connection: socket.socket, size: int) -> None:
    block = bytes(1 << 16)
    for sent in range(0, size, len(block)):
        connection.sendall(block[: size - sent])


@contextmanager
def _far_end() -> Iterator[tuple[str, int]]:
    """The address of a thread that answers one connection's commands."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(_TIMEOUT)

    def answer() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                _answer(connection)
            except OSError:  # the near end has what it wanted
                pass

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.close()
        thread.join(1.0)


def _answer(connection: socket.socket) -> None:
    while True:
        command = bytearray()
        _receive(connection, _COMMAND.size, command)
        kind, size = _COMMAND.unpack(command)
        if kind == _UP:
            connection.sendall(struct.pack("!d", _received_rate(connection, size)))
        else:
            _send(connection, size)


def _congestion_control() -> str | None:
    try:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
