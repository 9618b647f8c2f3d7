"""A test for monotonicity, and straight interpolation where no family fits."""

from dataclasses import dataclass

import numpy as np

from calibration.fitting.curve_fit import TABLE, FamilyFit, InterpolationTable
from calibration.fitting.points import Points, default_sd
from calibration.fitting.selection import Candidate
from calibration.statistics import Array, isotonic, r_squared, t_critical

# The false-alarm probability of the test on a flat curve.
_ALARM = 0.01
# The least relative sd of points whose sd is not known (of the value; of the range for a utility).
_UNKNOWN = 0.05


@dataclass(frozen=True)
class Violation:
    """A change against the expected direction, from the step count ``start`` to ``end``.

    ``change`` is that of the value, ``sd`` the change's standard deviation.
    """

    start: int
    end: int
    change: float
    sd: float


def violation(
    steps: Array,
    values: Array,
    rising: bool,
    covariance: Array | None = None,
    dof: int | None = None,
) -> Violation | None:
    """The clearest evidence that a curve is not monotone, or None.

    ``steps``, ``values``: (n,), by rising steps; ``covariance``: (n, n) of the points, estimated
    with ``dof`` degrees of freedom (None: exact). The change between any two points is tested
    against its sd, at a level corrected for the number of pairs (Bonferroni). Without
    ``covariance`` the sd is the scatter about the nearest curve with one turn, and at least 5 %.
    """
    n = len(steps)
    probability = 1 - _ALARM / (n * (n - 1) / 2)
    limit = t_critical(None if covariance is None else dof, probability)
    if covariance is None:
        scale = np.broadcast_to(np.ptp(values) if rising else np.abs(values), n)
        scatter = min(_scatter(values, scale, split, rising) for split in range(n))
        # The curve with one turn takes about half the degrees of freedom. An estimated sd has the
        # larger quantile of the other half.
        share = max(_UNKNOWN, scatter * t_critical(n // 2, probability) / limit)
        covariance = np.diag((share * scale) ** 2)
    change = values[None, :] - values[:, None]
    variance = np.diag(covariance)
    sd = np.sqrt(np.maximum(variance[None, :] + variance[:, None] - 2 * covariance, 0.0))
    wrong = np.triu(-change if rising else change, 1)
    excess = np.where(wrong > 0, wrong / np.maximum(sd, 1e-300), 0.0)
    i, j = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[i, j] <= limit:
        return None
    return Violation(int(steps[i]), int(steps[j]), float(change[i, j]), float(sd[i, j]))


def interpolate(points: Points) -> tuple[Candidate, Violation | None]:
    """Straight interpolation of ``points`` as a candidate, and where they are not monotone.

    The table holds the means of equal steps, made monotone unless they clearly are not.
    """
    grid, where, counts = np.unique(points.s, return_inverse=True, return_counts=True)
    mean = (np.arange(len(grid))[:, None] == where) / counts[:, None]
    value, rising = mean @ points.y, points.kind == "utility"
    covariance = None if points.covariance is None else mean @ points.covariance @ mean.T
    violated = violation(grid, value, rising, covariance, points.dof)
    predicted = [
        np.interp(grid[i], np.delete(grid, i), np.delete(value, i)) for i in range(len(grid))
    ]
    missed = value - predicted
    if points.sd is not None:
        scale = sd = mean @ points.sd
        dof = points.dof
    else:
        scale = default_sd(points.kind, value)
        sd = scale * np.sqrt(np.mean((missed / scale) ** 2))
        dof = len(grid) - 1
    shown = value if violated else isotonic(value, _weights(scale), rising)
    table = InterpolationTable(
        steps=tuple(grid.astype(int).tolist()),
        values=tuple(shown.tolist()),
        sd=tuple(sd.tolist()),
    )
    fit = FamilyFit(
        family=TABLE,
        parameters=table,
        intervals={},
        covariance=None,
        noise=1.0,
        dof=dof,
        r2=r_squared(points.y, np.interp(points.s, grid, shown)),
        aicc=None,
        held_out_error=float(np.mean(np.abs(missed) / default_sd("error", value))),
    )
    return Candidate(fit, float(np.mean((missed / scale) ** 2))), violated


def _weights(sd: Array) -> Array:
    """Weights in proportion to 1 / sd², where neither underflows: of sd relative to the largest."""
    largest = sd.max()
    relative = sd / largest if largest > 0 else np.ones_like(sd)
    return 1 / np.maximum(relative, 1e-100) ** 2


def _scatter(values: Array, scale: Array, split: int, rising: bool) -> float:
    """The relative scatter about the nearest curve that turns at point ``split``."""
    weights = _weights(scale)
    first = isotonic(values[: split + 1], weights[: split + 1], rising)
    second = isotonic(values[split + 1 :], weights[split + 1 :], not rising)
    apart = np.abs(values - np.concatenate([first, second]))
    relative = apart / np.maximum(scale, 1e-300)
    largest = relative.max() or 1.0  # divided by it, squares do not overflow
    return float(largest * np.sqrt(np.mean((relative / largest) ** 2)))
