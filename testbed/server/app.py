"""The routes of the server, and what every answer has in common; docs/serving.md describes them."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from calibration.scenario.devices import DEVICES
from solver.inputs import InputError
from testbed.server import answers
from testbed.server.advice import advise
from testbed.server.generations import generations
from testbed.server.protocol import STEPS, Refused, invalid
from testbed.server.service import Service

#: Routes that need no key: nothing that anyone asked for is in them.
OPEN = ("/", "/health", "/v1/health", "/metrics")
PAGE = Path(__file__).parent / "page.html"
#: The page may ask this server alone, and run what is in it.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
)
Handler = Callable[[Request], Awaitable[Response]]


def make_app(make: Callable[[], Service], key: str | None = None) -> Starlette:
    """The application; ``make`` is called in its event loop. ``key``: what clients have to send."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.service = make()
        yield
        app.state.service.close()

    routes = {
        "/": (show_page, "GET"),
        "/v1/images/generations": (generations, "POST"),
        "/v1/models": (models, "GET"),
        "/v1/models/{name:path}": (model, "GET"),
        "/v1/model_info": (model_info, "GET"),
        "/v1/quote": (quote, "GET"),
        "/v1/requests": (recent, "GET"),
        "/health": (health, "GET"),
        "/v1/health": (health, "GET"),
        "/metrics": (metrics, "GET"),
    }
    app = Starlette(
        routes=[
            Route(path, _guarded(handler, None if path in OPEN else key), methods=[method])
            for path, (handler, method) in routes.items()
        ],
        exception_handlers={HTTPException: _no_route, Exception: _fault},
        lifespan=lifespan,
    )
    app.state.key = key
    return app


def _guarded(handler: Handler, key: str | None) -> Handler:
    """``handler``, after the key was checked, and its refusals as OpenAI's errors."""

    async def guarded(request: Request) -> Response:
        service: Service = request.app.state.service
        try:
            sent = request.headers.get("authorization", "").removeprefix("Bearer ")
            if key and not hmac.compare_digest(sent.encode(), key.encode()):
                text = "Authorization: found no or another key; allowed: 'Bearer KEY'"
                raise Refused(401, "invalid_api_key", text)
            return await handler(request)
        except InputError as error:
            refused = invalid(error)
        except Refused as error:
            refused = error
        service.metrics.rejected(refused.code)
        return _refusal(refused)

    return guarded


def _refusal(refused: Refused) -> Response:
    body = answers.to_json(refused.body)
    return Response(body, refused.status, refused.headers, "application/json")


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, where = ("not_found", "route") if error.status_code == 404 else ("wrong_method", "method")
    text = f"{where}: found {request.method} {request.url.path[:80]!r}; docs/serving.md lists them"
    return _refusal(Refused(error.status_code, code, text))


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of the server's own: its log has the traceback."""
    return _refusal(Refused(500, "internal", f"{type(error).__name__}: the server's log says more"))


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.opened.name,
        "object": "model",
        "created": 0,
        "owned_by": "testbed",
        "size": service.size,
        "max_steps": STEPS,
        "guidance_scale": service.opened.config.guidance,
        "prompt_classes": service.opened.worth.classes,
        "device_classes": list(DEVICES) if service.opened.compares else [],
    }


async def models(request: Request) -> Response:
    """``GET /v1/models``."""
    return JSONResponse({"object": "list", "data": [_model(request.app.state.service)]})


async def model(request: Request) -> Response:
    """``GET /v1/models/ID``."""
    service: Service = request.app.state.service
    if request.path_params["name"] != service.opened.name:
        text = f"model: found another; allowed: {service.opened.name!r}"
        raise Refused(404, "model_not_found", text, "model")
    return JSONResponse(_model(service))


async def model_info(request: Request) -> Response:
    """``GET /v1/model_info``, as SGLang has it."""
    return JSONResponse({"model_path": request.app.state.service.opened.name})


async def quote(request: Request) -> Response:
    """``GET /v1/quote``."""
    return JSONResponse(advise(request.app.state.service, dict(request.query_params)))


async def recent(request: Request) -> Response:
    """``GET /v1/requests``."""
    service: Service = request.app.state.service
    queue = service.queue()
    data = [image.to_dict() for image in service.recent]
    return JSONResponse({"running": queue.running, "waiting": queue.waiting, "data": data})


async def health(request: Request) -> Response:
    """``GET /health``."""
    service: Service = request.app.state.service
    status, queue = service.health(), service.queue()
    body = {"status": status, "running": queue.running, "waiting": queue.waiting}
    return JSONResponse(body, 200 if status == "ok" else 503)


async def metrics(request: Request) -> Response:
    """``GET /metrics``."""
    return Response(request.app.state.service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def show_page(request: Request) -> Response:
    """``GET /``."""
    return FileResponse(PAGE, headers={"Content-Security-Policy": POLICY})
