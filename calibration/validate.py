"""Predicted against measured: did the images that the allocation led to cost and look as the problem promised?"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from calibration.average import curve, degrees, t_quantile
from calibration.drift import drifts
from calibration.scenario import sites
from solver.allocation import Allocation
from solver.certificate import certify
from solver.inputs import InputError
from solver.problem import Problem

SCHEMA = "validation/1"
QUANTITIES = ("time", "energy", "error", "utility", "clip_score")
TOTALS = (
    ("time", "sum", "s"), ("energy", "sum", "J"), ("error", "mean", "1"), ("utility", "mean", "1"), ("clip_score", "mean", "1"),
)


@dataclass
class Estimate:
    """One quantity of one UE: the mean over its images, predicted and measured (None: not measured).

    The predicted mean's variance is ``own`` (these few images and this prompt) plus ``scale``² times the variance of
    the fitted curve at the UE's steps; ``freedom`` are the degrees of freedom with which ``own`` was estimated.
    """

    predicted: float
    measured: float | None
    own: float
    scale: float
    freedom: int
    basis: str | None = None


def validate(problem, allocation, profiles, scenario, records, extra_totals=()):
    """Compare the ``allocation`` of a ``problem`` (dicts) with the ``records`` of its execution: a ``validation/1`` dict.

    ``profiles``, ``scenario``: what the problem was made of. Local times are multiplied by the device's ratio
    (*emulated*) as in the problem. Energy is measured where a meter measured this very device, else the modelled
    watts times the (measured or emulated) time. ``extra_totals``: rows to append to the totals.

    The 95 % intervals are for the mean over a UE's images: they hold the spread of single images, with images of
    one prompt not taken as independent, and the fitted curve's uncertainty, which UEs of one class and place share,
    so that it does not average out in the totals. Relative errors are (predicted - measured) / |measured|.
    Records of anchors (:mod:`calibration.drift`) give one more row: the total time, rid of the machine's drift since calibration.
    Raises :class:`InputError` if the inputs do not belong together.
    """
    problem, allocation = Problem.from_dict(problem), Allocation.from_dict(allocation)
    certify(problem, allocation)
    if problem.users != len(scenario.users):
        raise InputError(f"scenario: users: found {len(scenario.users)}; allowed: {problem.users}, as in the problem")
    by_user, seen = defaultdict(list), set()
    for record in records:
        asked = record["asked"]
        if asked["purpose"] == "user" and record["id"] not in seen:
            seen.add(record["id"])
            by_user[asked["user"]].append(record)

    users, estimates, notes = [], [], set()
    for user, site in enumerate(sites(profiles, scenario)):
        place, steps = ("edge" if allocation.offload[user] else "local"), allocation.steps[user]
        found = [one for one in by_user[user] if one["asked"]["place"] == place and one["asked"]["steps"] == steps]
        if not found:
            notes.add("Some UEs have no image made at their place with their steps; they are left out of the measured totals.")
        estimate = _user(problem, user, site, place, steps, found)
        estimates.append((site[place], steps, estimate))
        rows = {name: _row(estimate[name], site[place], steps, name) for name in QUANTITIES}
        named = {"user": user, "prompt_class": site["prompt_class"], "device_class": site["device_class"], "place": place}
        users.append({**named, "steps": steps, "images": len(found), **rows, "records": [one["id"] for one in found]})
        if estimate["time"].basis == "emulated":
            notes.add("Emulated: local times are measured times multiplied by the device's published ratio.")
        if estimate["energy"].basis == "modelled":
            notes.add("Modelled: energy without a meter on the device is assumed watts times the (measured or emulated) time.")
    drift = drifts(records, profiles)
    for place, found in sorted(drift.items()):
        notes.add(
            f"The machine ran the {place} model {abs(found.ratio - 1):.1%} {'slower' if found.ratio > 1 else 'quicker'} while the allocation "
            f"was executed than while it was calibrated ({found.n} images in between, of the same kind at both times)."
        )
    time, *others = _totals(estimates)
    return {
        "schema": SCHEMA,
        "users": users,
        "totals": [time, *_time_without_drift(estimates, drift), *others, _objective(problem, estimates), *extra_totals],
        "median_absolute_error": {name: _median_error(users, name) for name in QUANTITIES},
        "coverage": {name: _coverage(users, name) for name in QUANTITIES},
        "notes": sorted(notes),
    }


def failures(validation):
    """One line for each total whose measured value lies outside its 95 % interval."""
    return [
        f"{row['quantity']}: predicted {row['predicted']:.4g} ({row['low']:.4g} to {row['high']:.4g}), measured {row['measured']:.4g} {row['unit']}".rstrip()
        for row in validation["totals"]
        if row["inside"] is False
    ]


def _user(problem, user, site, place, steps, records):
    """The :class:`Estimate` of every quantity for one UE."""
    profile = site[place]
    ratio = site["ratio"] if place == "local" else 1.0
    basis = site["time_basis"] if place == "local" else "measured"
    watts, metered = site[f"{place}_watts"], site[f"{place}_power_basis"] == "measured"
    promised = {name: float(getattr(problem, name)(place)[user, steps - 1]) for name in ("time", "energy", "error", "utility")}
    images = max(1, len(records))

    times = [ratio * record["measured"]["time"] for record in records]
    joules = [record["measured"]["energy_j"] for record in records]
    metered = metered and None not in joules
    spread, freedom = profile["time"]["relative_sd"], profile["time"]["n"] - 2
    own = (spread * promised["time"]) ** 2 / images
    time = Estimate(promised["time"], _mean(times), own, ratio, freedom, basis)
    if metered:
        own_energy = (spread**2 + profile["power"]["relative_sd"] ** 2) * promised["energy"] ** 2 / images
        energy = Estimate(promised["energy"], _mean(joules), own_energy, watts, freedom, "measured")
    else:
        energy = Estimate(promised["energy"], _mean([watts * one for one in times]), watts**2 * own, watts * ratio, freedom, "modelled")

    unit, floor, span = profile["error"]["unit"], profile["utility"]["floor"], profile["utility"]["ceiling"] - profile["utility"]["floor"]
    distances = [record["measured"]["distance"] for record in records]
    scores = [record["measured"]["clip_score"] for record in records]
    clip = _mean(scores)
    prompts = max(1, len({record["asked"]["prompt"] for record in records}))
    own_error, error_freedom = _image_variance(profile["error"]["points"], steps, images, prompts)
    own_utility, utility_freedom = _image_variance(profile["utility"]["points"], steps, images, prompts)
    error = Estimate(promised["error"], _scaled(_mean(distances), 0.0, unit), own_error, 1.0, error_freedom)
    utility = Estimate(promised["utility"], _scaled(clip, floor, span), own_utility, 1.0, utility_freedom)
    expected = floor + span * float(curve(profile["utility"], [steps])[0][0])
    clip_score = Estimate(expected, clip, span**2 * own_utility, span, utility_freedom)
    return {"time": time, "energy": energy, "error": error, "utility": utility, "clip_score": clip_score}


def _image_variance(points, steps, images, prompts):
    """Variance of the mean over ``images`` of ``prompts`` different prompts at ``steps``, and its degrees of freedom."""
    grid = [point["steps"] for point in points]
    one, prompt = (float(np.interp(steps, grid, [point[name] or 0.0 for point in points])) ** 2 for name in ("sd", "sd_prompt"))
    nearest = min(points, key=lambda point: abs(point["steps"] - steps))
    return prompt / prompts + max(0.0, one - prompt) / images, nearest["n"] - 1


def _fit(profile, name):
    """``name``'s fitted curve in ``profile``: a function from steps to the covariance of its values, and the t quantile."""
    if name in ("time", "energy"):
        covariance = np.array(profile["time"]["covariance"])
        def affine(steps):
            design = np.stack([np.ones(len(steps)), np.asarray(steps, float)], axis=1)
            return design @ covariance @ design.T

        return affine, t_quantile(profile["time"]["freedom"])
    fit = profile["error" if name == "error" else "utility"]
    return lambda steps: curve(fit, steps)[1], t_quantile(degrees(fit))


