"""Continuous batching, simulated: requests with their own step counts share the iterations of one
batch, and wait for each other.

An iteration (tick) is one call of the network, which takes every request in its batch one step on.
Between iterations, the requests present (arrived, not finished) are sorted by an order's key, and
the first ``cap`` of them make the next batch.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solver.inputs import InputError

#: Seconds of one call of a batch size.
Seconds = Callable[[int], float]


class Waiting(Protocol):
    """A request as an order sees it: its ``arrival`` (s) and the steps ``remaining``."""

    @property
    def index(self) -> int: ...
    @property
    def arrival(self) -> float: ...
    @property
    def remaining(self) -> int: ...


#: order -> sorting key; the least key goes first.
ORDERS: dict[str, Callable[[Waiting], tuple[float, ...]]] = {
    "first_come": lambda request: (request.arrival, request.index),
    "shortest": lambda request: (request.remaining, request.arrival, request.index),
}

LOG = [
    ("start", float),
    ("waited", float),
    ("encoded", int),
    ("batch", int),
    ("ticks", int),
    ("decoded", int),
    ("end", float),
]


@dataclass(frozen=True)
class Served:
    """When each of n requests was served: arrays of shape (n,), in seconds, in the order in which
    the requests were given.

    ``joined``: when it was first chosen, before its text is encoded; ``finished``: after its
    decoding. ``log``: a structured array of the engine's time, with a row for each run of ``ticks``
    equal iterations of ``batch`` requests. From ``start``, after ``waited`` seconds without any
    request, the engine encodes the text of ``encoded`` requests, makes the iterations, and decodes
    ``decoded`` images until ``end``.
    """

    arrivals: NDArray[np.float64]
    joined: NDArray[np.float64]
    finished: NDArray[np.float64]
    log: NDArray[Any]

    @property
    def queue(self) -> NDArray[np.float64]:
        """Seconds from arrival until first chosen."""
        return self.joined - self.arrivals

    @property
    def service(self) -> NDArray[np.float64]:
        """Seconds from first chosen until finished, those set aside for others included."""
        return self.finished - self.joined

    @property
    def total(self) -> NDArray[np.float64]:
        """Seconds from arrival until finished, end to end."""
        return self.finished - self.arrivals


@dataclass(slots=True, eq=False)
class _Request:
    index: int
    arrival: float
    remaining: int


def _nothing(batch: int) -> float:
    """The seconds of a stage that is not there."""
    return 0.0


def simulate(
    arrivals: ArrayLike,
    steps: ArrayLike,
    tick: Seconds,
    cap: int,
    order: str = "first_come",
    text: Seconds = _nothing,
    decode: Seconds = _nothing,
) -> Served:
    """Serve requests that arrive at ``arrivals`` s with ``steps``, both shape (n,), in batches of
    up to ``cap``.

    One thread does everything. It chooses the batch, encodes in one call the text of the b requests
    that are chosen for the first time, ``text(b)`` s, makes an iteration, ``tick(batch)`` s,
    decodes in one call the b requests that have finished, ``decode(b)`` s, and chooses again. With
    nobody present it waits for the next arrival. With ``cap`` 1, a request alone, and neither text
    nor decoding, this is the paper's T = s Δt, eq. (3), with Δt = tick(1).

    ``order``: a key of :data:`ORDERS`. A request that was served never falls behind one that was
    not, so a batch stays as it is until one of its requests finishes or another arrives: the cost
    is a few operations for each arrival and end, not for each iteration. The engine starts at 0 s.

    Raises :class:`InputError` for arrivals below 0 or not finite, steps that are not whole numbers
    from 1, unequal lengths, a cap below 1, an unknown order, and iterations that take no time.
    """
    arrivals, steps = _checked(arrivals, steps, cap, order)
    key, text, tick, decode = ORDERS[order], cache(text), cache(tick), cache(decode)
    coming = [
        _Request(int(i), float(arrivals[i]), int(steps[i]))
        for i in np.argsort(-arrivals, kind="stable")
    ]
    joined, finished = [math.nan] * len(steps), [math.nan] * len(steps)
    waiting: list[tuple[tuple[float, ...], _Request]] = []
    batch: list[_Request] = []
    log, clock = [], 0.0
    while coming or waiting or batch:
        start = clock if waiting or batch else max(clock, coming[-1].arrival)
        waited, clock, encoded = start - clock, start, 0
        while coming and coming[-1].arrival <= clock:
            request = coming.pop()
            heapq.heappush(waiting, (key(request), request))
        while waiting:
            if len(batch) == cap:
                last = max(batch, key=key)
                if key(last) < waiting[0][0]:
                    break
                batch.remove(last)
                chosen = heapq.heapreplace(waiting, (key(last), last))[1]
            else:
                chosen = heapq.heappop(waiting)[1]
            batch.append(chosen)
            if math.isnan(joined[chosen.index]):
                joined[chosen.index] = clock
                encoded += 1
        clock += text(encoded) if encoded else 0.0
        seconds = tick(len(batch))
        if not (math.isfinite(seconds) and seconds > 0):
            raise InputError(
                f"tick: found {seconds} s for a batch of {len(batch)}; allowed: above 0"
            )
        ticks = min(request.remaining for request in batch)
        if coming:
            ticks = min(ticks, max(1, math.ceil((coming[-1].arrival - clock) / seconds)))
        clock += ticks * seconds
        for request in batch:
            request.remaining -= ticks
        done = [request.index for request in batch if not request.remaining]
        if done:
            clock += decode(len(done))
            for index in done:
                finished[index] = clock
        log.append((start, waited, encoded, len(batch), ticks, len(done), clock))
        batch = [request for request in batch if request.remaining]
    return Served(arrivals, np.array(joined), np.array(finished), np.array(log, LOG))


def poisson(rate: float, count: int, seed: int) -> NDArray[np.float64]:
    """Arrival times in seconds, shape (count,), of a Poisson stream with ``rate`` a second."""
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"rate: found {rate}; allowed: requests a second, above 0")
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def _checked(
    arrivals: ArrayLike, steps: ArrayLike, cap: int, order: str
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    arrivals, steps = np.asarray(arrivals, float), np.asarray(steps, float)
    if arrivals.ndim != 1 or arrivals.shape != steps.shape:
        raise InputError(
            f"requests: found arrivals of shape {arrivals.shape}, steps of {steps.shape}; "
            "allowed: one of each a request"
        )
    if not (np.isfinite(arrivals).all() and (arrivals >= 0).all()):
        raise InputError("arrivals: found values that are not seconds of at least 0")
    if not (np.isfinite(steps).all() and (steps >= 1).all() and (steps == np.round(steps)).all()):
        raise InputError("steps: found values that are not whole numbers of at least 1")
    if not isinstance(cap, (int, np.integer)) or cap < 1:
        raise InputError(f"cap: found {cap!r}; allowed: a whole number of at least 1")
    if order not in ORDERS:
        raise InputError(f"order: found {order!r}; allowed: {', '.join(ORDERS)}")
    return arrivals, steps.astype(int)
