"""Curves fitted to measured points: every family tried, its uncertainty, the one chosen, predictions.

``fit_time`` (see :mod:`calibration.timing`) and ``points_from_csv`` are part of this module's interface.
"""

import math
from functools import cache

import numpy as np
from scipy.optimize import least_squares, leastsq
from scipy.stats import spearmanr, t as student

from calibration.checks import whole
from calibration.curves import FAMILIES, PAPER, families
from calibration.points import checked, points_from_csv
from calibration.timing import fit_time, r_squared

__all__ = ["fit_curve", "curve", "predict", "fit_time", "fit_report", "points_from_csv"]

# Families whose held-out error is within this factor of the least one are in the running; see fit_curve.
GUARD = 1.5
# Interpolation replaces the families only if it predicts left-out points this many times better than the best.
TABLE_MARGIN = 2.0
# A value smaller than this share of the largest counts as that share, where errors are relative.
LEAST_SHARE = 0.05


_TOLERANCES = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)


def fit_curve(steps, values, sd=None, kind="error", covariance=None, freedom=None):
    """Fit every family of ``kind`` to points ``(steps, values)``, both shape (n,), by weighted least squares.

    ``sd``: standard deviations of the points, shape (n,). Without them a point of an error curve is taken to be
    uncertain in proportion to its value (such curves span decades), one of a utility curve equally everywhere.
    ``covariance``, shape (n, n): of the points among themselves, where they were measured on the same prompts
    and seeds and so err together; ``sd`` still sets the weights. ``freedom``: the degrees of freedom with which ``sd``
    was estimated (None: it is exact); without ``sd`` the residuals' own count.

    **Choice**: the lowest AICc among the families whose leave-one-out error is within a factor 1.5 of the least;
    with too few points for every family's AICc, the least leave-one-out error. Straight interpolation
    (``table``) is chosen if it predicts left-out points at least twice as well as the best family.

    Returns a dict: ``kind``, ``points`` [{steps, value, se}], ``families`` [{family, parameters, intervals (95 %),
    covariance, noise, freedom, r2, aicc (None with too few points), held_out_error (mean relative error of each
    point predicted from the others)}], ``left_out`` [{family, reason}], ``chosen``, ``paper``. ``noise`` is a point's own sd
    about the curve, in units of its ``se`` (or, without one, of its value, or of 1 for utility).

    Raises :class:`InputError` for fewer than 3 different step counts or a value that is not allowed.
    """
    s, y, sd = checked(steps, values, sd, kind)
    weights = _unit(kind, y, y) if sd is None else sd
    known = None if sd is None else (np.diag(sd**2) if covariance is None else np.asarray(covariance, float))
    entries, left_out = [], []
    for family in families(kind):
        need = len(family.parameters) + 1
        if len(np.unique(s)) < need:
            left_out.append({"family": family.name, "reason": f"needs at least {need} different step counts"})
            continue
        entry, told_apart = _entry(family, s, y, weights, known, freedom)
        if told_apart or family.name == PAPER[kind]:
            entries.append(entry)
        else:
            left_out.append({"family": family.name, "reason": "these points do not tell its parameters apart"})

    least = _least(entries)
    running = [entry for entry in entries if entry["held_out_error"] <= GUARD * least]
    measure = "aicc" if all(entry["aicc"] is not None for entry in entries) else "held_out_error"
    chosen = min(running, key=lambda entry: entry[measure])["family"]
    table = _table(s, y, sd, freedom)
    if _least([table]) * TABLE_MARGIN < least:
        entries.append(table)
        chosen = "table"
    points = [{"steps": int(a), "value": float(b), "se": None if sd is None else float(sd[i])} for i, (a, b) in enumerate(zip(s, y))]
    return {"kind": kind, "points": points, "families": entries, "left_out": left_out, "chosen": chosen, "paper": PAPER[kind]}


def curve(fit, steps, family=None):
    """Values, shape (m,), and their covariance, shape (m, m), of a fitted curve (``family``: default the chosen) at ``steps``."""
    entry = next(entry for entry in fit["families"] if entry["family"] == (family or fit["chosen"]))
    s = np.asarray(steps, float)
    if entry["family"] == "table":
        table = {name: np.array(values) for name, values in entry["parameters"].items()}
        shares = np.stack([np.interp(s, table["steps"], unit) for unit in np.eye(len(table["steps"]))], axis=1)
        return shares @ table["values"], (shares * table["sd"] ** 2) @ shares.T
    shape = FAMILIES[entry["family"]]
    p = np.array([entry["parameters"][name] for name in shape.parameters])
    gradient = shape.gradient(s, p)
    return shape.function(s, p), gradient @ np.array(entry["covariance"]) @ gradient.T


