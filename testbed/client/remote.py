"""A place behind a URL: anyone's server that makes images by OpenAI's images API."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calibration.checks import is_whole, shortened
from calibration.records.record import Measured
from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.client.answer import Answer, read
from testbed.client.exchange import Exchange, Server, ServerFault
from testbed.config import SERVED, ModelConfig
from testbed.engines.request import Failed, Log, Made, Request
from testbed.link.emulated import EmulatedLink
from testbed.models.tokenizers import PROMPTS

ROUTE, QUOTE = "/v1/images/generations", "/v1/quote"
#: Answers that say to come again, and how often and how long one does.
_AGAIN = (429, 503)
_RETRIES = 8
_LONGEST_PAUSE = 30.0
_LONGEST_NAME = 200
_QUICK = 20.0  # seconds for an answer that needs no image


class RemotePlace:
    """The ``server`` of a place, and the ``spec`` of what it serves.

    ``link``: the emulated link on the way, None where there is none. ``trial``: a request for an
    image of few ``steps``, which is made at once: ``first``, (height, width, 3). All others have
    its ``size``, pixels (width, height). ``cap``: requests that the server makes at once, None
    where it does not say. ``tells_queue``: whether its own seconds are known to hold what a request
    waits for there. ``notes``: what is not as asked, in sentences.

    Raises :class:`ServerFault` where it makes none.
    """

    def __init__(
        self,
        config: ModelConfig,
        server: Server,
        spec: ModelSpec,
        link: EmulatedLink | None,
        steps: int,
    ) -> None:
        self.config, self.server, self.spec = config, server, spec
        self._link = None if link is None else link.title
        self.notes: list[str] = []
        self.trial = Request(
            PROMPTS[0], 0, steps, config.guidance, negative_prompt=config.negative_prompt
        )
        made = self._make(self.trial, 0)
        self.first, self.tells_queue = made.image, made.about.queue_time is not None
        self.size = _size(made.image)
        self.cap = _cap(server)

    @classmethod
    def open(cls, config: ModelConfig, link: EmulatedLink | None = None, steps: int = 1) -> Self:
        """Ask the server what it serves, and for an image of ``steps``.

        Raises :class:`InputError` for a server that is not there, or serves something else.
        """
        assert config.url is not None, "a place with a url"
        server = Server(config.url)
        if link is not None:
            address = link.forward(server.address)
            server = Server(config.url, link.connect, address)
        try:
            place = cls(config, server, served_model(config, server), link, steps)
        except ServerFault as fault:
            raise InputError(f"url: {fault}") from None
        asked = config.resolution
        if asked is not None and place.size != (asked, asked):
            raise InputError(
                f"resolution: found {asked}; allowed: {place.size[0]}, which {config.url} makes"
            )
        return place

    def setup(self) -> dict[str, Any]:
        """What changes the times that are measured here."""
        return {
            "url": self.config.url,
            "resolution": "{}x{}".format(*self.size),
            "link": self._link,
        }

    def engine(self, cap: int) -> "Concurrent":
        """What has up to ``cap`` requests made at once."""
        return Concurrent(self, cap)

    def make(
        self, request: Request, index: int = 0, wait: Callable[[float], object] = time.sleep
    ) -> Made:
        """Have an image made; ``wait`` waits s until a busy server is asked again.

        Raises :class:`ServerFault`.
        """
        made = self._make(request, index, wait)
        if (size := _size(made.image)) != self.size:
            raise ServerFault(
                "{}: found an image of {}x{}; allowed: {}x{}".format(
                    self.server.url, *size, *self.size
                )
            )
        return made

    def _make(
        self, request: Request, index: int, wait: Callable[[float], object] = time.sleep
    ) -> Made:
        exchange, retries = self._ask(request, wait)
        answer = read(exchange, self.server.url)
        return Made(index, answer.image, self._measured(request, exchange, answer, retries))

    def _ask(self, request: Request, wait: Callable[[float], object]) -> tuple[Exchange, int]:
        """The answer, and how often the server said to come again."""
        body = self._body(request)
        for retries in range(_RETRIES + 1):
            exchange = self.server.exchange("POST", ROUTE, body)
            if exchange.status not in _AGAIN or retries == _RETRIES:
                break
            wait(_pause(exchange))
        return exchange, retries

    def _body(self, request: Request) -> dict[str, Any]:
        body = {
            "prompt": request.prompt,
            "n": 1,
            "response_format": "b64_json",
            "output_format": "png",
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
            "seed": request.seed,
        }
        if self.config.model != SERVED:
            body["model"] = self.config.model
        if request.negative_prompt is not None:
            body["negative_prompt"] = request.negative_prompt
        if self.config.resolution is not None:
            body["size"] = f"{self.config.resolution}x{self.config.resolution}"
        return body

    def _measured(
        self, request: Request, exchange: Exchange, answer: Answer, retries: int
    ) -> Measured:
        times = answer.times
        basis = "measured" if self._link is None else "emulated"
        transfer = replace(
            exchange.transfer(times.total, basis, self._link, retries),
            quoted=times.quoted,
            kept=times.kept,
        )
        steps = () if times.denoise is None else (times.denoise / request.steps,) * request.steps
        return Measured(
            text_time=times.text or 0.0,
            step_times=steps,
            decode_time=times.decode or 0.0,
            time=transfer.service,
            energy_j=None,
            batch=times.batch or 1,
            engine="server",
            queue_time=times.queue,
            end_to_end_time=transfer.total,
            transfer=transfer,
        )


class Concurrent:
    """Up to ``cap`` requests at once at a ``place``, in the order of their arrivals.

    ``log`` has each request's time as if its steps were all of it.
    """

    def __init__(self, place: RemotePlace, cap: int) -> None:
        self.place, self.cap, self.log = place, cap, Log()

    def run(self, requests: Sequence[Request]) -> Iterator[Made | Failed]:
        """Have all images made, each sent when it arrives; yields each outcome when it is there.

        Where it is closed before the last one, nothing more is sent.
        """
        start, stop = time.perf_counter(), threading.Event()
        order = sorted(range(len(requests)), key=lambda index: requests[index].arrival)
        pool = ThreadPoolExecutor(self.cap)
        try:
            for future in as_completed(
                [pool.submit(self._outcome, requests[index], index, start, stop) for index in order]
            ):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)

    def _outcome(
        self, request: Request, index: int, start: float, stop: threading.Event
    ) -> Made | Failed:
        def wait(seconds: float) -> None:
            if stop.wait(seconds):
                raise ServerFault(f"{self.place.server.url}: no longer asked")

        try:
            return self._make(request, index, start, wait)
        except Exception as error:
            return Failed(index, error)

    def _make(
        self, request: Request, index: int, start: float, wait: Callable[[float], object]
    ) -> Made:
        wait(max(0.0, start + request.arrival - time.perf_counter()))
        late = time.perf_counter() - start - request.arrival
        made = self.place.make(request, index, wait)
        about = made.about
        self.log.tick.append((1, about.time / request.steps))
        about = replace(
            about,
            arrival=request.arrival,
            queue_time=late + (about.queue_time or 0.0),
            end_to_end_time=time.perf_counter() - start - request.arrival,
        )
        return replace(made, about=about)


def served_model(config: ModelConfig, server: Server, patience: float = _QUICK) -> ModelSpec:
    """What is served, as tasks and records name it; a server need not say.

    Raises :class:`ServerFault` where it is not there within ``patience`` s, and
    :class:`InputError` for another model.
    """
    exchange = server.exchange("GET", "/v1/models", timeout=patience)
    names = _models(exchange)
    listed = shortened(", ".join(names), 2 * _LONGEST_NAME)
    if config.model == SERVED and len(names) > 1:
        raise InputError(f"model: {server.url} serves {listed}; allowed: the name of one of them")
    if config.model != SERVED and names and config.model not in names:
        raise InputError(f"model: found {config.model!r}; {server.url} serves: {listed}")
    return ModelSpec(
        model=names[0] if config.model == SERVED and names else config.model,
        device=server.url,
        dtype="server",
        scheduler="server",
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
    )


def _models(exchange: Exchange) -> list[str]:
    """The ids of ``/v1/models``; empty where the server does not say."""
    try:
        data = json.loads(exchange.body)["data"] if exchange.status == 200 else []
        return [entry["id"] for entry in data if _is_name(entry.get("id"))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _is_name(name: object) -> bool:
    """Whether it can stand in a record, and in a line."""
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of an image, shape (height, width, 3)."""
    return image.shape[1], image.shape[0]


def _cap(server: Server) -> int | None:
    """What this project's server says of its batches."""
    try:
        exchange = server.exchange("GET", QUOTE, timeout=_QUICK)
        cap: Any = json.loads(exchange.body)["cap"] if exchange.status == 200 else None
    except (ServerFault, ValueError, KeyError, TypeError, RecursionError):
        return None
    return int(cap) if is_whole(cap) and cap >= 1 else None


def _pause(exchange: Exchange) -> float:
    """Seconds of ``Retry-After``; 1 where there is none in seconds."""
    text = exchange.headers.get("retry-after", "").strip()
    return min(float(text), _LONGEST_PAUSE) if text.isascii() and text.isdigit() else 1.0
