"""The socket, and how a server ends: what was accepted is finished first."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware

from testbed.link.namespaces import EDGE
from testbed.server.app import make_app
from testbed.server.service import Service

#: Names by which a page of another site may not pretend that this machine is its own.
#: Behind an emulated link it is the edge's end.
HOSTS = ["127.0.0.1", "localhost", "::1", "[::1]", EDGE]
#: A line for a shell that leaves a picture in image.png.
CURL = (
    "curl -o image.png {url}/v1/images/generations -H 'Content-Type: application/json'{key} "
    """-d '{{"prompt": "a big red ball in the middle", "response_format": "file"}}'"""
)


class DrainingServer(uvicorn.Server):
    """Says where it listens. At a first signal it drains, at a second one it ends."""

    def __init__(self, settings: uvicorn.Config, app: Starlette) -> None:
        super().__init__(settings)
        self._app = app

    async def startup(self, *args: object, **kwargs: object) -> None:
        """Listen, and say so."""
        await super().startup(*args, **kwargs)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            key = " -H 'Authorization: Bearer KEY'" if self._app.state.key else ""
            print(
                f"serve: a page to try it at {url}, or\n{CURL.format(url=url, key=key)}", flush=True
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more requests, and end when the accepted ones are finished."""
        service: Service | None = getattr(self._app.state, "service", None)
        if service is None or service.draining:
            self.force_exit = service is not None or sig == signal.SIGINT
            self.should_exit = True
            return
        service.draining = True
        count = len(service.engine.jobs)
        print(f"serve: draining {count} requests; again to end at once", flush=True)
        loop = service.engine.loop
        loop.call_soon_threadsafe(lambda: loop.create_task(self._drain(service)))

    async def _drain(self, service: Service) -> None:
        while service.engine.jobs:
            await asyncio.sleep(0.05)
        self.should_exit = True


def listen(
    make: Callable[[], Service], listening: socket.socket, key: str | None, local: bool
) -> int:
    """Serve until a signal; returns the exit code. ``local``: on loopback alone, where requests
    that name another host are refused.
    """
    app = make_app(make, key)
    if local:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    server = DrainingServer(settings, app)
    server.run(sockets=[listening])
    return 0 if server.started else 1
