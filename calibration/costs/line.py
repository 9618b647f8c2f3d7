"""A line a + b s through points, both parameters at least 0, and a test of whether it is one."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import f as fisher

from calibration.schema import Schema, frozen, limits

#: A straight line is called wrong only where chance is less likely than this.
AFFINE_LEVEL = 0.01


@frozen
class LackOfFit(Schema):
    """An F test of the points' misfit against their own spread.

    ``largest`` is the largest relative distance of a point from the line, ``at`` which steps (or
    batch size); ``affine``: p >= 0.01.
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


def fit_line(
    counts: NDArray[np.float64],
    values: NDArray[np.float64],
    sd: NDArray[np.float64],
    dof: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], LackOfFit | None]:
    """The line ``values`` = a + b ``counts`` with a, b >= 0, by least squares weighted by ``sd``.

    All arrays have shape (n,). ``dof``: degrees of freedom with which ``sd`` is known, None where
    only its proportions are. Returns (a, b), their covariance (2, 2), and the test, None where it
    cannot be made: with two points, or where ``sd`` is not known.
    """
    design = np.stack([np.ones_like(counts), counts], axis=1)
    line, misfit = nnls(design / sd[:, None], values / sd)
    covariance = _covariance(design / sd[:, None], line > 0, misfit**2, dof is not None)
    residual_dof = len(counts) - np.count_nonzero(line)
    if dof is None or residual_dof <= 0:
        return line, covariance, None
    residuals = values / (design @ line) - 1
    p = float(fisher.sf(misfit**2 / residual_dof, residual_dof, dof))
    largest = int(np.argmax(np.abs(residuals)))
    lack = LackOfFit(p, float(residuals[largest]), int(counts[largest]), p >= AFFINE_LEVEL)
    return line, covariance, lack


def _covariance(
    design: NDArray[np.float64], free: NDArray[np.bool_], chi2: float, known: bool
) -> NDArray[np.float64]:
    """(2, 2) covariance; a parameter at its bound 0 is held there.

    It is scaled up where the line misses by more than the noise.
    """
    kept = np.flatnonzero(free)
    dof = len(design) - len(kept)
    reduced = chi2 / dof if dof else 0.0
    covariance = np.zeros((2, 2))
    inverse = np.linalg.inv(design[:, kept].T @ design[:, kept])
    covariance[np.ix_(kept, kept)] = inverse * (max(1.0, reduced) if known else reduced)
    return covariance
