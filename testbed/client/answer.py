"""What a server answers to a request for an image: checked, and what it says of its own times.

The fields are those of OpenAI's images API. Times are read from ``metrics`` (this project's server;
vLLM-Omni's ``stage_durations``), ``inference_time_s`` (SGLang-Diffusion: of the image, without what
it waited for) and the header ``Server-Timing``.
"""

import base64
import binascii
import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.checks import is_number, shortened, shown
from testbed.client.exchange import Exchange, ServerFault

_LONGEST = 300
#: What is decoded; a server chooses no other of the libraries that Pillow calls.
_FORMATS = ("PNG", "JPEG", "WEBP")
#: What a request waited for at vLLM-Omni, of its ``stage_durations``.
_WAITED = "queue_wait_ms"


@dataclass(frozen=True)
class ServerTimes:
    """Seconds that a server says it took, in all and by stage; None where it does not say.

    ``total`` has the ``queue`` in it where that is told. ``batch``: requests that shared its steps
    on average. ``quoted``: what it predicted on arrival, and whether its interval was ``kept``.
    """

    total: float | None = None
    queue: float | None = None
    text: float | None = None
    denoise: float | None = None
    decode: float | None = None
    batch: float | None = None
    quoted: float | None = None
    kept: bool | None = None


@dataclass(frozen=True)
class Answer:
    """A picture, shape (height, width, 3), and its ``times``."""

    image: NDArray[np.uint8]
    times: ServerTimes


def read(exchange: Exchange, url: str) -> Answer:
    """Raises :class:`ServerFault`, one line, for an answer that is not one image."""
    body = check(exchange, url)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        count = len(data) if isinstance(data, list) else "no"
        raise ServerFault(f"{url}: found {count} images in data; allowed: 1")
    return Answer(_image(data[0], url), _times(body, data[0], exchange.headers, url))


def check(exchange: Exchange, url: str) -> Any:
    """The JSON of an answer; raises :class:`ServerFault`, one line, for a refusal or other text."""
    if exchange.status != 200:
        raise ServerFault(f"{url}: {exchange.status}: {_message(exchange)}")
    try:
        return json.loads(exchange.body)
    except (ValueError, RecursionError):
        raise ServerFault(f"{url}: the answer is not JSON") from None


def _message(exchange: Exchange) -> str:
    """What a refusal says: OpenAI's error object, FastAPI's detail (a list of faults where a field
    is wrong), or its text.
    """
    try:
        body = json.loads(exchange.body)
        if isinstance(body, dict):
            error = body.get("error", body.get("detail", body))
            body = error.get("message", error) if isinstance(error, dict) else error
        if isinstance(body, list) and body and all(isinstance(each, dict) for each in body):
            body = "; ".join(f"{each.get('loc', '')}: {each.get('msg', each)}" for each in body)
    except (ValueError, RecursionError):
        body = exchange.body.decode("utf-8", "replace")
    return shortened(" ".join(str(body).split()) or "no reason given", _LONGEST)


def _image(entry: Mapping[str, Any], url: str) -> NDArray[np.uint8]:
    encoded = entry.get("b64_json")
    if not isinstance(encoded, str):
        what = "a url" if entry.get("url") else "none"
        raise ServerFault(f"{url}: data[0].b64_json: found {what}; allowed: the image in base64")
    try:
        file = io.BytesIO(base64.b64decode(encoded, validate=True))
        with Image.open(file, formats=_FORMATS) as image:
            return np.asarray(image.convert("RGB"))
    # SyntaxError: of a broken PNG
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ServerFault(f"{url}: data[0].b64_json: cannot be read as an image") from None


def _times(
    body: Mapping[str, Any], entry: Mapping[str, Any], headers: Mapping[str, str], url: str
) -> ServerTimes:
    told = entry.get("metrics") or body.get("metrics") or {}
    if not isinstance(told, dict):
        raise ServerFault(f"{url}: metrics: found {shown(told)}; allowed: a table")
    header = _header(headers.get("server-timing", ""))

    def seconds(*values: object) -> float | None:
        """The first that is there."""
        value = next((value for value in values if value is not None), None)
        if value is None:
            return None
        if not is_number(value) or value < 0:  # type: ignore[operator]
            raise ServerFault(f"{url}: metrics: found {shown(value)}; allowed: seconds")
        return float(value)  # type: ignore[arg-type]

    def stage(name: str) -> float | None:
        return seconds(told.get(name), header.get(name))

    durations = told.get("stage_durations")
    durations = durations if isinstance(durations, dict) else {}
    stages = {name: seconds(value) or 0.0 for name, value in durations.items()}
    waited = stages.get(_WAITED)
    return ServerTimes(
        seconds(header.get("total"), body.get("inference_time_s"), _staged(stages), _sum(told)),
        queue=stage("queue") if waited is None else waited / 1000,
        text=stage("text"),
        denoise=stage("denoise"),
        decode=stage("decode"),
        batch=seconds(told.get("batch")),
        quoted=seconds(told.get("predicted")),
        kept=kept if isinstance(kept := told.get("inside"), bool) else None,
    )


def _staged(stages: Mapping[str, float]) -> float | None:
    """Seconds of vLLM-Omni's ``stage_durations``, None without any.

    Names in ``_ms`` are its orchestrator's: milliseconds of waiting, of preprocessing, and of one
    stage after the other. The others are seconds within these: methods of a profiled pipeline, of
    which ``forward`` calls the rest, or a stage once more.
    """
    parts = [value / 1000 for name, value in stages.items() if name.endswith("_ms")]
    return sum(parts) if parts else max(stages.values(), default=None)


def _header(text: str) -> dict[str, float]:
    """Seconds of each metric of ``Server-Timing``; one without a duration that is a number says
    nothing.
    """
    times = {}
    for metric in text.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            with contextlib.suppress(ValueError):
                if key.strip() == "dur":
                    times[name] = float(value.strip().strip('"')) / 1000
    return times


def _sum(told: Mapping[str, Any]) -> float | None:
    """The stages of ``metrics``, where it has them all."""
    names = ("queue", "service", "encode")
    if not all(is_number(told.get(name)) for name in names):
        return None
    return float(sum(told[name] for name in names))
