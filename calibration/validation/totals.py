"""Predictions summed over UEs, with intervals that hold the doubt which UEs of one class and place
share.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from calibration.costs.drift import drift_expected
from calibration.fitting.prediction import curve, degrees, t_quantile

TOTALS = (
    ("time", "sum", "s"),
    ("energy", "sum", "J"),
    ("error", "mean", "1"),
    ("utility", "mean", "1"),
    ("clip_score", "mean", "1"),
)


@dataclass
class Estimate:
    """One quantity of one UE: the mean over its images, predicted and measured (None: not
    measured).

    The predicted mean's variance is ``own`` (these few images and this prompt) plus ``scale``²
    times the variance of the fitted curve at the UE's steps; ``freedom`` are the degrees of freedom
    with which ``own`` was estimated. ``paper`` is what the paper's own forms predict.
    """

    predicted: float
    measured: float | None
    own: float
    scale: float
    freedom: int
    paper: float
    basis: str | None = None


def _fit(profile, name):
    """``name``'s fitted curve in ``profile``: a function from steps to the covariance of its
    values, and the t quantile.
    """
    if name in ("time", "energy"):
        covariance = np.array(profile["time"]["covariance"])

        def affine(steps):
            design = np.stack([np.ones(len(steps)), np.asarray(steps, float)], axis=1)
            return design @ covariance @ design.T

        return affine, t_quantile(profile["time"]["freedom"])
    fit = profile["error" if name == "error" else "utility"]
    return lambda steps: curve(fit, steps)[1], t_quantile(degrees(fit))


def row(estimate, profile, steps, name):
    """One quantity of one UE, as ``validation/1`` has it."""
    covariance, factor = _fit(profile, name)
    own = t_quantile(estimate.freedom) ** 2 * estimate.own
    half = np.sqrt(
        own
        + (factor * estimate.scale) ** 2 * float(covariance([steps])[0, 0])
        + _drifting(name, profile, estimate.predicted) ** 2
    )
    found = _above_zero(name, _compare(estimate.predicted, estimate.measured, half, estimate.paper))
    return {**found, "basis": estimate.basis} if estimate.basis else found


def totals(estimates):
    """Rows for the sums and means of ``estimates`` [(profile, steps, {name: Estimate})] over the
    UEs that were measured.
    """
    rows = []
    for name, form, unit in TOTALS:
        there = [
            (profile, steps, one[name], 1.0)
            for profile, steps, one in estimates
            if one[name].measured is not None
        ]
        count = len(there) if form == "mean" and there else 1
        predicted, measured, half, paper = _sum(name, there)
        found = _above_zero(
            name,
            _compare(
                predicted / count,
                None if measured is None else measured / count,
                half / count,
                paper / count,
            ),
        )
        rows.append(
            {
                "quantity": f"{name} ({form})",
                "unit": unit,
                **found,
                "basis": _basis(one for _, _, one, _ in there),
            }
        )
    return rows


def time_without_drift(estimates, drift):
    """The row of the total time at the speed that the machine had during execution; none without
    anchors at every place.
    """
    there = [
        (profile, steps, one["time"])
        for profile, steps, one in estimates
        if one["time"].measured is not None
    ]
    if not there or not {profile["place"] for profile, _, _ in there} <= drift.keys():
        return []
    moved, alone = [], defaultdict(float)
    for profile, steps, time in there:
        ratio = drift[profile["place"]].ratio
        own, scale = ratio**2 * time.own, ratio * time.scale
        there_now = replace(
            time, predicted=ratio * time.predicted, own=own, scale=scale, paper=ratio * time.paper
        )
        moved.append((profile, steps, there_now, 1.0))
        alone[profile["place"]] += time.predicted
    predicted, measured, half, paper = _sum("time", moved, drifting=False)
    doubt = [
        t_quantile(drift[place].n - 1) * drift[place].se * seconds
        for place, seconds in alone.items()
    ]
    found = _compare(predicted, measured, np.linalg.norm([half, *doubt]), paper)
    return [
        {
            "quantity": "time (sum), drift removed",
            "unit": "s",
            **found,
            "basis": _basis(time for _, _, time, _ in moved),
        }
    ]


def objective(problem, estimates):
    """The row of eq. (8), sum of w1 (c1 T + c2 eps + c3 E) - w2 U, over the UEs of which all four
    were measured.
    """
    weight = {
        name: np.broadcast_to(value, problem.users) for name, value in problem.weights.items()
    }
    parts = {"time": [], "error": [], "utility": []}
    for n, (profile, steps, one) in enumerate(estimates):
        if any(one[name].measured is None for name in ("time", "energy", "error", "utility")):
            continue
        w1, w2, c1, c2, c3 = (
            float(weight[name][n]) for name in ("cost", "utility", "time", "error", "energy")
        )
        parts["time"].append(
            (profile, steps, _together(one["time"], w1 * c1, one["energy"], w1 * c3), 1.0)
        )
        parts["error"].append((profile, steps, one["error"], w1 * c2))
        parts["utility"].append((profile, steps, one["utility"], -w2))
    predicted, measured, halves, papers = zip(
        *(_sum(name, rows) for name, rows in parts.items()), strict=True
    )
    found = _compare(
        sum(predicted),
        sum(measured) if parts["time"] else None,
        np.linalg.norm(halves),
        sum(papers),
    )
    return {
        "quantity": "objective",
        "unit": "1",
        **found,
        "basis": _basis(one for _, _, one, _ in parts["time"]),
    }


def _together(time, a, energy, b):
    """a T + b E as one estimate: energy is watts times time, so the two err together."""
    return Estimate(
        a * time.predicted + b * energy.predicted,
        a * time.measured + b * energy.measured,
        (a * np.sqrt(time.own) + b * np.sqrt(energy.own)) ** 2,
        a * time.scale + b * energy.scale,
        time.freedom,
        a * time.paper + b * energy.paper,
        " and ".join(sorted({time.basis, energy.basis})),
    )


def _basis(estimates):
    """``measured``, or all that the estimates rest on, as in ``emulated and measured``."""
    return (
        " and ".join(
            sorted({word for one in estimates for word in (one.basis or "measured").split(" and ")})
        )
        or "none"
    )


def _drifting(name, profile, predicted):
    """By how much a drift of the machine since calibration may move a predicted time; metered
    joules are taken to move by no more.
    """
    return drift_expected(profile["time"]) * abs(predicted) if name in ("time", "energy") else 0.0


def _sum(name, parts, drifting=True):
    """Predicted sum, measured sum (None without parts), the interval's half width and the paper's
    sum of [(profile, steps, estimate, factor)].

    The curves of one class at its two places come from the same prompts, and may err together:
    their doubts add. The machine's speed is the same for all.
    """
    predicted = sum(factor * one.predicted for _, _, one, factor in parts)
    measured = sum(factor * one.measured for _, _, one, factor in parts) if parts else None
    square = sum((1.96 * factor) ** 2 * one.own for _, _, one, factor in parts)
    shared = defaultdict(list)
    for profile, steps, one, factor in parts:
        shared[profile["prompt_class"], profile["place"]].append(
            (profile, steps, factor * one.scale)
        )
    doubt = defaultdict(float)
    for (prompt_class, _), group in shared.items():
        covariance, factor = _fit(group[0][0], name)
        scale = np.array([scale for _, _, scale in group])
        doubt[prompt_class] += factor * np.sqrt(
            scale @ covariance([steps for _, steps, _ in group]) @ scale
        )
    paper = sum(factor * one.paper for _, _, one, factor in parts)
    together = drifting * sum(
        _drifting(name, profile, factor * one.predicted) for profile, _, one, factor in parts
    )
    return (
        predicted,
        measured,
        float(np.sqrt(square + sum(half**2 for half in doubt.values()) + together**2)),
        paper,
    )


def _above_zero(name, found):
    """An error is a distance: its interval does not reach below 0."""
    return {**found, "low": max(0.0, found["low"])} if name == "error" else found


def _compare(predicted, measured, half, paper):
    low, high = float(predicted - half), float(predicted + half)
    known = measured is not None
    return {
        "predicted": float(predicted),
        "measured": float(measured) if known else None,
        "low": low,
        "high": high,
        "relative_error": float((predicted - measured) / abs(measured))
        if known and measured != 0
        else None,
        "inside": bool(low <= measured <= high) if known else None,
        "paper": float(paper),
        "paper_relative_error": float((paper - measured) / abs(measured))
        if known and measured != 0
        else None,
    }
