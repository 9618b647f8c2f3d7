"""Do the points of a curve lie further from it than their own standard errors explain?"""

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc, fdtrc

from calibration.fitting.curve_fit import CurveFit, FamilyFit, InterpolationTable
from calibration.fitting.prediction import members
from calibration.statistics import Array


def heaviest(fit: CurveFit) -> FamilyFit:
    """The family with the largest weight in the curve's predictions."""
    return max(members(fit), key=lambda member: member[1])[0]


def misfit_p(fit: CurveFit) -> float | None:
    """The p value of the lack of fit of the curve's heaviest family.

    Chi square of the points' residuals is that of the errors of predicting each point from the
    others, with the covariance of these errors: a point left out changes a linear fit by a multiple
    of its residual. An interpolation has no residuals; its points are predicted from their two
    neighbours. Points of the same prompts err together, which makes residuals smaller than
    independent errors would. Returns None where the standard errors are not known, or where there
    are as many parameters as points.
    """
    errors = [point.se for point in fit.points if point.se]
    if len(errors) < len(fit.points):
        return None
    s, y = (np.array(column, float) for column in zip(*((p.steps, p.value) for p in fit.points)))
    se, family = np.array(errors), heaviest(fit)
    if isinstance(family.parameters, InterpolationTable):
        chi2, residual_dof = _between_neighbours(s, y, se)
    else:
        chi2 = float(np.sum(((y - family.evaluate(s)[0]) / se) ** 2))
        residual_dof = len(s) - len(family.parameters)
    if residual_dof < 1:
        return None
    if family.dof is None:
        return float(chdtrc(residual_dof, chi2))
    return float(fdtrc(residual_dof, family.dof, chi2 / residual_dof))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected for their number (Holm 1979).

    Of tests whose hypotheses all hold, the least corrected value is below a level with at most that
    probability, however the tests depend on each other.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def _between_neighbours(s: Array, y: Array, se: Array) -> tuple[float, int]:
    """Chi square of the inner points against a straight line between their neighbours, and its
    degrees of freedom; ``s`` is rising.
    """
    inner = range(1, len(s) - 1)
    missed = np.zeros((len(inner), len(s)))
    for row, i in enumerate(inner):
        share = (s[i] - s[i - 1]) / (s[i + 1] - s[i - 1])
        missed[row, i - 1 : i + 2] = share - 1, 1.0, -share
    residuals = missed @ y
    covariance = (missed * se**2) @ missed.T
    return float(residuals @ np.linalg.solve(covariance, residuals)), len(inner)
