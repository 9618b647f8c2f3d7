"""A server process, and a client of few instructions, as it shares the machine with the server."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reply:
    """An answer: its ``status``, ``headers`` (lower case), ``body``, and the ``seconds`` from
    ``sent`` (s, ``time.perf_counter``) until it was read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: float
    seconds: float

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)

    @property
    def image(self) -> dict[str, Any]:
        """The first image of the answer, with its metrics."""
        return self.json["data"][0]


class ServerProcess:
    """``testbed serve`` in a process of its own, on a free port; a context manager.

    It computes with one thread: its clients need the other core.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "testbed.cli", "serve", "--port", "0", *self._arguments]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("curl "):
                self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
                return self
        raise RuntimeError(f"the server did not start: {''.join(said)}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return 1024 * int(line.split()[1])

    async def get(self, route: str) -> Reply:
        """``GET route``."""
        return await self._send(f"GET {route} HTTP/1.1\r\n", b"", None)

    async def post(self, body: Mapping[str, Any] | bytes, leave: float | None = None) -> Reply:
        """Ask for an image. ``leave``: close the connection after so many seconds; the status of an
        answer that was not read is 0.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = (
            "POST /v1/images/generations HTTP/1.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(raw)}\r\n"
        )
        return await self._send(head, raw, leave)

    async def _send(self, head: str, raw: bytes, leave: float | None) -> Reply:
        sent = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{head}Host: localhost\r\nConnection: close\r\n\r\n".encode() + raw)
            await writer.drain()
            try:
                answer = await asyncio.wait_for(reader.read(), leave)
            except TimeoutError:
                return Reply(0, {}, b"", sent, time.perf_counter() - sent)
        finally:
            writer.close()
        top, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        return Reply(int(status.split()[1]), headers, body, sent, time.perf_counter() - sent)

    async def idle(self, within: float = 30.0) -> float:
        """Wait until nobody is served; returns the seconds that took."""
        start = time.perf_counter()
        while True:
            state = (await self.get("/health")).json
            taken = time.perf_counter() - start
            if state["running"] + state["waiting"] == 0:
                return taken
            if taken > within:
                raise RuntimeError(f"still {state} after {within} s")
            await asyncio.sleep(0.005)
