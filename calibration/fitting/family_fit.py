"""One family fitted to points: its estimate, its intervals, and whether the points support it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from calibration.fitting.curve_fit import FamilyFit, Interval
from calibration.fitting.discrepancy import largest_by_chance
from calibration.fitting.families import Family
from calibration.fitting.least_squares import minimise, response
from calibration.fitting.points import Points, default_sd
from calibration.fitting.profile_likelihood import best, profile
from calibration.fitting.selection import Candidate
from calibration.statistics import Array, matrix, r_squared, t_quantile

# A floor is not reached if it may be 0 or this share of the last value.
_REACHED = 0.75
# Rounding may be this share of a curve's variance.
_RESOLVED = 1e-2


def fit_family(family: Family, points: Points, replicates: ArrayLike | None = None) -> Candidate:
    """Fit one family to ``points`` by weighted least squares.

    ``replicates``, shape (b, n): the values of bootstrap samples, for the ``bootstrap_intervals``.
    """
    s, y, sd = points.s, points.y, points.weight_sd
    n, k = len(s), len(family.parameters)
    p, without_each = _estimates(family, points)
    chi2 = float(np.sum(((y - family.function(s, p)) / sd) ** 2))
    gradient = family.gradient(s, p)
    inverse, identifiable = response(gradient / sd[:, None])
    covariance, noise, dof = _uncertainty(points, inverse, chi2)
    resolved = bool(identifiable) and _resolved(gradient, covariance)
    # Scaled so that a parabolic profile gives the interval of the covariance. (Rounded: parameters
    # of equal scale share a profile.)
    variances = np.diag(covariance) / np.maximum(np.diag(inverse @ inverse.T), 1e-300)
    scale = np.array([float(f"{variance:.9g}") for variance in variances])

    limits = np.array([chi2 + times**2 * scale for times in (t_quantile(dof), 2.0)])
    ends = profile(family, s, y, 1 / sd, p[family.shape], limits)
    intervals, reach = (  # p where rounding leaves none
        _by_name(family, np.fmin(low, p), np.fmax(high, p))
        for low, high in np.moveaxis(ends, -1, 1)
    )
    held_out_error, held_out_square = _held_out(family, points, without_each)
    fit = FamilyFit(
        family=family.name,
        parameters=dict(zip(family.parameters, p.tolist(), strict=True)),
        intervals=intervals,
        covariance=matrix(covariance),
        noise=noise,
        dof=dof,
        r2=r_squared(y, family.function(s, p)),
        aicc=_aicc(chi2 / n, float(np.mean((y / sd) ** 2)), n, k),
        held_out_error=held_out_error,
        bootstrap_intervals=_bootstrap(family, points, replicates),
    )
    refusal = _refusal(family, fit, points, resolved, reach)
    if refusal is None:
        return Candidate(fit, held_out_square)
    return Candidate(replace(fit, refused=refusal.reason), held_out_square, refusal.curve_supported)


def _estimates(family: Family, points: Points) -> tuple[Array, Array]:
    """The parameters fitted to all points, shape (k,), and without each point, shape (n, k)."""
    s, y, sd = points.s, points.y, points.weight_sd
    low, high = np.transpose(family.bounds)
    starts = best(family, s, y[None], (1 - np.eye(len(s) + 1, len(s), k=-1)) / sd)
    p = minimise(
        lambda p: family.function(s, p),
        lambda p: family.gradient(s, p),
        y,
        sd,
        starts[:1],
        (low, high),
    )
    at_bound = (low == 0) & (p < 1e-12 * np.abs(y).max())  # but for rounding
    return np.where(at_bound, 0.0, p), starts[1:]


def _uncertainty(points: Points, inverse: Array, chi2: float) -> tuple[Array, float, int | None]:
    """The parameters' covariance, the noise of a point in units of its sd, and the dof of both.

    ``inverse``: see :func:`response`. Where the points' errors are known, residuals larger than
    they explain add to the covariance.
    """
    plain, residual_dof = inverse @ inverse.T, inverse.shape[1] - inverse.shape[0]
    reduced = chi2 / residual_dof if residual_dof else 1.0
    if points.sd is None or points.covariance is None:
        return plain * reduced, math.sqrt(reduced), max(1, residual_dof)
    covariance = inverse @ (points.covariance / np.outer(points.sd, points.sd)) @ inverse.T
    if residual_dof > 0 and reduced > largest_by_chance(residual_dof, points.dof):
        return covariance + plain * (reduced - 1), math.sqrt(reduced), points.dof
    return covariance, 1.0, points.dof


def _resolved(gradient: Array, covariance: Array) -> bool:
    """Whether the curve's variance at the points, which is that of parameters whose errors cancel
    each other, is more than rounding.
    """
    variance = np.einsum("ij,jk,ik->i", gradient, covariance, gradient)
    size = np.abs(gradient) @ np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return bool((np.finfo(float).eps * size**2 <= _RESOLVED * variance).all())


def _held_out(
    family: Family, points: Points, without_each: Array
) -> tuple[float | None, float | None]:
    """The mean relative error of each point predicted from the others, and the mean square in units
    of the points' sd; None with too few step counts.
    """
    if points.step_counts <= len(family.parameters):
        return None, None
    missed = points.y - np.diag(family.function(points.s, without_each.T[..., None]))
    relative = np.abs(missed) / default_sd("error", points.y)
    return float(np.mean(relative)), float(np.mean((missed / points.weight_sd) ** 2))


def _bootstrap(
    family: Family, points: Points, replicates: ArrayLike | None
) -> dict[str, Interval] | None:
    if replicates is None:
        return None
    values = np.asarray(replicates, float)
    parameters = best(family, points.s, values, 1 / points.weight_sd[None])
    return _by_name(family, *np.quantile(parameters, [0.025, 0.975], axis=0))


def _by_name(family: Family, low: Array, high: Array) -> dict[str, Interval]:
    ends = zip(low.tolist(), high.tolist(), strict=True)
    return dict(zip(family.parameters, ends, strict=True))


@dataclass(frozen=True)
class _Refusal:
    """The ``reason``, and whether the points support a curve of the family all the same.

    A curve whose floor is not reached still predicts, and better than one that has no floor.
    """

    reason: str
    curve_supported: bool = False


def _refusal(
    family: Family,
    fit: FamilyFit,
    points: Points,
    identifiable: bool,
    reach: dict[str, Interval],
) -> _Refusal | None:
    """Why the points do not support the estimate, with its number; None where they do.

    ``reach``: the parameters' intervals at 2 standard errors.
    """
    assert isinstance(fit.parameters, dict)
    values = fit.parameters
    if fit.held_out_error is None:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return _Refusal(f"{numbers}: {points.step_counts} step counts for {len(values)} parameters")
    if not identifiable:
        return _Refusal("these points do not tell its parameters apart")

    def refused(name: str, why: str, curve_supported: bool = False) -> _Refusal:
        interval = f"[{reach[name][0]:.4g}, {reach[name][1]:.4g}]"
        return _Refusal(
            f"{name} {values[name]:.4g}, 2 s.e. interval {interval}: {why}", curve_supported
        )

    flat = "the points are as well met by a flat line"
    size = next((name for name in ("drop", "scale") if name in values), None)
    if size and len(values) == 3 and reach[size][0] <= 0:
        return refused(size, flat)
    # an error that does not fall, a utility that has risen before the first step
    shape, side = family.parameters[family.shape], 0 if family.kind == "error" else 1
    if len(values) < 3 and abs(reach[shape][side] / family.bounds[family.shape][side] - 1) < 1e-3:
        return refused(shape, flat)
    s, y = points.s, points.y
    first, last = (float(np.mean(y[s == count])) for count in (s.min(), s.max()))
    for name in ("floor", "ceiling", "amplitude"):
        if name not in values:
            continue
        low, high = reach[name]
        uncertain = (
            low <= 0 and high >= _REACHED * last
            if name == "floor"
            else high - low > abs(last - first)
        )
        if uncertain:
            return refused(name, f"not reached by the last value, {last:.4g}", True)
    return None


def _aicc(mean_square: float, scale: float, points: int, parameters: int) -> float | None:
    """Akaike's criterion for least squares, corrected for few points; None where the correction is
    not defined.

    ``mean_square`` is of the residuals, ``scale`` of the values, both in units of their sd.
    """
    n, k = points, parameters + 1  # the noise's variance is a parameter
    if n - k - 1 <= 0:
        return None
    # Residuals under 1e-8 of the values are rounding: the simplest family wins.
    least = max(mean_square, 1e-16 * scale, 1e-300)
    return float(n * math.log(least) + 2 * k + 2 * k * (k + 1) / (n - k - 1))
