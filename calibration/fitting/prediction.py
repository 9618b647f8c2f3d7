"""A fitted curve evaluated: the weighted average of its families, with intervals.

The weight of a family is the mean square of its errors on points that it was not fitted to, to the
power -n/4 for n points: half the exponent that a Gaussian likelihood of independent errors has, for
errors of neighbours go together. A family that another fitted one contains (a floor of 0 is within
a floor) has none: it would only say again what that one says, without the doubt about the floor.
"""

import math
from functools import cache

import numpy as np
from scipy.stats import t as student

from calibration.fitting.discrepancy import correction
from calibration.fitting.families import FAMILIES

# Families whose held-out error is within this factor of the least one are in the running.
GUARD = 1.5
# A value smaller than this share of the largest counts as that share, where errors are relative.
LEAST_SHARE = 0.05
# Held-out errors below this are rounding, and count as equal.
ROUNDING = 1e-4


def curve(fit, steps, family=None):
    """Values, shape (m,), and their covariance, shape (m, m), of a fitted curve at ``steps``.

    ``family`` None: the weighted average of the families, v = sum_k w_k v_k, whose covariance sum_k
    w_k (C_k + (v_k - v)(v_k - v)^T) holds their disagreement; where no family meets the points, led
    back towards them (:mod:`calibration.fitting.discrepancy`).
    """
    s = np.asarray(steps, float)
    parts = [(weight, *_one(entry, s)) for entry, weight in members(fit, family)]
    value = sum(weight * part for weight, part, _ in parts)
    covariance = sum(
        weight * (covariance + np.outer(part - value, part - value))
        for weight, part, covariance in parts
    )
    if (
        family is None
        and fit.get("misfit")
        and all(entry["family"] != "table" for entry, _ in members(fit))
    ):
        at = np.array([point["steps"] for point in fit["points"]], float)
        measured = np.array([point["value"] for point in fit["points"]])
        at_points = sum(weight * _one(entry, at)[0] for entry, weight in members(fit))
        units = unit(fit["kind"], measured, measured), unit(fit["kind"], value, measured)
        moved, doubt = correction(fit, s, at_points, units)
        value, covariance = value + moved, covariance + np.diag(doubt)
    return value, covariance


def members(fit, family=None):
    """[(entry, weight)] of the families averaged, or of the one named. Fits without weights: the
    chosen family.
    """
    weighted = [(entry, entry["weight"]) for entry in fit["families"] if entry.get("weight")]
    if family is None and weighted:
        return weighted
    return [
        (entry, 1.0) for entry in fit["families"] if entry["family"] == (family or fit["chosen"])
    ]


def degrees(fit, family=None):
    """The degrees of freedom of a curve's covariance: the least of its families'; None is infinite."""
    known = [entry["freedom"] for entry, _ in members(fit, family) if entry["freedom"] is not None]
    return min(known, default=None)


def predict(fit, steps, level=0.95):
    """What a point measured anew at each of ``steps`` would be: [{steps, value, low, high,
    extrapolated}].

    The interval (``level``) holds the curve's uncertainty (delta method, with covariances) and a
    point's own. Outside the measured range, flagged ``extrapolated``, it also covers the intervals
    of all families that predicted left-out points comparably well: there the choice of family is
    most of the doubt.
    """
    s = np.asarray(steps, float)
    measured = [point["steps"] for point in fit["points"]]
    outside = (s < min(measured)) | (s > max(measured))
    value, low, high = _interval(fit, s, None, level)
    limit = GUARD * least(fit["families"])
    for entry in fit["families"]:
        if (
            outside.any()
            and entry["held_out_error"] is not None
            and entry["held_out_error"] <= limit
        ):
            _, lowest, highest = _interval(fit, s, entry["family"], level)
            low = np.where(outside, np.minimum(low, lowest), low)
            high = np.where(outside, np.maximum(high, highest), high)
    return [
        {
            "steps": count,
            "value": float(v),
            "low": float(lo),
            "high": float(hi),
            "extrapolated": bool(out),
        }
        for count, v, lo, hi, out in zip(steps, value, low, high, outside, strict=True)
    ]


@cache
def t_quantile(freedom, level=0.95):
    """The two-sided quantile of Student's t distribution; ``freedom`` None is infinite, and 1 the
    least.
    """
    return float(student.ppf((1 + level) / 2, math.inf if freedom is None else max(1, freedom)))


def least(entries):
    """The least held-out error there is; infinite where there is none."""
    return max(
        ROUNDING,
        min(
            (entry["held_out_error"] for entry in entries if entry["held_out_error"] is not None),
            default=math.inf,
        ),
    )


def unit(kind, values, among):
    """The sd that a point is given, up to a factor, when none was measured; shape of ``values``."""
    if kind == "utility":
        return np.ones_like(values)
    largest = np.max(np.abs(among))
    return np.maximum(np.abs(values), LEAST_SHARE * largest if largest > 0 else 1.0)


def _one(entry, s):
    """Values and covariance of one family at steps ``s``."""
    if entry["family"] == "table":
        table = {name: np.array(values) for name, values in entry["parameters"].items()}
        shares = np.stack(
            [np.interp(s, table["steps"], one) for one in np.eye(len(table["steps"]))], axis=1
        )
        # beyond its ends it stays as it is, and is as uncertain as if it had gone on as between its
        # last two points
        position, at = np.log(s), np.log(table["steps"])
        onward = np.diff(table["values"])[[0, -1]] / np.diff(at)[[0, -1]]
        beyond = onward[0] * np.minimum(position - at[0], 0.0) + onward[1] * np.maximum(
            position - at[-1], 0.0
        )
        return shares @ table["values"], (shares * table["sd"] ** 2) @ shares.T + np.outer(
            beyond, beyond
        )
    family = FAMILIES[entry["family"]]
    p = np.array([entry["parameters"][name] for name in family.parameters])
    gradient = family.gradient(s, p)
    return family.function(s, p), gradient @ np.array(entry["covariance"]) @ gradient.T


def _interval(fit, s, family, level):
    value, covariance = curve(fit, s, family)
    points = sorted(fit["points"], key=lambda point: point["steps"])
    # a point's noise is the measurement's, not a family's: that of the family that meets the points
    # best
    own = np.inf
    for entry, _ in members(fit, family):
        if entry["family"] == "table":
            sd = np.interp(s, entry["parameters"]["steps"], entry["parameters"]["sd"])
        elif any(point["se"] is None for point in points):
            sd = unit(fit["kind"], value, np.array([point["value"] for point in points]))
        else:
            sd = np.interp(
                s, [point["steps"] for point in points], [point["se"] for point in points]
            )
        own = np.minimum(own, (entry["noise"] * sd) ** 2)
    half = t_quantile(degrees(fit, family), level) * np.sqrt(
        np.maximum(np.diag(covariance), 0.0) + own
    )
    low = value - half
    if fit["kind"] == "error" and all(point["value"] >= 0 for point in points):
        low = np.maximum(low, 0.0)
    return value, low, value + half
