"""Curves fitted to measured points: every family tried, its uncertainty, the one chosen, their
average.

``curve``, ``predict``, ``t_quantile``, ``fit_time`` and ``points_from_csv`` are part of this
module's interface.
"""

import numpy as np
from scipy.stats import spearmanr

from calibration.checks import whole
from calibration.costs.time import fit_time
from calibration.fitting.discrepancy import discrepancy
from calibration.fitting.families import FAMILIES, PAPER, families
from calibration.fitting.family_fit import estimate
from calibration.fitting.interpolation import table
from calibration.fitting.points import checked, points_from_csv
from calibration.fitting.prediction import GUARD, ROUNDING, curve, least, predict, t_quantile, unit
from solver.inputs import InputError

__all__ = [
    "curve",
    "fit_curve",
    "fit_report",
    "fit_time",
    "points_from_csv",
    "predict",
    "t_quantile",
]

# Interpolation replaces the families only if it predicts left-out points this many times better
# than the best.
TABLE_MARGIN = 2.0
# What is kept of an estimate that is refused.
_NUMBERS = ("parameters", "intervals", "held_out_error")


def fit_curve(
    steps,
    values,
    sd=None,
    kind="error",
    covariance=None,
    freedom=None,
    replicates=None,
    anyway=False,
):
    """Fit every family of ``kind`` to points ``(steps, values)``, both shape (n,), by weighted
    least squares.

    ``sd``: standard deviations of the points, shape (n,). Without them a point of an error curve is
    taken to be uncertain in proportion to its value (such curves span decades), one of a utility
    curve equally everywhere. ``covariance``, shape (n, n): of the points among themselves, where
    they were measured on the same prompts and seeds and so err together; ``sd`` still sets the
    weights. ``freedom``: the degrees of freedom with which ``sd`` was estimated (None: it is
    exact); without ``sd`` the residuals' own count. ``replicates``, shape (b, n): the points of
    bootstrap samples, for ``bootstrap_intervals``.

    **Refusal**: an estimate that the points do not carry goes to ``left_out`` with its numbers and is not chosen: of a family
    with as many parameters as there are step counts, of a flat curve, of a floor or ceiling that is not reached. (The
    last still predict: a family without a floor would assert one of 0.) ``anyway`` takes them all.

    **Choice**: the lowest AICc among the families whose leave-one-out error is within a factor 1.5 of the least;
    with too few points for every family's AICc, the least leave-one-out error. Straight interpolation
    (``table``) is chosen if it predicts left-out points at least twice as well as the best family, if
    the curve is not monotone beyond its noise, or if no family is left. Predictions rest on the average of the
    families by ``weight`` (see :mod:`calibration.fitting.prediction`).

    Returns a dict: ``kind``, ``points`` [{steps, value, se}], ``families`` [{family, parameters,
    intervals (95 %, profile likelihood), covariance, noise, freedom, r2, aicc (None with too few
    points), held_out_error (mean relative error of each point predicted from the others), weight;
    where there are, bootstrap_intervals and refused}], ``left_out`` [{family, reason, and
    parameters, intervals and held_out_error where it could be fitted}], ``chosen``, ``paper``,
    ``misfit`` (:mod:`calibration.fitting.discrepancy`), ``monotone``, ``notes``. ``noise`` is a
    point's own sd about the curve, in units of its ``se`` (or, without one, of its value, or of 1
    for utility).

    Raises :class:`InputError` for fewer than 3 different step counts or a value that is not
    allowed.
    """
    s, y, sd = checked(steps, values, sd, kind)
    weights = unit(kind, y, y) if sd is None else sd
    known = (
        None
        if sd is None
        else (np.diag(sd**2) if covariance is None else np.asarray(covariance, float))
    )
    misfit = 0.0 if sd is None else discrepancy(families(kind), s, y, sd, unit(kind, y, y), freedom)
    off, uncertain = misfit * unit(kind, y, y), known
    if misfit:
        weights, uncertain = np.hypot(sd, off), known + np.diag(off**2)
    entries, carrying, left_out = [], [], []
    for family in families(kind):
        count = len(family.parameters)
        if len(np.unique(s)) < count:
            left_out.append(
                {
                    "family": family.name,
                    "reason": f"needs at least {count + 1} different step counts",
                }
            )
            continue
        entry, reason, hopeless = estimate(family, s, y, weights, uncertain, freedom, replicates)
        if reason:
            left_out.append(
                {
                    "family": family.name,
                    "reason": reason,
                    **{name: entry[name] for name in _NUMBERS},
                }
            )
            entry["refused"] = reason
        if not hopeless or anyway:
            carrying.append(entry)
        if not hopeless or anyway or family.name == PAPER[kind]:
            entries.append(entry)

    points = [
        {"steps": int(a), "value": float(b), "se": None if sd is None else float(sd[i])}
        for i, (a, b) in enumerate(zip(s, y))
    ]
    interpolated, turned = table(s, y, sd, known, freedom, kind)
    notes = []
    if turned:
        wrong = "falls" if kind == "utility" else "rises"
        notes.append(
            f"not monotone: it {wrong} from {turned['from']} to {turned['to']} steps by {abs(turned['change']):.4g} (sd {turned['sd']:.2g})"
        )
    tried = {one["family"] for one in (*entries, *left_out) if "parameters" in one}
    if turned or not carrying or least([interpolated]) * TABLE_MARGIN < least(carrying):
        carrying = [interpolated]
        entries.append(interpolated)
    chosen = _choice([entry for entry in carrying if anyway or "refused" not in entry] or carrying)
    _weigh(entries, carrying, tried, len(s))
    return {
        "kind": kind,
        "points": points,
        "families": entries,
        "left_out": left_out,
        "chosen": chosen,
        "paper": PAPER[kind],
        "misfit": misfit,
        "monotone": turned is None,
        "notes": notes,
    }


