"""What a request that arrives now will take: predicted on arrival, from who is already there.

Under first come, first served nobody who arrives later goes before it. So one pass over the batches
to come gives its completion for every number of iterations that it may ask for:
:func:`calibration.serving.simulator.simulate` without later arrivals, for all of them at once.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.costs.batch import BatchCost, CallCost, call_seconds
from calibration.serving.online import calls_of
from calibration.statistics import Z95, t_quantile
from solver.inputs import InputError
from solver.online import Backlog, Pace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ahead:
    """A request that was there before: the ``iterations`` that it still takes, and whether its text
    is ``encoded``; ``weight``: what a second of delay costs it; ``due``: when it must be done, in s
    from now.
    """

    iterations: int
    encoded: bool
    weight: float = 0.0
    due: float = np.inf


@dataclass(frozen=True)
class Quote:
    """Of a request with 1, 2, ... iterations, arrays of shape (n,), in seconds.

    ``seconds``: from now until its image is decoded, with its 95 % interval, ``low`` to ``high``.
    """

    seconds: Array
    low: Array
    high: Array


class Quoter:
    """Quotes for batches of at most ``cap`` that cost what ``cost`` says, times the ``pace`` of the
    time.

    ``drift``: half of the relative 95 % interval of the machine's speed over that of the timings
    (:func:`calibration.costs.drift.drift_expected`). Raises :class:`InputError` for a cap above the
    largest batch that was timed.
    """

    def __init__(self, cost: BatchCost, cap: int, drift: float = 0.0) -> None:
        if cap < 1:
            raise InputError(f"cap: found {cap}; allowed: at least 1")
        self.cap, self._drift, self.calls = cap, drift, calls_of(cost, cap)
        self._calls = [
            _Call(getattr(cost, name), getattr(self.calls, name))
            for name in ("text", "tick", "decode")
        ]

    def backlog(self, ahead: Sequence[Ahead], underway: float = 0.0, pace: float = 1.0) -> Backlog:
        """Those ``ahead`` as policies see them, at 0 s; see :meth:`quote`."""
        backlog = Backlog(self.calls, clock=underway, speed=Pace(pace))
        for name, each in enumerate(ahead):
            backlog.add(name, each.iterations, each.weight, each.due, new=not each.encoded)
        return backlog

    def quote(
        self, ahead: Sequence[Ahead], most: int, underway: float = 0.0, pace: float = 1.0
    ) -> Quote:
        """A request with up to ``most`` iterations behind those ``ahead``, in their order.

        ``underway``: seconds until the engine's present call ends. ``ahead`` is as it will be then.
        The interval is that of the costs (delta method), of single calls' noise and of the drift.
        """
        calls = [np.zeros((most, self.cap + 1)) for _ in self._calls]  # by size, before it ends
        texts, ticks, decodings = calls
        waiting, batch = deque(ahead), list[int]()  # of those in it, the iterations left
        joined, made = False, 0
        while made < most:
            encoded = 0
            while len(batch) < self.cap and waiting:
                request = waiting.popleft()
                batch.append(request.iterations)
                encoded += not request.encoded
            if len(batch) < self.cap and not joined:
                joined, encoded = True, encoded + 1
            texts[made:, encoded] += encoded > 0
            size = len(batch) + joined
            count = min([*batch, *([most - made] if joined else [])])
            ends = sum(left == count for left in batch)
            if joined:
                upto = np.arange(1, most - made + 1).clip(max=count)
                last = made + count - 1
                ticks[made:, size] += upto
                decodings[made:last, 1] += 1
                decodings[last, ends + 1] += 1
                made += count
            else:
                ticks[:, size] += count
            if ends:
                decodings[made:, ends] += 1
            batch = [left - count for left in batch if left > count]
        variance, noise, seconds = np.zeros((3, most))
        for call, counts in zip(self._calls, calls, strict=True):
            seconds += counts @ call.seconds
            variance += np.einsum("ij,jk,ik->i", counts, call.covariance, counts)
            noise += counts @ call.noise
        seconds = underway + pace * seconds
        own = pace**2 * (variance + Z95**2 * noise)
        half = np.sqrt(own + (self._drift * seconds) ** 2) / seconds
        return Quote(seconds, seconds * np.exp(-half), seconds * np.exp(half))


class _Call:
    """A call by batch size, 0 to the cap: its ``seconds``, the covariance of their 95 % half
    widths, and the variance of a single one.
    """

    def __init__(self, cost: CallCost, seconds: Array) -> None:
        _, covariance = call_seconds(cost, np.arange(1, len(seconds)))
        self.seconds = seconds
        self.covariance = np.pad(covariance * t_quantile(cost.dof) ** 2, (1, 0))
        self.noise = (cost.relative_sd * self.seconds) ** 2
