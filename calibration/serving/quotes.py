"""Completion times quoted at admission, with intervals that learn from what became of others."""

from collections import deque
from typing import NamedTuple

import numpy as np

#: Finished requests that a quote is made of, at most and at least.
REMEMBERED, LEAST = 300, 30
#: The coverage aimed at, and how fast the level is adapted to what is reached.
COVERAGE, RATE = 0.95, 0.02
#: Half of the interval of the logarithm before anything was seen.
FIRST = 0.5


class Quote(NamedTuple):
    """Seconds until a request is done, and their 95 % interval."""

    predicted: float
    low: float
    high: float


class Quotes:
    """Turns the seconds that the backlog alone would take into a quote.

    Who comes later makes iterations longer, by how much is learned: the quote is the backlog's
    seconds times the median ratio of measured to expected of the last requests with about as many
    before them, and its interval are the ratio's quantiles. Their level follows the share of
    intervals that held (adaptive conformal inference, Gibbs and Candès 2021).
    """

    def __init__(self) -> None:
        self._ratios: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)  # busy, log ratio
        self._miss = 1 - COVERAGE

    def quote(self, expected: float, busy: float) -> Quote:
        """For a request that alone with those present takes ``expected`` s.

        ``busy``: any measure of how much there is to do, to which its ratio is related.
        """
        if len(self._ratios) < LEAST:
            return Quote(expected, expected * np.exp(-FIRST), expected * np.exp(FIRST))
        loads, ratios = np.array(self._ratios).T
        near = np.argsort(np.abs(loads - busy), kind="stable")[: max(LEAST, len(loads) // 3)]
        miss = min(max(self._miss, 0.0), 1.0)
        low, middle, high = np.quantile(ratios[near], [miss / 2, 0.5, 1 - miss / 2])
        # beyond the extremes nothing is known: a tenth more, where the level asks for all
        spare = 0.1 if self._miss <= 0 else 0.0
        return Quote(
            float(expected * np.exp(middle)),
            float(expected * np.exp(low - spare)),
            float(expected * np.exp(high + spare)),
        )

    def finished(self, expected: float, busy: float, quote: Quote, seconds: float) -> None:
        """A request for which that was quoted took so many ``seconds``."""
        self._ratios.append((busy, float(np.log(seconds / expected))))
        held = quote.low <= seconds <= quote.high
        self._miss += RATE * ((1 - COVERAGE) - (0.0 if held else 1.0))
        self._miss = min(max(self._miss, -0.05), 0.5)
