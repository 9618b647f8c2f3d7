"""One HTTP request, and how long its parts took."""

import http.client
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection, socket
from typing import Any
from urllib.parse import urlsplit

from calibration.checks import shortened, shown
from calibration.records.record import Transfer
from solver.inputs import InputError

#: Opens a connection to (host, port) within a time in s.
Connect = Callable[[tuple[str, int], float], socket]
#: Seconds without a byte after which a server counts as gone: an image of many steps takes minutes.
TIMEOUT = 600.0
#: Of the environment: the key that a server of this project's asks for, and that clients send.
KEY = "TESTBED_API_KEY"
_LARGEST = 1 << 28  # bytes of an answer


class ServerFault(Exception):
    """A server that cannot be reached, or whose answer is of no use: one line."""


@dataclass(frozen=True)
class Exchange:
    """An answer, and its request's times in s: to ``connect`` (of which ``round_trip`` is TCP's
    handshake, without that of TLS), to ``send``, to ``wait`` for the head of the answer, to
    ``receive`` its body. Bytes are those of heads and bodies.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    round_trip: float
    connect: float
    send: float
    wait: float
    receive: float
    bytes_up: int
    bytes_down: int

    def transfer(
        self, server: float | None, basis: str, link: str | None, retries: int = 0
    ) -> Transfer:
        """It as a record holds it; ``server``: s of the wait that the server says it took."""
        return Transfer(
            round_trip=self.round_trip,
            connect=self.connect,
            send=self.send,
            wait=self.wait,
            receive=self.receive,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            server=server,
            retries=retries,
            basis=basis,
            link=link,
        )


class Server:
    """Anyone's server at ``url``. Each request has a connection of its own, as of users who ask
    minutes apart.

    ``connect``: another way to it than the machine's own network; ``address``: where it leads.
    Raises :class:`InputError` for a URL of another kind. ``TESTBED_API_KEY`` of the environment, if
    set, is sent as a bearer token.
    """

    def __init__(
        self, url: str, connect: Connect | None = None, address: tuple[str, int] | None = None
    ) -> None:
        self.url, (scheme, self.host, self.port, self._base) = url.rstrip("/"), split(url)
        self.address = address or (self.host, self.port)
        self._connect = connect or create_connection
        self._tls = ssl.create_default_context() if scheme == "https" else None

    def exchange(
        self, method: str, route: str, body: Any = None, timeout: float = TIMEOUT
    ) -> Exchange:
        """Send a request with a JSON ``body``. Raises :class:`ServerFault`."""
        try:
            return self._exchange(method, self._base + route, body, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServerFault(f"{self.url}: {shortened(' '.join(reason.split()), 300)}") from None

    def _exchange(self, method: str, path: str, body: Any, timeout: float) -> Exchange:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        connection = _Connection(self.host, self.port, timeout=timeout)
        begin = time.perf_counter()
        try:
            opened = self._connect(self.address, timeout)
            shaken = time.perf_counter()
            opened.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # head and body are two sends
            if self._tls is not None:
                opened = self._tls.wrap_socket(opened, server_hostname=self.host)
            connection.sock = opened
            connected = time.perf_counter()
            connection.request(method, path, content or None, headers)
            sent = time.perf_counter()
            answer = connection.getresponse()
            begun = time.perf_counter()
            received = answer.read(_LARGEST)
            if answer.length or len(received) == _LARGEST:
                raise ValueError(f"the answer ends after {len(received)} bytes, or is larger")
            end = time.perf_counter()
        finally:
            connection.close()
        head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
        return Exchange(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=received,
            round_trip=shaken - begin,
            connect=connected - begin,
            send=sent - connected,
            wait=begun - sent,
            receive=end - begun,
            bytes_up=connection.sent,
            bytes_down=len(f"HTTP/1.1 {answer.status} {answer.reason}\r\n\r\n")
            + head
            + len(received),
        )


class _Connection(http.client.HTTPConnection):
    """A connection that counts what it sends."""

    sent = 0

    def send(self, data: Any) -> None:
        self.sent += len(data)
        super().send(data)


def split(url: str) -> tuple[str, str, int, str]:
    """The scheme, host, port and path of a URL; raises :class:`InputError` for one of no server."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        url.encode("ascii")
    except ValueError:
        parts, port = urlsplit(""), 0
    beside = parts.query or parts.fragment or parts.username is not None or parts.port == 0
    printable = url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or beside or not printable:
        raise InputError(f"url: found {shown(url)}; allowed: http://HOST:PORT, or https")
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/").removesuffix("/v1")
