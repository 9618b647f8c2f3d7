"""One family fitted to points: its estimate, with intervals, and whether the points can carry it."""

import math

import numpy as np

from calibration.costs.time import r_squared
from calibration.fitting.discrepancy import most_by_chance
from calibration.fitting.least_squares import minimise, response
from calibration.fitting.prediction import t_quantile, unit
from calibration.fitting.profile_likelihood import best, profile

# A floor that may be nothing or this share of the last value, and a ceiling as uncertain as the
# whole rise, are not reached.
REACHED = 0.75


def estimate(family, s, y, sd, known, freedom, replicates):
    """Fit one family to steps ``s`` and values ``y`` of weights 1 / ``sd``, shape (n,) each;
    ``known``: the points' covariance, or None; the rest as in
    :func:`calibration.fitting.fit.fit_curve`. Returns its entry, and what :func:`_doubt` says of
    it.
    """
    n, k = len(s), len(family.parameters)
    low, high = np.transpose(family.bounds)
    found = best(
        family, s, y[None], (1 - np.eye(n + 1, n, k=-1)) / sd
    )  # of all points, then without each
    p = minimise(
        lambda p: family.function(s, p),
        lambda p: family.gradient(s, p),
        y,
        sd,
        found[:1],
        (low, high),
    )
    p = np.where(
        (low == 0) & (p < 1e-12 * np.abs(y).max()), 0.0, p
    )  # at its bound but for rounding
    misfit = float(np.sum(((y - family.function(s, p)) / sd) ** 2))
    inverse, told_apart = response(family.gradient(s, p) / sd[:, None])
    plain = inverse @ inverse.T
    spare = n - k
    reduced = misfit / spare if spare else 1.0
    if known is None:
        covariance, noise, freedom = plain * reduced, math.sqrt(reduced), max(1, spare)
    else:
        # Known errors of the points as they are, and on top what the curve misses beyond what they
        # explain.
        excess = spare > 0 and reduced > most_by_chance(spare, freedom)
        covariance = inverse @ (known / np.outer(sd, sd)) @ inverse.T + (
            plain * (reduced - 1) if excess else 0.0
        )
        noise = math.sqrt(reduced) if excess else 1.0
    # Scaled so that a parabolic profile gives the interval of the covariance, whatever that holds.
    # (Rounded: equal limits share a profile.)
    ratio = np.array(
        [float(f"{one:.9g}") for one in np.diag(covariance) / np.maximum(np.diag(plain), 1e-300)]
    )

    def reach(times):
        """How far the parameters go at so many standard errors, {name: [low, high]}."""
        found = profile(family, s, y, 1 / sd, p[family.shape], misfit + times**2 * ratio)
        found = np.stack(
            [np.fmin(found[:, 0], p), np.fmax(found[:, 1], p)], axis=1
        )  # p itself where rounding leaves no more
        return dict(zip(family.parameters, found.tolist(), strict=True))

    entry = {
        "family": family.name,
        "parameters": dict(zip(family.parameters, p.tolist(), strict=True)),
        "intervals": reach(t_quantile(freedom)),
        "covariance": covariance.tolist(),
        "noise": noise,
        "freedom": freedom,
        "r2": r_squared(y, family.function(s, p)),
        "aicc": _aicc(misfit / n, np.mean((y / sd) ** 2), n, k),
        "held_out_error": None,
        "held_out_square": None,
    }
    if len(np.unique(s)) > k:
        missed = y - np.diag(family.function(s, found[1:].T[..., None]))
        entry["held_out_error"] = float(np.mean(np.abs(missed) / unit("error", y, y)))
        entry["held_out_square"] = float(np.mean((missed / sd) ** 2))
    if replicates is not None:
        spread = np.quantile(
            best(family, s, np.asarray(replicates, float), 1 / sd[None]), [0.025, 0.975], axis=0
        )
        entry["bootstrap_intervals"] = dict(zip(family.parameters, spread.T.tolist(), strict=True))
    return entry, *_doubt(family, entry, s, y, told_apart, reach(2.0))


def _doubt(family, entry, s, y, told_apart, intervals):
    """Why the points cannot carry the estimate of a family, with its number (None where they can),
    and whether they carry no curve of that family either: one whose floor is not reached still
    predicts, and better than one that has no floor.
    """

    def said(name, why):
        low, high = intervals[name]
        return f"{name} {entry['parameters'][name]:.4g}, 2 s.e. interval [{low:.4g}, {high:.4g}]: {why}"

    if entry["held_out_error"] is None:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in entry["parameters"].items())
        return (
            f"{numbers}: {len(np.unique(s))} step counts for {len(family.parameters)} parameters",
            True,
        )
    shape = family.parameters[family.shape]
    bounds, interval = family.bounds[family.shape], intervals[shape]
    size = next((name for name in ("drop", "scale") if name in entry["parameters"]), None)
    if size and len(family.parameters) == 3 and intervals[size][0] <= 0:
        return said(size, "the points are as well met by a flat line"), True
    side = (
        0 if family.kind == "error" else 1
    )  # an error that does not fall, a utility that has risen before the first step
    if len(family.parameters) < 3 and abs(interval[side] / bounds[side] - 1) < 1e-3:
        return said(shape, "the points are as well met by a flat line"), True
    first, last = (float(np.mean(y[s == count])) for count in (s.min(), s.max()))
    for name in ("floor", "ceiling", "amplitude"):
        if name not in entry["parameters"]:
            continue
        low, high = intervals[name]
        if name == "floor" and low <= 0 and high >= REACHED * last:
            return said(name, f"not reached by the last value, {last:.4g}"), False
        if name != "floor" and high - low > abs(last - first):
            return said(name, f"not reached by the last value, {last:.4g}"), False
    return (None, False) if told_apart else ("these points do not tell its parameters apart", True)


def _aicc(mean_square, scale, points, parameters):
    """Akaike's criterion for least squares, corrected for few points; None where the correction has
    no value.
    """
    n, k = points, parameters + 1  # the noise's own size counts as one
    if n - k - 1 <= 0:
        return None
    # Residuals under 1e-8 of the values are rounding: all families that meet the points so are
    # equal, the simplest wins.
    return float(
        n * math.log(max(mean_square, 1e-16 * scale, 1e-300))
        + 2 * k
        + 2 * k * (k + 1) / (n - k - 1)
    )
