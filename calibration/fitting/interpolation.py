"""Is a curve monotone, as all families are? And straight interpolation, where no family can follow
it.
"""

import numpy as np
from scipy.stats import t as student

from calibration.costs.time import r_squared
from calibration.fitting.prediction import unit

# An alarm of this chance among curves that are flat.
_ALARM = 0.01
# Points without a known sd are taken to be uncertain by at least this share (of the value; of the
# range for a utility).
_UNKNOWN = 0.05


def isotonic(values, weights, rising):
    """The monotone values, shape (n,), nearest to ``values`` by weighted least squares (pooling
    adjacent violators).
    """
    blocks = []
    for value, weight in zip(values if rising else -np.asarray(values), weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, p, i), (b, q, j) = blocks[-2:]
            blocks[-2:] = [((a * p + b * q) / (p + q), p + q, i + j)]
    found = (
        np.repeat([value for value, _, _ in blocks], [count for _, _, count in blocks])
        if blocks
        else np.empty(0)
    )
    return found if rising else -found


def turn(steps, values, rising, covariance=None, freedom=None):
    """Where a curve goes the wrong way beyond its noise: {from, to, change, sd} of the clearest
    pair of points, or None.

    ``steps``, ``values``: (n,), by rising steps; ``covariance``: (n, n) of the points, estimated
    with ``freedom`` degrees (None: exact). The change between any two points is held against its
    own sd, with a level corrected for their number (Bonferroni). Without ``covariance`` the sd is
    the scatter about the nearest curve with one turn, and at least 5 %, so that only clear evidence
    counts.
    """
    n = len(steps)
    chance = 1 - _ALARM / (n * (n - 1) / 2)
    limit = student.ppf(
        chance, np.inf if freedom is None or covariance is None else max(1, freedom)
    )
    if covariance is None:
        scale = np.ptp(values) if rising else np.abs(values)
        scatter = min(_scatter(values, scale, split, rising) for split in range(n))
        # the curve with one turn has taken about half the freedom: an estimated sd must be beaten
        # by as much more
        share = max(_UNKNOWN, scatter * student.ppf(chance, max(1, n // 2)) / limit)
        covariance = np.diag(np.broadcast_to((share * scale) ** 2, n))
    change = values[None, :] - values[:, None]
    variance = np.diag(covariance)
    sd = np.sqrt(np.maximum(variance[None, :] + variance[:, None] - 2 * covariance, 0.0))
    wrong = np.triu(-change if rising else change, 1)
    excess = np.where(wrong > 0, wrong / np.maximum(sd, 1e-300), 0.0)
    i, j = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[i, j] <= limit:
        return None
    return {
        "from": int(steps[i]),
        "to": int(steps[j]),
        "change": float(change[i, j]),
        "sd": float(sd[i, j]),
    }


def _scatter(values, scale, split, rising):
    """The relative scatter about the nearest curve that turns at point ``split``."""
    weights = 1 / np.maximum(np.broadcast_to(scale, len(values)), 1e-300) ** 2
    there = isotonic(values[: split + 1], weights[: split + 1], rising)
    back = isotonic(values[split + 1 :], weights[split + 1 :], not rising)
    return float(np.sqrt(np.mean((values - np.concatenate([there, back])) ** 2 * weights)))


def table(s, y, sd, known, freedom, kind):
    """Straight interpolation as an entry, and where the curve turns (None: nowhere; then the table
    is made monotone).

    Its parameters are the points themselves (means over equal steps).
    """
    at, where, counts = np.unique(s, return_inverse=True, return_counts=True)
    mean = (np.arange(len(at))[:, None] == where) / counts[:, None]
    value, rising = mean @ y, kind == "utility"
    covariance = None if known is None else mean @ known @ mean.T
    turned = turn(at, value, rising, covariance, freedom)
    missed = np.array(
        [value[i] - np.interp(at[i], np.delete(at, i), np.delete(value, i)) for i in range(len(at))]
    )
    scale = unit(kind, value, value) if sd is None else mean @ sd
    spread = scale * np.sqrt(np.mean((missed / scale) ** 2)) if sd is None else scale
    shown = value if turned else isotonic(value, 1 / scale**2, rising)
    return {
        "family": "table",
        "parameters": {
            "steps": at.astype(int).tolist(),
            "values": shown.tolist(),
            "sd": spread.tolist(),
        },
        "intervals": {},
        "covariance": None,
        "noise": 1.0,
        "freedom": len(at) - 1 if sd is None else freedom,
        "r2": r_squared(y, np.interp(s, at, shown)),
        "aicc": None,
        "held_out_error": float(np.mean(np.abs(missed) / unit("error", value, value))),
        "held_out_square": float(np.mean((missed / scale) ** 2)),
    }, turned
