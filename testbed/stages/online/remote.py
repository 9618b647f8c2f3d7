"""A server as the edge of an executed stream: asked for a quote, then for an image, over HTTP.

It may be anyone's that answers `testbed serve`'s routes. What it quotes stands for the backlog:
seconds, joules and what others pay, by steps. The client's own seconds are what counts.
"""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.records.record import Measured
from calibration.serving.online import Desk
from solver.columnar import FloatArray
from solver.inputs import InputError
from solver.online import Calls, Snapshot, Tables
from solver.online.backlog import Done, Options
from testbed.client.answer import check, read
from testbed.client.exchange import TIMEOUT, Exchange, Server, ServerFault
from testbed.client.remote import QUOTE, ROUTE
from testbed.engines.request import Request
from testbed.runs.store import Pixels
from testbed.stages.online.edge import Requests, warn_of

#: Requests under way at once, at most, and seconds until a server that tells no quote counts as
#: gone.
UNDERWAY, PATIENCE = 256, 120.0


@dataclass(frozen=True, eq=False)
class Quoted(Snapshot):
    """What a server quotes, in the place of a :class:`solver.online.Backlog`."""

    @classmethod
    def of(cls, quote: dict[str, Any], calls: Calls, tables: Tables) -> "Quoted":
        """Of the answer of ``GET /v1/quote``; without an ``edge`` nothing is possible there."""
        edge, size = quote.get("edge") or {"steps": []}, 1 + tables.most_steps
        steps = np.array(edge["steps"], int)
        known = (steps >= 1) & (steps < size)
        watts = float(np.mean(tables.problem.place("edge").power)) or 1.0

        def column(name: str, missing: float) -> FloatArray:
            values = np.full(size, missing)
            if len(steps):
                values[steps[known]] = np.array(edge[name], float)[known]
            return values

        seconds, shared = column("seconds", np.inf), column("energy_j", 0.0) / watts
        if not (seconds > 0).all():
            raise ValueError(f"seconds {seconds[~(seconds > 0)][0]}")
        harm = column("harm" if "harm" in edge else "price", 0.0)
        possible = np.isfinite(seconds)
        possible[0] = True  # whoever stays at home delays nobody
        table = Options(seconds, shared, shared, harm, possible)
        present = int(quote["running"]) + int(quote["waiting"])
        left, pace = int(quote.get("left", 0)), float(quote.get("pace", 1.0))
        if not 0 < pace < np.inf:
            raise ValueError(f"pace {pace}")
        return cls(calls, present, table, left, pace)

    def add(self, name: int, steps: int, weight: float, due: float) -> tuple[int, int]:
        """The server keeps its own books."""
        return 0, steps

    def expected(self, last: int, now: float) -> float:
        """The quoted seconds of so many steps; of those that were not quoted, the least."""
        seconds = float(self.table.seconds[last])
        return seconds if np.isfinite(seconds) else self.pace * float(self.calls.alone(last))


class RemoteEdge:
    """The server at ``url``, with the methods of :class:`testbed.stages.online.edge.Edge`.

    Raises InputError for an address that is none, and where nobody answers.
    """

    def __init__(self, url: str, calls: Calls, desk: Desk) -> None:
        self.images: dict[int, tuple[Pixels, Measured]] = {}
        self.ratios: list[float] = []  # measured over expected seconds of an iteration
        self.failures: list[Exception] = []  # of images, in turn
        self._calls, self._desk = calls, desk
        try:
            self._server = Server(url)
        except InputError as error:
            raise InputError(f"--{error}") from None
        self._books, self._waiting = threading.Lock(), list[Future[None]]()
        self._pool = ThreadPoolExecutor(UNDERWAY, "request")
        self._ask("GET", QUOTE)

    def start(self) -> None:
        """Start the clock."""
        self._begun = time.perf_counter()

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begun

    def decide(self, indices: list[int], request: Requests) -> float:
        """Decide on requests by a quote, and send those for the edge; returns when, s."""
        now = self.now()
        answer = self._ask("GET", QUOTE).body
        with self._books:
            with self._understood("quote"):
                backlog: Any = Quoted.of(json.loads(answer), self._calls, self._desk.tables)
            for index, steps in self._desk.decide(backlog, now, indices):
                if steps:
                    self._desk.join(backlog, now, index, steps)
                    wanted = request(index, steps, now)
                    self._waiting.append(self._pool.submit(self._send, index, wanted))
        return now

    def close(self) -> None:
        """Wait until all are served; raises what went wrong."""
        try:
            for waiting in self._waiting:
                waiting.result()
        finally:
            self._pool.shutdown(cancel_futures=True)
        warn_of(self.failures)

    def _send(self, index: int, request: Request) -> None:
        body = {
            "prompt": request.prompt,
            "seed": request.seed,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
        }
        if request.negative_prompt is not None:
            body["negative_prompt"] = request.negative_prompt
        exchange = self._ask("POST", ROUTE, body)
        now = self.now()
        with self._books:
            try:
                image = read(exchange, self._server.url).image
            except ServerFault as fault:  # the user's own device does it
                if exchange.status != 429:  # else its queue is full
                    self.failures.append(fault)
                self._desk.refuse(index, now)
                return
            with self._understood("data[0].metrics"):
                told = json.loads(exchange.body)["data"][0]["metrics"]
                self.images[index] = image, _measured(told, request.arrival, now)
                self.ratios.append(self._ratio(told))
                if (shared := told.get("share_time")) is None:  # an older server
                    shared = sum(told[call] for call in ("text", "denoise", "decode"))
                    shared /= told["batch"]
            self._desk.finish([Done(index, now, float(shared))])

    @contextmanager
    def _understood(self, what: str) -> Iterator[None]:
        """Raises InputError where an answer lacks a field, or has another in its place."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(
                f"{self._server.url}: {what}: found {type(error).__name__}: {error}; allowed: the "
                "fields that `testbed serve` answers"
            ) from None

    def _ratio(self, told: dict[str, Any]) -> float:
        """Measured over expected seconds of an image's iterations: how many shared its encoding and
        its decoding is not told.
        """
        tick = np.interp(told["batch"], np.arange(1 + self._calls.cap), self._calls.tick)
        return float(told["denoise"] / (told["steps"] * tick))

    def _ask(self, method: str, route: str, body: object = None) -> Exchange:
        """The server's answer. Raises InputError where it refuses what is asked for, but for want
        of room, or tells no quote.
        """
        try:
            patience = PATIENCE if method == "GET" else TIMEOUT
            exchange = self._server.exchange(method, route, body, patience)
            if method == "GET" or (400 <= exchange.status < 500 and exchange.status != 429):
                check(exchange, self._server.url)
        except ServerFault as fault:
            raise InputError(f"{fault}; allowed: a server like `testbed serve`") from None
        return exchange


def _measured(told: dict[str, Any], arrival: float, now: float) -> Measured:
    """What a server says that an image took, and the client's own seconds, as a record holds it."""
    return Measured(
        text_time=told["text"],
        step_times=(told["denoise"] / told["steps"],) * told["steps"],
        decode_time=told["decode"],
        time=told["service"],
        energy_j=None,
        batch=told["batch"],
        engine="batched",
        arrival=arrival,
        queue_time=told["queue"],
        service_time=told["service"],
        end_to_end_time=now - arrival,
        engine_note="over HTTP",
    )