def _row(estimate, profile, steps, name):
    """One quantity of one UE, as ``validation/1`` has it."""
    covariance, factor = _fit(profile, name)
    own = t_quantile(estimate.freedom) ** 2 * estimate.own
    half = np.sqrt(own + (factor * estimate.scale) ** 2 * float(covariance([steps])[0, 0]))
    row = _compare(estimate.predicted, estimate.measured, half)
    return {**row, "basis": estimate.basis} if estimate.basis else row


def _totals(estimates):
    """Rows for the sums and means over the UEs that were measured."""
    rows = []
    for name, form, unit in TOTALS:
        there = [(profile, steps, one[name], 1.0) for profile, steps, one in estimates if one[name].measured is not None]
        count = len(there) if form == "mean" and there else 1
        predicted, measured, half = _sum(name, there)
        row = _compare(predicted / count, None if measured is None else measured / count, half / count)
        rows.append({"quantity": f"{name} ({form})", "unit": unit, **row, "basis": _basis(one for _, _, one, _ in there)})
    return rows


def _time_without_drift(estimates, drift):
    """The row of the total time at the speed that the machine had during execution; none without anchors at every place."""
    there = [(profile, steps, one["time"]) for profile, steps, one in estimates if one["time"].measured is not None]
    if not there or not {profile["place"] for profile, _, _ in there} <= drift.keys():
        return []
    moved, alone = [], defaultdict(float)
    for profile, steps, time in there:
        ratio = drift[profile["place"]].ratio
        own, scale = ratio**2 * time.own, ratio * time.scale
        moved.append((profile, steps, replace(time, predicted=ratio * time.predicted, own=own, scale=scale), 1.0))
        alone[profile["place"]] += time.predicted
    predicted, measured, half = _sum("time", moved)
    doubt = [t_quantile(drift[place].n - 1) * drift[place].se * seconds for place, seconds in alone.items()]
    row = _compare(predicted, measured, np.linalg.norm([half, *doubt]))
    return [{"quantity": "time (sum), drift removed", "unit": "s", **row, "basis": _basis(time for _, _, time, _ in moved)}]


