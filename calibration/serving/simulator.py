"""The step engine, simulated: requests with their own step counts share the ticks of one batch, and
wait for each other.

A tick is one call of the network, which takes every request in its batch one step on. Between
ticks, of all requests present (arrived, not finished), the first ``cap`` by an order's key make the
next batch.
"""

import heapq
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from solver.inputs import InputError

#: order -> sorting key of anything with ``arrival`` (seconds), ``remaining`` (steps left) and
#: ``index``; the least key goes first.
ORDERS = {
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
    decoding. ``log``: structured array of the engine's time, one row for each run of ``ticks``
    equal ticks of ``batch`` requests: from ``start``, after ``waited`` seconds without any request,
    it encodes the text of ``encoded``, makes the ticks, and decodes ``decoded`` until ``end``.
    """

    arrivals: np.ndarray
    joined: np.ndarray
    finished: np.ndarray
    log: np.ndarray

    @property
    def queue(self):
        """Seconds from arrival until first chosen."""
        return self.joined - self.arrivals

    @property
    def service(self):
        """Seconds from first chosen until finished; what it was set aside for others in between is
        in it.
        """
        return self.finished - self.joined

    @property
    def total(self):
        """Seconds from arrival until finished, end to end."""
        return self.finished - self.arrivals


@dataclass(slots=True, eq=False)
class _Request:
    index: int
    arrival: float
    remaining: int


def nothing(batch):
    """The seconds of a stage that is not there."""
    return 0.0


def simulate(arrivals, steps, tick, cap, order="first_come", text=nothing, decode=nothing):
    """Serve requests that arrive at ``arrivals`` s with ``steps``, both shape (n,), in batches of
    up to ``cap``: a :class:`Served`.

    One thread does everything: it chooses the batch; encodes in one call the text of the b requests
    that are chosen for the first time, ``text(b)`` s; makes a tick, ``tick(batch)`` s; decodes in
    one call the b that have finished, ``decode(b)`` s; and chooses again. With nobody present it
    waits for the next arrival. With ``cap`` 1 and a request alone, and neither text nor decoding,
    this is the paper's T = s Δt, eq. (3), with Δt = tick(1).

    ``order``: a key of :data:`ORDERS`. A batch stays as it is until one of it finishes or another
    arrives, for a request that was served never falls behind one that was not: so the cost is a few
    operations for each arrival and end, not for each tick. The engine starts at 0 s. Raises
    :class:`InputError` for arrivals below 0 or not finite, steps that are no whole numbers from 1,
    unequal lengths, a cap below 1, an unknown order, and ticks that take no time.
    """
    arrivals, steps = _checked(arrivals, steps, cap, order)
    key, text, tick, decode = ORDERS[order], cache(text), cache(tick), cache(decode)
    coming = [
        _Request(int(i), float(arrivals[i]), int(steps[i]))
        for i in np.argsort(-arrivals, kind="stable")
    ]
    joined, finished = np.full(len(steps), np.nan), np.full(len(steps), np.nan)
    waiting, batch, log, clock = [], [], [], 0.0
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
            if np.isnan(joined[chosen.index]):
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
            finished[done] = clock
        log.append((start, waited, encoded, len(batch), ticks, len(done), clock))
        batch = [request for request in batch if request.remaining]
    return Served(arrivals, joined, finished, np.array(log, LOG))


def poisson(rate, count, seed):
    """Arrival times in seconds, shape (count,), of a Poisson stream of ``rate`` requests a second,
    from a seed.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"rate: found {rate}; allowed: requests a second, above 0")
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def _checked(arrivals, steps, cap, order):
    arrivals, steps = np.asarray(arrivals, float), np.asarray(steps, float)
    if arrivals.ndim != 1 or arrivals.shape != steps.shape:
        raise InputError(
            f"requests: found arrivals of shape {arrivals.shape}, steps of {steps.shape}; allowed: one of each a request"
        )
    if not (np.isfinite(arrivals).all() and (arrivals >= 0).all()):
        raise InputError("arrivals: found some that are no seconds of at least 0")
    if not (np.isfinite(steps).all() and (steps >= 1).all() and (steps == np.round(steps)).all()):
        raise InputError("steps: found some that are no whole numbers of at least 1")
    if not isinstance(cap, (int, np.integer)) or cap < 1:
        raise InputError(f"cap: found {cap!r}; allowed: a whole number of at least 1")
    if order not in ORDERS:
        raise InputError(f"order: found {order!r}; allowed: {', '.join(ORDERS)}")
    return arrivals, steps.astype(int)
