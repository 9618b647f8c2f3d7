"""``POST /v1/images/generations``: the image in one answer, or by server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from testbed.server import answers
from testbed.server.protocol import BODY, Generation, Refused
from testbed.server.service import Order, Service


async def _read(request: Request) -> bytes:
    """The body; raises :class:`Refused` where it is not JSON by its header, or too large."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        text = f"Content-Type: found {kind[:40]!r}; allowed: 'application/json'"
        raise Refused(400, "invalid_value", text)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY:
            text = f"body: found over {BODY} bytes; allowed: at most {BODY}"
            raise Refused(413, "too_large", text)
    return body


async def generations(request: Request) -> Response:
    """``POST /v1/images/generations``."""
    service: Service = request.app.state.service
    body = Generation.parse(await _read(request))
    # from here on nothing is awaited until it is submitted: whoever arrives first is first
    start, arrived = time.perf_counter(), service.now()
    if body.stream:
        return _stream(service, body, arrived)
    order = service.order(body, arrived, lambda made, pixels: None)
    work = asyncio.ensure_future(service.serve(order))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return Response(status_code=499)  # nobody is there to read it
        made = work.result()
    finally:
        service.cancel(order)
        work.cancel()
        gone.cancel()
    headers = answers.headers(made, time.perf_counter() - start)
    if body.response_format == "file":
        headers |= answers.file_headers(made[0])
        return Response(made[0].data, 200, headers, f"image/{body.output_format}")
    text = answers.body(made, service.opened.name, body.output_format, service.size)
    return Response(text, 200, headers, "application/json")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _stream(service: Service, body: Generation, arrived: float) -> Response:
    """The image by server-sent events."""
    pictures: asyncio.Queue[tuple[int, NDArray[np.float32]]] = asyncio.Queue()
    order = service.order(body, arrived, lambda made, pixels: pictures.put_nowait((made, pixels)))
    return StreamingResponse(
        _events(service, order, pictures),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
        background=BackgroundTask(service.cancel, order),
    )


async def _events(
    service: Service, order: Order, pictures: "asyncio.Queue[tuple[int, NDArray[np.float32]]]"
) -> AsyncIterator[bytes]:
    body, job, sent = order.body, order.jobs[0], 0
    common: dict[str, Any] = {
        "created_at": int(time.time()),
        "size": service.size,
        "quality": "auto",
        "background": "opaque",
        "output_format": body.output_format,
    }
    work, picture = asyncio.ensure_future(service.serve(order)), None
    try:
        while not work.done() or not pictures.empty():
            picture = asyncio.ensure_future(pictures.get())
            await asyncio.wait((work, picture), return_when=asyncio.FIRST_COMPLETED)
            if not picture.done():
                break
            made, pixels = picture.result()
            values = {
                "b64_json": answers.b64(await service.encode(pixels, body)),
                "partial_image_index": sent,
                "step": round(made * job.request.steps / job.iterations),
                "steps": job.request.steps,
            }
            yield answers.event("image_generation.partial_image", common | values)
            sent += 1
        (image,) = await work
        values = {
            "b64_json": answers.b64(image.data),
            "seed": image.seed,
            "metrics": image.metrics.to_dict(),
        }
        yield answers.event("image_generation.completed", common | values)
    except Refused as refused:
        service.metrics.rejected(refused.code)
        yield answers.event("error", refused.body)
    finally:
        if picture is not None:
            picture.cancel()
        work.cancel()
        service.cancel(order)