_predict = predict  # below, "predict" names the steps to predict


def fit_report(points, predict=(), kind=None, anyway=False, where="points"):
    """Fit ``points`` [{steps, value, sd (or None)}] and predict at the steps ``predict``: a
    ``fit/1`` dict.

    ``kind`` None: falling values are fitted as an error, rising ones as a utility. Beyond ``fit/1``
    the dict has what :func:`fit_curve` returns. Raises :class:`InputError` for points or steps that
    are not allowed, and, unless ``anyway``, for an estimate that the points cannot carry; ``where``
    names their source in it.
    """
    for count in predict:
        whole("predict", count, 1)
    steps, values, sd = ([point[name] for point in points] for name in ("steps", "value", "sd"))
    if any(one is None for one in sd):
        sd = None
    if kind is None:
        rising = (
            len(set(values)) > 1 and len(set(steps)) > 1 and spearmanr(steps, values).statistic > 0
        )
        kind = "utility" if rising else "error"
    fit = fit_curve(steps, values, sd, kind, anyway=anyway)
    tried = [
        one
        for one in (*fit["left_out"], *fit["families"])
        if one.get("held_out_error") is not None and one["family"] != "table"
    ]
    best_of_all = min(tried, key=lambda one: one["held_out_error"], default={})
    reasons = "; ".join(f"{one['family']}: {one['reason']}" for one in fit["left_out"])
    # A curve that turns is carried as it is; else the family that predicts best must be one whose
    # estimate the points carry.
    if fit["monotone"] and not anyway and "reason" in best_of_all:
        raise InputError(f"{where}: {reasons}; to take it anyway: --anyway")
    if reasons and anyway:
        fit["notes"].append(f"taken anyway: {reasons}")
    return {"schema": "fit/1", **fit, "predictions": _predict(fit, predict)}


def _choice(entries):
    """The name of the best family: see :func:`fit_curve`."""
    running = [
        entry
        for entry in entries
        if entry["held_out_error"] is not None and entry["held_out_error"] <= GUARD * least(entries)
    ]
    measure = (
        "aicc"
        if running and all(entry["aicc"] is not None for entry in entries)
        else "held_out_error"
    )
    return min(running or entries, key=lambda entry: entry[measure] or 0.0)["family"]


def _weigh(entries, carrying, tried, points):
    """Give every entry its ``weight`` in the average of those ``carrying``; see
    :mod:`calibration.fitting.prediction`.
    """
    square = {}
    for names in (
        tried,
        {entry["family"] for entry in carrying},
    ):  # within a family that was refused, if no other is left
        for entry in carrying:
            if entry["family"] == "table" or not names & set(FAMILIES[entry["family"]].within):
                square.setdefault(entry["family"], entry["held_out_square"])
        if square:
            break
    if any(value is not None for value in square.values()):
        square = {
            name: max(value, ROUNDING**2) for name, value in square.items() if value is not None
        }
        share = {
            name: (min(square.values()) / value) ** (points / 4) for name, value in square.items()
        }
    else:  # taken anyway, with as many parameters as points
        share = dict.fromkeys(square, 1.0)
    for entry in entries:
        del entry["held_out_square"]
        entry["weight"] = share.get(entry["family"], 0.0) / sum(share.values())