def predict(fit, steps, level=0.95):
    """What a point measured anew at each of ``steps`` would be: [{steps, value, low, high, extrapolated}].

    The interval (``level``) holds the curve's uncertainty (delta method, with covariances) and a
    point's own. Outside the measured range, flagged ``extrapolated``, it also covers the intervals of all other
    families that predicted left-out points comparably well: there the choice of family is most of the doubt.
    """
    s = np.asarray(steps, float)
    measured = [point["steps"] for point in fit["points"]]
    outside = (s < min(measured)) | (s > max(measured))
    value, low, high = _interval(fit, s, fit["chosen"], level)
    least = _least(fit["families"])
    for entry in fit["families"]:
        if entry["held_out_error"] <= GUARD * least and outside.any():
            _, lowest, highest = _interval(fit, s, entry["family"], level)
            low = np.where(outside, np.minimum(low, lowest), low)
            high = np.where(outside, np.maximum(high, highest), high)
    return [
        {"steps": count, "value": float(v), "low": float(lo), "high": float(hi), "extrapolated": bool(out)}
        for count, v, lo, hi, out in zip(steps, value, low, high, outside, strict=True)
    ]


_predict = predict  # below, "predict" names the steps to predict


def fit_report(points, predict=(), kind=None):
    """Fit ``points`` [{steps, value, sd (or None)}] and predict at the steps ``predict``: a ``fit/1`` dict.

    ``kind`` None: falling values are fitted as an error, rising ones as a utility. Beyond ``fit/1`` the dict has
    what :func:`fit_curve` returns. Raises :class:`InputError` for points or steps that are not allowed.
    """
    for count in predict:
        whole("predict", count, 1)
    steps, values, sd = ([point[name] for point in points] for name in ("steps", "value", "sd"))
    if any(one is None for one in sd):
        sd = None
    if kind is None:
        rising = len(set(values)) > 1 and len(set(steps)) > 1 and spearmanr(steps, values).statistic > 0
        kind = "utility" if rising else "error"
    fit = fit_curve(steps, values, sd, kind)
    return {"schema": "fit/1", **fit, "predictions": _predict(fit, predict)}


@cache
def t_quantile(freedom, level=0.95):
    """The two-sided quantile of Student's t distribution; ``freedom`` None is infinite, and 1 the least."""
    return float(student.ppf((1 + level) / 2, math.inf if freedom is None else max(1, freedom)))


def _least(entries):
    """The least held-out error; errors under 1e-6 are rounding, and count as equal."""
    return max(1e-6, min(entry["held_out_error"] for entry in entries))


def _interval(fit, s, name, level):
    value, covariance = curve(fit, s, name)
    entry = next(entry for entry in fit["families"] if entry["family"] == name)
    points = sorted(fit["points"], key=lambda point: point["steps"])
    if name == "table":
        own = np.interp(s, entry["parameters"]["steps"], entry["parameters"]["sd"])
    elif any(point["se"] is None for point in points):
        own = _unit(fit["kind"], value, np.array([point["value"] for point in points]))
    else:
        own = np.interp(s, [point["steps"] for point in points], [point["se"] for point in points])
    half = t_quantile(entry["freedom"], level) * np.sqrt(np.diag(covariance) + (entry["noise"] * own) ** 2)
    low = value - half
    if fit["kind"] == "error" and all(point["value"] >= 0 for point in points):
        low = np.maximum(low, 0.0)
    return value, low, value + half


def _unit(kind, values, among):
    """The sd that a point is given, up to a factor, when none was measured; shape of ``values``."""
    if kind == "utility":
        return np.ones_like(values)
    largest = np.max(np.abs(among))
    return np.maximum(np.abs(values), LEAST_SHARE * largest if largest > 0 else 1.0)


