"""A line a + b s through points, both parameters at least 0, and a test for lack of fit."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import fdtrc

from calibration.schema import Schema, frozen, limits
from calibration.statistics import Array

#: The level of the test: a straight line is rejected at a smaller p.
AFFINE_LEVEL = 0.01


@frozen
class LackOfFit(Schema):
    """An F test of the points' distances from the line against their own scatter.

    ``p`` of a straight line; ``affine``: p >= 0.01. ``largest`` is the largest relative distance of
    a point, and ``at`` its steps (or batch size).
    """

    p: float
    largest: float
    at: int
    affine: bool


@frozen
class MedianPoint(Schema):
    """The ``median`` (s or J) of ``n`` images with ``steps`` steps."""

    steps: int = limits(least=1)
    median: float
    n: int


def median_points(
    counts: Array, medians: Array, images: NDArray[np.int_]
) -> tuple[MedianPoint, ...]:
    """A point for each step count; all arguments have shape (n,)."""
    rows = zip(counts.astype(int).tolist(), medians.tolist(), images.tolist(), strict=True)
    return tuple(MedianPoint(*row) for row in rows)


def fit_line(
    counts: Array, values: Array, sd: Array, dof: int | None
) -> tuple[Array, Array, LackOfFit | None]:
    """The line ``values`` = a + b ``counts`` with a, b >= 0, by least squares weighted by ``sd``.

    All arrays have shape (n,). ``dof``: degrees of freedom of ``sd``, None where only its
    proportions are known. Returns (a, b), their covariance (2, 2), and the test. It needs more
    points than parameters and a known ``sd``, and is None without.
    """
    design = np.stack([np.ones_like(counts), counts], axis=1)
    line, residual_norm = nnls(design / sd[:, None], values / sd)
    chi2 = residual_norm**2
    covariance = _covariance(design / sd[:, None], line > 0, chi2, dof is not None)
    residual_dof = len(counts) - np.count_nonzero(line)
    if dof is None or residual_dof <= 0 or not line.any():
        return line, covariance, None
    residuals = values / (design @ line) - 1
    p = float(fdtrc(residual_dof, dof, chi2 / residual_dof))
    largest = int(np.argmax(np.abs(residuals)))
    lack = LackOfFit(p, float(residuals[largest]), int(counts[largest]), p >= AFFINE_LEVEL)
    return line, covariance, lack


def _covariance(design: Array, free: NDArray[np.bool_], chi2: float, known: bool) -> Array:
    """The (2, 2) covariance; a parameter at its bound 0 has no variance.

    Where chi square exceeds its degrees of freedom, or the errors are not ``known``, it is scaled
    by their ratio.
    """
    kept = np.flatnonzero(free)
    dof = len(design) - len(kept)
    reduced = chi2 / dof if dof else 0.0
    covariance = np.zeros((2, 2))
    inverse = np.linalg.inv(design[:, kept].T @ design[:, kept])
    covariance[np.ix_(kept, kept)] = inverse * (max(1.0, reduced) if known else reduced)
    return covariance
