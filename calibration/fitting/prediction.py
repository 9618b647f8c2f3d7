"""A fitted curve evaluated: the weighted average of its families, with intervals.

The weights are those of :mod:`calibration.fitting.selection`.
"""

from collections.abc import Sequence

import numpy as np

from calibration.fitting.curve_fit import (
    TABLE,
    CurveFit,
    FamilyFit,
    Prediction,
)
from calibration.fitting.discrepancy import correction
from calibration.fitting.points import Numbers, default_sd
from calibration.fitting.selection import in_the_running
from calibration.statistics import Array, t_quantile


def evaluate(fit: CurveFit, steps: Numbers, family: str | None = None) -> tuple[Array, Array]:
    """Values, shape (m,), and their covariance, shape (m, m), of a fitted curve at ``steps``.

    ``family`` None: the weighted average of the families, v = sum_k w_k v_k. Its covariance, sum_k
    w_k (C_k + (v_k - v)(v_k - v)^T), includes their disagreement. Where no family fits the points,
    the average is shrunk towards them (:mod:`calibration.fitting.discrepancy`).
    """
    s = np.asarray(steps, float)
    averaged = members(fit, family)
    parts = [(weight, *member.evaluate(s)) for member, weight in averaged]
    value = sum((weight * part for weight, part, _ in parts), np.zeros(len(s)))
    covariance = sum(
        (
            weight * (covariance + np.outer(part - value, part - value))
            for weight, part, covariance in parts
        ),
        np.zeros((len(s), len(s))),
    )
    tabulated = any(member.family == TABLE for member, _ in averaged)
    if family is not None or not fit.discrepancy or tabulated:
        return value, covariance
    points = sorted(fit.points, key=lambda point: point.steps)
    at = np.array([point.steps for point in points], float)
    measured = np.array([point.value for point in points])
    at_points = sum((weight * member.evaluate(at)[0] for member, weight in averaged), 0 * at)
    units = default_sd(fit.kind, measured), default_sd(fit.kind, value, measured)
    shift, shared = correction(points, fit.discrepancy, s, at_points, units)
    return value + shift, covariance + shared


def members(fit: CurveFit, family: str | None = None) -> list[tuple[FamilyFit, float]]:
    """The families averaged with their weights, or the one named with weight 1.

    Where no family has a weight, as in files of the first version, it is the chosen one.
    """
    weighted = [(member, member.weight) for member in fit.families if member.weight]
    if family is None and weighted:
        return weighted
    name = family or fit.chosen
    return [(member, 1.0) for member in fit.families if member.family == name]


def degrees_of_freedom(fit: CurveFit, family: str | None = None) -> int | None:
    """That of a curve's covariance: the least of its families'; None is infinitely many."""
    known = [member.dof for member, _ in members(fit, family) if member.dof is not None]
    return min(known, default=None)


def predict(fit: CurveFit, steps: Sequence[float], level: float = 0.95) -> tuple[Prediction, ...]:
    """The prediction of a point measured anew at each of ``steps``.

    The interval (``level``) holds the curve's uncertainty (delta method, with covariances) and a
    point's own noise. Outside the measured range it also covers the intervals of all families that
    predicted left-out points comparably well, because the choice of family dominates there.
    """
    s = np.asarray(steps, float)
    measured = [point.steps for point in fit.points]
    outside = (s < min(measured)) | (s > max(measured))
    value, low, high = _interval(fit, s, None, level)
    for member in in_the_running(fit.families) if outside.any() else ():
        _, lowest, highest = _interval(fit, s, member.family, level)
        low = np.where(outside, np.minimum(low, lowest), low)
        high = np.where(outside, np.maximum(high, highest), high)
    columns = (value.tolist(), low.tolist(), high.tolist(), outside.tolist())
    return tuple(Prediction(*row) for row in zip(steps, *columns, strict=True))


def _interval(
    fit: CurveFit, s: Array, family: str | None, level: float
) -> tuple[Array, Array, Array]:
    """The curve at ``s``, and the ends of the interval of a new point."""
    value, covariance = evaluate(fit, s, family)
    # Noise belongs to the measurement, not to a family: the family that fits best tells it.
    se = _standard_error(fit, s, value)
    noise = np.min([member.point_sd(s, se) for member, _ in members(fit, family)], axis=0)
    variance = np.maximum(np.diag(covariance), 0.0) + noise**2
    half = t_quantile(degrees_of_freedom(fit, family), level) * np.sqrt(variance)
    low = value - half
    if fit.kind == "error" and all(point.value >= 0 for point in fit.points):
        low = np.maximum(low, 0.0)
    return value, low, value + half


def _standard_error(fit: CurveFit, s: Array, value: Array) -> Array:
    """A point's standard error at ``s``; if none was measured, :func:`default_sd` of ``value``."""
    points = sorted(fit.points, key=lambda point: point.steps)
    se = [point.se for point in points if point.se is not None]
    if len(se) < len(points):
        return default_sd(fit.kind, value, np.array([point.value for point in points]))
    return np.interp(s, [point.steps for point in points], se)
