"""Quoted completion times, corrected by what became of those that were quoted before."""

from collections import deque

import numpy as np

from calibration.statistics import Array

#: Finished requests that a fitted correction is made of, at most and at least.
REMEMBERED, LEAST = 300, 30
#: Requests as predicted that come before the first, for the correction of before that.
PRIOR = 3
#: The coverage aimed at, and how fast the level is adapted to what is reached.
COVERAGE, RATE = 0.95, 0.02
#: Keeps the fit's weights finite where all requests met the same.
RIDGE = 0.01


class Quotes:
    """Measured over predicted seconds of the last requests, and the intervals that they give.

    They hold what a prediction on arrival cannot know: requests that come later and make iterations
    slower, and a machine that changes its speed meanwhile. The ratio's logarithm is fitted, by
    least squares, to the logarithms of what each request met; the interval's ends are quantiles of
    what is left. Their level follows the share of intervals that held (adaptive conformal
    inference, Gibbs and Candès 2021). Of few requests only the mean ratio counts, drawn towards 1.
    """

    def __init__(self) -> None:
        self._met: deque[Array] = deque(maxlen=REMEMBERED)
        self._ratios: deque[float] = deque(maxlen=REMEMBERED)  # their logarithms
        self._miss = 1 - COVERAGE
        self._fit: tuple[Array, Array] | None = None

    def factors(self, met: Array, first: Array) -> Array:
        """What predictions are to be multiplied by, shape (3, n): for the middle, and for the ends
        of the 95 % interval; ``first``, shape (3, n), before anything was finished.

        ``met``: what each request meets, shape (n, k), numbers above 0 to which the ratio is
        related: how many are present, its iterations, those of all present; itself included.
        """
        if self._fit is None:
            mean = sum(self._ratios) / (len(self._ratios) + PRIOR)
            return np.asarray(first * np.exp(mean))
        weights, left = self._fit
        factors: Array = np.exp(_design(met) @ weights + left[:, None])
        return factors

    def finished(self, ratio: float, met: Array, held: bool) -> None:
        """A request that ``met``, shape (k,), this took ``ratio`` times what was predicted;
        ``held``: its interval did.
        """
        self._met.append(met)
        self._ratios.append(float(np.log(ratio)))
        self._miss += RATE * ((1 - COVERAGE) - (0.0 if held else 1.0))
        self._miss = min(max(self._miss, -0.05), 0.5)
        if len(self._ratios) < LEAST:
            return
        rows, ratios = _design(np.array(self._met)), np.array(self._ratios)
        weights = np.linalg.solve(rows.T @ rows + RIDGE * np.eye(rows.shape[1]), rows.T @ ratios)
        miss = max(self._miss, 0.0)
        left = np.quantile(ratios - rows @ weights, [0.5, miss / 2, 1 - miss / 2])
        # beyond the extremes nothing is known: a tenth more, where the level asks for all
        spare = 0.1 if self._miss <= 0 else 0.0
        self._fit = weights, left + spare * np.array([0.0, -1.0, 1.0])


def _design(met: Array) -> Array:
    return np.column_stack([np.ones(len(met)), np.log(met)])
