"""Time against steps: T = overhead + step_time * s, the affine form of eq. (3), with its
uncertainty.
"""

import numpy as np
from scipy.optimize import nnls
from scipy.stats import f as fisher

from solver.inputs import InputError

# A median's standard error over a mean's, and a standard deviation over a median absolute deviation
# (normal data).
MEDIAN = np.sqrt(np.pi / 2)
MAD = 1.4826
# A straight line is called wrong only where chance is less likely than this.
AFFINE_LEVEL = 0.01


def fit_time(steps, seconds):
    """Fit T = overhead + step_time * s to single images: ``steps`` and ``seconds``, both shape
    (n,).

    The line goes through the *medians* of each step count, because what disturbs a timing (a pause
    of the machine, a cold cache) only ever adds: a mean moves with it, a median stays until half of
    a step count's images are disturbed. They are weighted by their standard errors; a single
    image's spread is taken as proportional to its time, and pooled over the step counts. Both
    parameters are >= 0.

    Returns a dict: ``overhead`` s, ``step_time`` s, ``covariance`` (2, 2), ``r2`` (of the medians),
    ``n`` images, ``relative_sd`` (of one image about the line; half its central 95 % over 1.96, so
    that a rare pause does not swell it), ``freedom`` (degrees, of the covariance), ``basis``,
    ``points`` [{steps, median, n}], ``paper``, the form without an intercept, T = s Δt, and
    ``lack_of_fit``: is time affine in steps? {``p``, of an F test of the medians' misfit against
    the images' own spread; ``largest``, the largest relative distance of a median from the line,
    and ``at`` which steps; ``affine``: p >= 0.01}; None with two step counts, or one image at each.

    Raises :class:`InputError` for fewer than two step counts, or times that are not positive
    numbers.
    """
    steps, seconds = np.asarray(steps, float), np.asarray(seconds, float)
    if not (np.isfinite(seconds).all() and (seconds > 0).all()):
        raise InputError("time: found a time that is not a positive number of seconds")
    counts, where = np.unique(steps, return_inverse=True)
    if len(counts) < 2:
        raise InputError(
            f"time: found {len(counts)} step count(s); allowed: at least 2 different ones"
        )
    medians = np.array([np.median(seconds[where == i]) for i in range(len(counts))])
    images = np.bincount(where)

    repeated = images[where] > 1
    # a median of n lies nearer to its own n images than the true one does: by about sqrt((n - 1) /
    # n)
    deviations = (
        np.abs(seconds / medians[where] - 1) * np.sqrt(images / np.maximum(images - 1, 1))[where]
    )[repeated]
    spread = MAD * np.median(deviations) * MEDIAN if len(deviations) else 0.0
    known = spread > 0
    sd = medians * (spread if known else 1.0) / np.sqrt(images)

    line, covariance, lack = fit_line(
        counts, medians, sd, len(seconds) - len(counts) if known else None
    )
    overhead, step_time = line
    residuals = seconds / (overhead + step_time * steps) - 1
    low, high = np.quantile(residuals, [0.025, 0.975])

    through_origin = float(np.sum(counts * medians / sd**2) / np.sum(counts**2 / sd**2))
    return {
        "overhead": float(overhead),
        "step_time": float(step_time),
        "covariance": covariance.tolist(),
        "r2": r_squared(medians, overhead + step_time * counts),
        "n": len(seconds),
        "relative_sd": float(high - low) / (2 * 1.96),
        "freedom": max(1, len(seconds) - len(counts) if known else len(counts) - 2),
        "basis": "measured",
        "lack_of_fit": lack,
        "paper": {"step_time": through_origin, "r2": r_squared(medians, through_origin * counts)},
        "points": [
            {"steps": int(count), "median": float(median), "n": int(number)}
            for count, median, number in zip(counts, medians, images, strict=True)
        ],
    }


def fit_line(counts, values, sd, freedom):
    """The line ``values`` = a + b * ``counts`` with a, b >= 0, by least squares weighted by ``sd``;
    all shape (n,).

    ``freedom``: degrees of freedom with which ``sd`` is known, or None where only its proportions
    are. Returns (a, b), their covariance (2, 2) and ``lack_of_fit`` as :func:`fit_time` describes
    it.
    """
    design = np.stack([np.ones_like(counts), counts], axis=1)
    line, misfit = nnls(design / sd[:, None], values / sd)
    covariance = _covariance(design / sd[:, None], line > 0, misfit**2, freedom is not None)
    spare = len(counts) - np.count_nonzero(line)
    lack = None
    if freedom is not None and spare > 0:
        off = values / (design @ line) - 1
        p = float(fisher.sf(misfit**2 / spare, spare, freedom))
        largest = int(np.argmax(np.abs(off)))
        lack = {
            "p": p,
            "largest": float(off[largest]),
            "at": int(counts[largest]),
            "affine": p >= AFFINE_LEVEL,
        }
    return line, covariance, lack


def _covariance(design, free, chi2, known):
    """(2, 2) covariance; a parameter at its bound 0 is held there. Scaled up where the line misses
    by more than the noise.
    """
    free = np.flatnonzero(free)
    degrees = len(design) - len(free)
    reduced = chi2 / degrees if degrees else 0.0
    covariance = np.zeros((2, 2))
    inverse = np.linalg.inv(design[:, free].T @ design[:, free])
    covariance[np.ix_(free, free)] = inverse * (max(1.0, reduced) if known else reduced)
    return covariance


def r_squared(values, predicted):
    """1 - residual over total sum of squares; for constant values 1 if they are met, else 0."""
    residual, total = np.sum((values - predicted) ** 2), np.sum((values - np.mean(values)) ** 2)
    if total <= 1e-24 * np.sum(values**2):
        return 1.0 if residual <= 1e-24 * np.sum(values**2) else 0.0
    return float(1 - residual / total)
