"""Seconds of the calls of an engine, by how many requests share them."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError

#: Iterations that a pace is made of, at most, and how many as expected come before the first.
RECENT, PRIOR = 20, 3
#: Seconds without an iteration in which half of a pace, its logarithm, is forgotten.
FORGOTTEN = 60.0


@dataclass(frozen=True, eq=False)
class Calls:
    """Seconds of one call of b = 0, 1, ..., cap requests, each of shape (1 + cap,), 0 for none.

    ``tick``: an iteration; ``text``: an encoding; ``decode``: a decoding.
    """

    tick: FloatArray
    text: FloatArray
    decode: FloatArray

    @classmethod
    def of(cls, tick: ArrayLike, text: ArrayLike, decode: ArrayLike) -> "Calls":
        """Of the seconds of 1, 2, ..., cap requests.

        Raises InputError for unequal lengths, for seconds that are negative or fall with the
        number of requests, and for iterations that take no time.
        """
        given = {"tick": tick, "text": text, "decode": decode}
        columns = {name: np.asarray(values, float) for name, values in given.items()}
        for name, values in columns.items():
            if values.shape != columns["tick"].shape or values.ndim != 1 or not len(values):
                raise InputError(f"calls: {name}: found shape {values.shape}; allowed: (cap,)")
            if not (np.isfinite(values).all() and (np.diff(values, prepend=0.0) >= 0).all()):
                raise InputError(
                    f"calls: {name}: found {values.tolist()}; allowed: seconds that do not fall"
                )
        if columns["tick"][0] <= 0:
            raise InputError("calls: tick: found 0 s; allowed: above 0")
        return cls(**{name: np.append(0.0, values) for name, values in columns.items()})

    @property
    def cap(self) -> int:
        """The largest batch."""
        return len(self.tick) - 1

    def seconds(self, starts: IntArray, batch: IntArray, ends: IntArray) -> FloatArray:
        """Iterations of a ``batch`` of which so many start and end with it; all of one shape."""
        return self.text[starts] + self.tick[batch] + self.decode[ends]

    def scaled(self, factor: float) -> "Calls":
        """The calls of a machine that takes ``factor`` times as long."""
        return Calls(self.tick * factor, self.text * factor, self.decode * factor)

    def alone(self, steps: ArrayLike) -> FloatArray:
        """The fewest seconds in which requests of so many steps can be served, shape of steps."""
        return np.asarray(steps) * self.tick[1] + self.text[1] + self.decode[1]

    def least_share(self, steps: ArrayLike) -> FloatArray:
        """The fewest seconds of the edge that such requests can take up, shape of steps."""
        (step,), (once,) = self.prices(np.zeros(1), np.ones(1))
        return np.asarray(steps) * step + once

    def prices(self, time_weight: FloatArray, price: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The least cost of a step, and of encoding and decoding, with each one's best batch.

        ``price`` of a busy second, energy included, shape (n,) as ``time_weight`` and the results.
        """
        sizes = np.arange(1, self.cap + 1)
        each = time_weight[:, None] + price[:, None] / sizes
        tick, text, decode = (
            (call[1:] * each).min(axis=1) for call in (self.tick, self.text, self.decode)
        )
        return tick, text + decode


@dataclass(eq=False)
class Pace:
    """How many times as long as expected the last iterations took: the geometric mean, drawn
    towards 1 while they are few. A machine's speed changes, with its heat and its other work; a
    pause of it counts as e times the pace at most.
    """

    value: float = 1.0
    _last: deque[float] = field(default_factory=lambda: deque([0.0] * PRIOR, RECENT))

    def add(self, expected: float, measured: float) -> None:
        """An iteration took so many seconds."""
        now, ratio = float(np.log(self.value)), float(np.log(measured / expected))
        self._last.append(min(max(ratio, now - 1.0), now + 1.0))
        self.value = float(np.exp(sum(self._last) / len(self._last)))

    def after(self, idle: float) -> float:
        """The pace after so many seconds without an iteration: whom it kept away may come again."""
        return float(self.value ** _kept(idle))

    def rest(self, idle: float) -> None:
        """Iterations begin again after so many seconds without any: what they forgot stays so."""
        self.value, kept = self.after(idle), _kept(idle)
        self._last = deque([kept * ratio for ratio in self._last], RECENT)


def _kept(idle: float) -> float:
    """The share of a pace, its logarithm, that is left after so many seconds."""
    return 0.5 ** (idle / FORGOTTEN)
