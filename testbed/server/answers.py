"""What an answer says of each image, and the header and events that carry it."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

from calibration.schema import Schema, frozen, limits
from testbed.engines.request import Finished
from testbed.server.admission import Admitted


@frozen
class ImageMetrics(Schema):
    """What an image took, in seconds unless said otherwise; docs/serving.md has each field."""

    id: str
    steps: int = limits(least=1)
    steps_by: str
    queue: float
    text: float
    denoise: float
    decode: float
    service: float
    completion: float
    encode: float
    batch: float
    share_time: float
    predicted: float
    low: float
    high: float
    inside: bool
    deadline: float | None
    deadline_met: bool | None
    price: float
    energy_j: float
    energy_basis: str
    time_basis: str = "measured"

    @classmethod
    def of(
        cls,
        key: str,
        admitted: Admitted,
        finished: Finished,
        encode: float,
        watts: float,
        basis: str,
    ) -> "ImageMetrics":
        """Of an image that was ``admitted`` and ``finished``; ``watts`` with their ``basis``."""
        completion, deadline = finished.end_to_end_time, admitted.deadline
        return cls(
            id=key,
            steps=admitted.steps,
            steps_by=admitted.steps_by,
            queue=finished.queue_time,
            text=finished.text_time,
            denoise=sum(finished.tick_times),
            decode=finished.decode_time,
            service=finished.service_time,
            completion=completion,
            encode=encode,
            batch=finished.batch,
            share_time=finished.share_time,
            predicted=admitted.seconds,
            low=admitted.low,
            high=admitted.high,
            inside=admitted.low <= completion <= admitted.high,
            deadline=deadline,
            deadline_met=None if deadline is None else completion <= deadline,
            price=admitted.price,
            energy_j=watts * finished.share_time,
            energy_basis=basis,
        )


@dataclass(frozen=True)
class ServedImage:
    """A served image: its file's ``data``, its ``seed``, its ``metrics``."""

    data: bytes
    seed: int
    metrics: ImageMetrics


def b64(data: bytes) -> str:
    """A file in base64."""
    return base64.b64encode(data).decode("ascii")


def to_json(value: object) -> bytes:
    """JSON of ASCII letters alone: what a client sent may hold half characters."""
    return json.dumps(value, allow_nan=False).encode("ascii")


def body(images: list[ServedImage], model: str, output_format: str, size: str) -> bytes:
    """The JSON of an answer."""
    data = [
        {"b64_json": b64(image.data), "seed": image.seed, "metrics": image.metrics.to_dict()}
        for image in images
    ]
    return to_json(
        {
            "created": int(time.time()),
            "model": model,
            "output_format": output_format,
            "size": size,
            "data": data,
            "metrics": last(images).to_dict(),
        }
    )


def headers(images: list[ServedImage], total: float) -> dict[str, str]:
    """The header ``Server-Timing``; ``total``: seconds since the request was read."""
    slowest = last(images)
    stages = {
        name: getattr(slowest, name) for name in ("queue", "text", "denoise", "decode", "encode")
    }
    timing = ", ".join(
        f"{name};dur={1e3 * s:.3f}" for name, s in (stages | {"total": total}).items()
    )
    return {"Server-Timing": timing}


def file_headers(image: ServedImage) -> dict[str, str]:
    """What goes beside an image that is sent as a file."""
    return {
        "X-Request-Id": image.metrics.id,
        "X-Seed": str(image.seed),
        "X-Steps": str(image.metrics.steps),
        "X-Metrics": to_json(image.metrics.to_dict()).decode("ascii"),
    }


def last(images: list[ServedImage]) -> ImageMetrics:
    """Of the image that was finished last."""
    return max((image.metrics for image in images), key=lambda metrics: metrics.completion)


def event(kind: str, values: dict[str, Any]) -> bytes:
    """A server-sent event of OpenAI's."""
    return (
        b"event: "
        + kind.encode("ascii")
        + b"\ndata: "
        + to_json({**values} if kind == "error" else {"type": kind, **values})
        + b"\n\n"
    )
