"""Quoted completion times, corrected by what became of those that were quoted before."""

from collections import deque

import numpy as np

#: Finished requests that a correction is made of, at most and at least.
REMEMBERED, LEAST = 300, 30
#: The coverage aimed at, and how fast the level is adapted to what is reached.
COVERAGE, RATE = 0.95, 0.02


class Quotes:
    """Measured over predicted seconds of the last requests, and the intervals that they give.

    They hold what a prediction on arrival cannot know: requests that come later and make iterations
    slower, and the speed that the machine has now. The middle is the median ratio of those that met
    about as many others, the interval are the ratio's quantiles. Their level follows the share of
    intervals that held (adaptive conformal inference, Gibbs and Candès 2021).
    """

    def __init__(self) -> None:
        self._ratios: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)  # busy, log ratio
        self._miss = 1 - COVERAGE

    def factors(self, busy: float) -> tuple[float, float, float] | None:
        """What a prediction is to be multiplied by: the middle, and the ends of the 95 % interval;
        None while too few were finished.

        ``busy``: any measure of how much there is to do, to which the ratio is related.
        """
        if len(self._ratios) < LEAST:
            return None
        loads, ratios = np.array(self._ratios).T
        near = np.argsort(np.abs(loads - busy), kind="stable")[: max(LEAST, len(loads) // 3)]
        miss = min(max(self._miss, 0.0), 1.0)
        middle, low, high = np.quantile(ratios[near], [0.5, miss / 2, 1 - miss / 2])
        # beyond the extremes nothing is known: a tenth more, where the level asks for all
        spare = 0.1 if self._miss <= 0 else 0.0
        return float(np.exp(middle)), float(np.exp(low - spare)), float(np.exp(high + spare))

    def finished(self, ratio: float, busy: float, held: bool) -> None:
        """A request took ``ratio`` times what was predicted; ``held``: its interval did."""
        self._ratios.append((busy, float(np.log(ratio))))
        self._miss += RATE * ((1 - COVERAGE) - (0.0 if held else 1.0))
        self._miss = min(max(self._miss, -0.05), 0.5)
