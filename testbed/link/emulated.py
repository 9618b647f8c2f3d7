"""A link of a chosen round trip and rates between this process and a server, with real TCP.

As root on Linux, packets go through two TUN devices in two network namespaces and a process between
them (method ``tun``). Elsewhere a process relays the streams (method ``relay``). The namespaces end
with this process, however it ends.
"""

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from calibration.links import Link
from solver.inputs import InputError
from testbed.link.namespaces import EDGE, USER, Namespace, unusable_reason

METHODS = ("tun", "relay")
Address = tuple[str, int]


class EmulatedLink:
    """An opened ``link``; ``method``: one of :data:`METHODS`, None takes the first
    that can be had here. ``note`` says why that is not the first. Raises :class:`InputError` for a
    method that cannot be had.
    """

    def __init__(self, link: Link, method: str | None = None) -> None:
        self.link, self.note = link, None if method else unusable_reason()
        self.method = method or ("relay" if self.note else "tun")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._forwarded: dict[Address, Address] = {}
        self._namespaces: list[Namespace] = []
        # also where nobody closes it: when it is no longer used, or the process ends
        self._end = weakref.finalize(self, _end, self._processes, self._namespaces)
        self._delay = link.round_trip / 2
        self._user: Namespace | None = None
        self._edge: Namespace | None = None
        self._pump: subprocess.Popen[bytes] | None = None  # carries the packets of method tun
        if self.method == "tun":
            if method and (reason := unusable_reason()):
                raise InputError(f"method: found 'tun', but {reason}; allowed here: relay")
            self._open_namespaces()

    @property
    def title(self) -> str:
        """The link and its method, as records name them."""
        return f"{self.link.name} by {self.method}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open_namespaces(self) -> None:
        self._namespaces += Namespace.new(), Namespace.new()
        self._user, self._edge = self._namespaces
        user = self._user.open_tun(USER, EDGE)
        edge = self._edge.open_tun(EDGE, USER)
        link = self.link
        numbers = (self._delay, link.up, link.down)
        self._pump = self._start("pump", (user, edge), *map(str, (user, edge, *numbers)))
        os.close(user)
        os.close(edge)

    def shorten(self, seconds: float) -> None:
        """Shorten the round trip by ``seconds`` that the emulation's own processes add to it, down
        to their own time at most; only method ``tun`` can.
        """
        if self._pump is not None:
            assert self._pump.stdin is not None
            self._delay = max(0.0, self._delay - seconds / 2)
            self._pump.stdin.write(f"{self._delay}\n".encode())
            self._pump.stdin.flush()

    def forward(self, server: Address) -> Address:
        """The address at which clients behind the link reach a ``server`` of this machine's."""
        if server not in self._forwarded:
            self._forwarded[server] = self._forward(server)
        return self._forwarded[server]

    def _forward(self, server: Address) -> Address:
        limits = ("0", "0", "0")
        if self._edge is None:
            limits = (str(self.link.round_trip), str(self.link.up), str(self.link.down))
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        else:
            with self._edge.entered():
                listener = socket.create_server((EDGE, 0), backlog=128)
        with listener:
            address: Address = listener.getsockname()
            fd = listener.fileno()
            self._start("relay", (fd,), str(fd), server[0], str(server[1]), *limits)
        return address

    def connect(self, address: Address, timeout: float) -> socket.socket:
        """A connection over the link to an ``address`` that :meth:`forward` gave."""
        if self._user is None:
            return socket.create_connection(address, timeout)
        with self._user.entered():
            return socket.create_connection(address, timeout)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command whose connections go over the link; returns its exit code.

        Raises :class:`InputError` where there is no such command.
        """
        try:
            if self._user is None:
                return subprocess.call(command, env=environment)
            with self._user.entered():
                process = subprocess.Popen(command, env=environment)
        except OSError as error:
            raise InputError(f"command: {command[0]}: {error.strerror}") from None
        return process.wait()

    def close(self) -> None:
        """End the link; a second time does nothing."""
        self._end()

    def _start(
        self, module: str, descriptors: Sequence[int], *arguments: str
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends when this one does: its standard input is then closed.

        It has said in a line that it is ready.
        """
        process = subprocess.Popen(
            [sys.executable, "-I", Path(__file__).with_name(f"{module}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            # Ctrl-C is for the process that uses the link: what it still asks for must get through
            start_new_session=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        with process.stdout as said:
            if not said.readline():
                raise RuntimeError(f"{module}.py ended with {process.wait()}")
        return process


def _end(processes: Sequence[subprocess.Popen[bytes]], namespaces: Sequence[Namespace]) -> None:
    """End a link's processes, which end when their standard input does, and its namespaces."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for namespace in namespaces:
        namespace.close()
