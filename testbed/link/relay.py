"""A process that relays TCP connections to a server, each direction late and no faster than its
rate.

``python relay.py FD HOST PORT ROUND_TRIP UP DOWN``: FD is a listening socket, rates
are in bit/s and shared by all connections, 0 is no limit. Without a link of packets under it the
handshake takes no time, so the first data of a connection waits one round trip more. There is no
slow start then. It says ``ready``, and ends when its standard input is closed.
"""

import asyncio
import contextlib
import os
import selectors
import socket
import sys
import time
from collections.abc import Sequence

_CHUNK = 16384
#: Seconds of data that a connection has on the way at most; its sender waits then.
_QUEUE = 0.25


class Rate:
    """The link of one direction: when data that is sent now has left."""

    def __init__(self, bits: float) -> None:
        self._bits, self._free = bits, 0.0

    def departure(self, size: int) -> float:
        """When ``size`` bytes are through, on the clock of ``time.monotonic``."""
        now = time.monotonic()
        if not self._bits:
            return now
        self._free = max(now, self._free) + 8 * size / self._bits
        return self._free


async def copy(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, rate: Rate, delay: float, late: float
) -> None:
    """Copy a direction until its end; ``late``: seconds by which its first data is late."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            if not data:
                break
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()

    delivery = asyncio.ensure_future(deliver())
    try:
        while data := await source.read(_CHUNK):
            departure = rate.departure(len(data))
            waiting.put_nowait((departure + delay + late, data))
            late = 0.0
            if (ahead := departure - time.monotonic() - _QUEUE) > 0:
                await asyncio.sleep(ahead)
    except ConnectionError:
        pass
    waiting.put_nowait((time.monotonic() + delay, b""))
    await delivery


async def serve(
    listener: socket.socket, host: str, port: int, round_trip: float, up: float, down: float
) -> None:
    """Relay every connection to ``host``; the process ends with its standard input."""
    rates, delay = (Rate(up), Rate(down)), round_trip / 2

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, upstream = await asyncio.open_connection(host, port)
        except OSError as error:  # the client sees its connection closed
            print(f"testbed link: {host}:{port}: {error}", file=sys.stderr, flush=True)
            writer.close()
            return
        try:
            await asyncio.gather(
                copy(reader, upstream, rates[0], delay, round_trip),
                copy(answers, writer, rates[1], delay, 0.0),
            )
        except OSError:  # either end is gone: the other end sees it closed
            pass
        finally:
            writer.close()
            upstream.close()

    server = await asyncio.start_server(connected, sock=listener)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    print("ready", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    """The process."""
    fd, host, port = int(arguments[0]), arguments[1], int(arguments[2])
    # select waits to the microsecond, where epoll would to the millisecond
    with asyncio.Runner(loop_factory=_event_loop) as runner, socket.socket(fileno=fd) as listener:
        runner.run(serve(listener, host, port, *map(float, arguments[3:])))


def _event_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    main(sys.argv[1:])