def _objective(problem, estimates):
    """The row of eq. (8), sum of w1 (c1 T + c2 eps + c3 E) - w2 U, over the UEs of which all four were measured."""
    weight = {name: np.broadcast_to(value, problem.users) for name, value in problem.weights.items()}
    parts = {"time": [], "error": [], "utility": []}
    for n, (profile, steps, one) in enumerate(estimates):
        if any(one[name].measured is None for name in ("time", "energy", "error", "utility")):
            continue
        w1, w2, c1, c2, c3 = (float(weight[name][n]) for name in ("cost", "utility", "time", "error", "energy"))
        parts["time"].append((profile, steps, _together(one["time"], w1 * c1, one["energy"], w1 * c3), 1.0))
        parts["error"].append((profile, steps, one["error"], w1 * c2))
        parts["utility"].append((profile, steps, one["utility"], -w2))
    predicted, measured, halves = zip(*(_sum(name, rows) for name, rows in parts.items()), strict=True)
    row = _compare(sum(predicted), sum(measured) if parts["time"] else None, np.linalg.norm(halves))
    return {"quantity": "objective", "unit": "1", **row, "basis": _basis(one for _, _, one, _ in parts["time"])}


def _together(time, a, energy, b):
    """a T + b E as one estimate: energy is watts times time, so the two err together."""
    return Estimate(
        a * time.predicted + b * energy.predicted,
        a * time.measured + b * energy.measured,
        (a * np.sqrt(time.own) + b * np.sqrt(energy.own)) ** 2,
        a * time.scale + b * energy.scale,
        time.freedom,
        " and ".join(sorted({time.basis, energy.basis})),
    )


def _basis(estimates):
    """``measured``, or all that the estimates rest on, as in ``emulated and measured``."""
    return " and ".join(sorted({word for one in estimates for word in (one.basis or "measured").split(" and ")})) or "none"


def _sum(name, parts):
    """Predicted sum, measured sum (None without parts) and the interval's half width of [(profile, steps, estimate, factor)].

    The curves of one class at its two places come from the same prompts, and may err together: their doubts add.
    """
    predicted = sum(factor * one.predicted for _, _, one, factor in parts)
    measured = sum(factor * one.measured for _, _, one, factor in parts) if parts else None
    square = sum((1.96 * factor) ** 2 * one.own for _, _, one, factor in parts)
    shared = defaultdict(list)
    for profile, steps, one, factor in parts:
        shared[profile["prompt_class"], profile["place"]].append((profile, steps, factor * one.scale))
    doubt = defaultdict(float)
    for (prompt_class, _), group in shared.items():
        covariance, factor = _fit(group[0][0], name)
        scale = np.array([scale for _, _, scale in group])
        doubt[prompt_class] += factor * np.sqrt(scale @ covariance([steps for _, steps, _ in group]) @ scale)
    return predicted, measured, float(np.sqrt(square + sum(half**2 for half in doubt.values())))


def _compare(predicted, measured, half):
    low, high = float(predicted - half), float(predicted + half)
    known = measured is not None
    return {
        "predicted": float(predicted),
        "measured": float(measured) if known else None,
        "low": low,
        "high": high,
        "relative_error": float((predicted - measured) / abs(measured)) if known and measured != 0 else None,
        "inside": bool(low <= measured <= high) if known else None,
    }


def _mean(values):
    """The mean, or None if there are none or one is missing."""
    return float(np.mean(values)) if values and None not in values else None


def _scaled(value, zero, unit):
    return None if value is None else (value - zero) / unit


def _median_error(users, name):
    errors = [abs(row[name]["relative_error"]) for row in users if row[name]["relative_error"] is not None]
    return float(np.median(errors)) if errors else None


def _coverage(users, name):
    inside = [row[name]["inside"] for row in users if row[name]["inside"] is not None]
    return float(np.mean(inside)) if inside else None