def _entry(family, s, y, sd, known, freedom):
    """Fit one family; returns its entry and whether the points tell its parameters apart."""
    p = _solve(family, s, y, sd, family.starts(s, y, sd))
    n, k = len(s), len(p)
    weighted = (y - family.function(s, p)) / sd
    reduced = float(weighted @ weighted) / (n - k)
    jacobian = family.gradient(s, p) / sd[:, None]
    size = np.linalg.norm(jacobian, axis=0)
    size[size == 0] = 1.0
    told_apart = np.linalg.cond(jacobian / size) < 1e8
    inverse = np.linalg.pinv(jacobian / size) / size[:, None]  # parameters' response to the weighted points, (k, n)
    covariance = inverse @ inverse.T * reduced
    if known is not None:
        # Known errors of the points as they are, and on top what the curve misses beyond them.
        covariance = inverse @ (known / np.outer(sd, sd)) @ inverse.T + inverse @ inverse.T * max(0.0, reduced - 1)
    freedom = n - k if known is None else freedom
    half = t_quantile(freedom) * np.sqrt(np.diag(covariance))
    held_out = [
        abs(y[i] - family.function(s[i : i + 1], _solve(family, s[rest], y[rest], sd[rest], [p]))[0])
        for i, rest in enumerate(~np.eye(n, dtype=bool))
    ]
    return {
        "family": family.name,
        "parameters": dict(zip(family.parameters, p.tolist(), strict=True)),
        "intervals": {
            name: [float(max(value - h, low)), float(min(value + h, high))]
            for name, value, h, (low, high) in zip(family.parameters, p, half, family.bounds, strict=True)
        },
        "covariance": covariance.tolist(),
        "noise": math.sqrt(reduced if known is None else max(1.0, reduced)),
        "freedom": freedom,
        "r2": r_squared(y, family.function(s, p)),
        "aicc": _aicc(weighted, y / sd, k),
        "held_out_error": float(np.mean(held_out / _unit("error", y, y))),
    }, told_apart


def _solve(family, s, y, sd, starts):
    """Least-squares parameters, shape (k,), within the family's bounds: the best from several starts.

    Levenberg-Marquardt ignores the bounds; it is ten times faster than the bounded method, which is needed
    only where it ends outside them.
    """
    low, high = np.transpose(family.bounds)

    def misfit(p):
        return (family.function(s, p) - y) / sd

    def slope(p):
        return family.gradient(s, p) / sd[:, None]

    best, least = None, np.inf
    for start in starts:
        start = np.clip(start, np.maximum(low * (1 + 1e-9), np.where(low == 0, 1e-9, low)), high * (1 - 1e-9))
        with np.errstate(all="ignore"):  # on the way it may stray to where the curve overflows
            found = leastsq(misfit, start, Dfun=slope, full_output=True, **_TOLERANCES)[0]
        if not (np.isfinite(found).all() and (found >= low).all() and (found <= high).all()):
            found = least_squares(misfit, start, slope, bounds=(low, high), x_scale="jac", **_TOLERANCES).x
        cost = np.sum(misfit(found) ** 2)
        if best is None or cost < least:
            best, least = found, cost
    return best


def _aicc(weighted, scale, parameters):
    """Akaike's criterion for least squares, corrected for few points; None where the correction has no value."""
    n, k = len(weighted), parameters + 1  # the noise's own size counts as one
    if n - k - 1 <= 0:
        return None
    # Residuals under 1e-8 of the values are rounding: all families that meet the points so are equal, the simplest wins.
    mean_square = max(np.mean(weighted**2), 1e-16 * np.mean(scale**2), 1e-300)
    return float(n * math.log(mean_square) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def _table(s, y, sd, freedom):
    """Straight interpolation as an entry: parameters are the points themselves (means over equal steps)."""
    at = np.unique(s)
    value = np.array([y[s == count].mean() for count in at])
    missed = np.array([
        value[i] - np.interp(at[i], np.delete(at, i), np.delete(value, i)) for i in range(len(at))
    ])
    spread = np.full(len(at), np.sqrt(np.mean(missed**2))) if sd is None else np.array([sd[s == count].mean() for count in at])
    return {
        "family": "table",
        "parameters": {"steps": at.astype(int).tolist(), "values": value.tolist(), "sd": spread.tolist()},
        "intervals": {},
        "covariance": None,
        "noise": 1.0,
        "freedom": len(at) - 1 if sd is None else freedom,
        "r2": r_squared(y, np.interp(s, at, value)),
        "aicc": None,
        "held_out_error": float(np.mean(np.abs(missed) / _unit("error", value, value))),
    }
