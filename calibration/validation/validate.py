"""Predicted against measured: did the images that the allocation led to cost and look as the
problem promised?
"""

from collections import defaultdict
from dataclasses import asdict

import numpy as np

from calibration.costs.drift import drifts
from calibration.fitting.prediction import curve
from calibration.scenario.scenario import sites
from calibration.validation.totals import Estimate, objective, row, time_without_drift, totals
from calibration.validation.verdicts import FAIL, of_predictions
from solver.allocation import Allocation
from solver.certificate import certify
from solver.inputs import InputError
from solver.problem import Problem

SCHEMA = "validation/1"
QUANTITIES = ("time", "energy", "error", "utility", "clip_score")


def validate(problem, allocation, profiles, scenario, records, extra_totals=()):
    """Compare the ``allocation`` of a ``problem`` (dicts) with the ``records`` of its execution: a
    ``validation/1`` dict.

    ``profiles``, ``scenario``: what the problem was made of. Local times are multiplied by the
    device's ratio (*emulated*) as in the problem. Energy is measured where a meter measured this
    very device, else the modelled watts times the (measured or emulated) time. ``extra_totals``:
    rows to append to the totals.

    The 95 % intervals are for the mean over a UE's images: they hold the spread of single images,
    with images of one prompt not taken as independent, and the fitted curve's uncertainty, which
    UEs of one class and place share, so that it does not average out in the totals. Relative errors
    are (predicted - measured) / |measured|. ``paper`` is what the paper's own forms, fitted to the
    same records, predict: T = s Δt (eq. (3)), exponentials for error and utility (eqs. (4), (7)).
    Records of anchors (:mod:`calibration.costs.drift`) give one more row: the total time, rid of
    the machine's drift since calibration. Raises :class:`InputError` if the inputs do not belong
    together.
    """
    problem, allocation = Problem.from_dict(problem), Allocation.from_dict(allocation)
    certify(problem, allocation)
    if problem.users != len(scenario.users):
        raise InputError(
            f"scenario: users: found {len(scenario.users)}; allowed: {problem.users}, as in the problem"
        )
    by_user, seen = defaultdict(list), set()
    for record in records:
        asked = record["asked"]
        if asked["purpose"] == "user" and record["id"] not in seen:
            seen.add(record["id"])
            by_user[asked["user"]].append(record)

    users, estimates, notes = [], [], set()
    for user, site in enumerate(sites(profiles, scenario)):
        place, steps = ("edge" if allocation.offload[user] else "local"), allocation.steps[user]
        found = [
            one
            for one in by_user[user]
            if one["asked"]["place"] == place and one["asked"]["steps"] == steps
        ]
        if not found:
            notes.add(
                "Some UEs have no image made at their place with their steps; they are left out of the measured totals."
            )
        estimate = _user(problem, user, site, place, steps, found)
        estimates.append((site[place], steps, estimate))
        rows = {name: row(estimate[name], site[place], steps, name) for name in QUANTITIES}
        named = {
            "user": user,
            "prompt_class": site["prompt_class"],
            "device_class": site["device_class"],
            "place": place,
        }
        users.append(
            {
                **named,
                "steps": steps,
                "images": len(found),
                **rows,
                "records": [one["id"] for one in found],
            }
        )
        if estimate["time"].basis == "emulated":
            notes.add(
                "Emulated: local times are measured times multiplied by the device's published ratio."
            )
        if estimate["energy"].basis == "modelled":
            notes.add(
                "Modelled: energy without a meter on the device is assumed watts times the (measured or emulated) time."
            )
    if profiles["metrics"].get("error", {}).get("noise") == "shared":
        notes.add(
            "All prompts of a seed begin with the same noise, on which error and utility depend: their intervals do not hold that."
        )
    drift = drifts(records, profiles)
    for place, found in sorted(drift.items()):
        notes.add(
            f"The machine ran the {place} model {abs(found.ratio - 1):.1%} {'slower' if found.ratio > 1 else 'quicker'} while the allocation "
            f"was executed than while it was calibrated ({found.n} images in between, of the same kind at both times)."
        )
    time, *others = totals(estimates)
    return {
        "schema": SCHEMA,
        "users": users,
        "totals": [
            time,
            *time_without_drift(estimates, drift),
            *others,
            objective(problem, estimates),
            *extra_totals,
        ],
        "median_absolute_error": {
            name: _median_error(users, name, "relative_error") for name in QUANTITIES
        },
        "paper_median_absolute_error": {
            name: _median_error(users, name, "paper_relative_error") for name in QUANTITIES
        },
        "coverage": {name: _coverage(users, name) for name in QUANTITIES},
        "drift": {place: asdict(found) for place, found in drift.items()},
        "notes": sorted(notes),
    }


def failures(validation):
    """One line for each prediction that fails, by :mod:`calibration.validation.verdicts`: a total,
    or the coverage of a quantity.
    """
    return [
        f"{one.judged}: {one.found}; allowed: {one.allowed}"
        for one in of_predictions(validation)
        if one.verdict == FAIL
    ]


def _user(problem, user, site, place, steps, records):
    """The :class:`Estimate` of every quantity for one UE."""
    profile = site[place]
    ratio = site["ratio"] if place == "local" else 1.0
    basis = site["time_basis"] if place == "local" else "measured"
    watts, metered = site[f"{place}_watts"], site[f"{place}_power_basis"] == "measured"
    promised = {
        name: float(getattr(problem, name)(place)[user, steps - 1])
        for name in ("time", "energy", "error", "utility")
    }
    images = max(1, len(records))

    times = [ratio * record["measured"]["time"] for record in records]
    joules = [record["measured"]["energy_j"] for record in records]
    metered = metered and None not in joules
    # an image's spread over the whole sweep has the machine's wander in it, which all images share
    # (calibration.validation.totals)
    spread = np.sqrt(
        max(0.0, profile["time"]["relative_sd"] ** 2 - profile["time"].get("wander", 0.0) ** 2)
    )
    freedom = profile["time"]["n"] - 2
    own = (spread * promised["time"]) ** 2 / images
    by_paper = ratio * profile["time"]["paper"]["step_time"] * steps
    time = Estimate(promised["time"], _mean(times), own, ratio, freedom, by_paper, basis)
    if metered:
        own_energy = (
            (spread**2 + profile["power"]["relative_sd"] ** 2) * promised["energy"] ** 2 / images
        )
        energy = Estimate(
            promised["energy"],
            _mean(joules),
            own_energy,
            watts,
            freedom,
            watts * by_paper,
            "measured",
        )
    else:
        modelled = _mean([watts * one for one in times])
        energy = Estimate(
            promised["energy"],
            modelled,
            watts**2 * own,
            watts * ratio,
            freedom,
            watts * by_paper,
            "modelled",
        )

    unit, floor, span = (
        profile["error"]["unit"],
        profile["utility"]["floor"],
        profile["utility"]["ceiling"] - profile["utility"]["floor"],
    )
    distances = [record["measured"]["distance"] for record in records]
    scores = [record["measured"]["clip_score"] for record in records]
    clip = _mean(scores)
    prompts = max(1, len({record["asked"]["prompt"] for record in records}))
    own_error, error_freedom = _image_variance(profile["error"]["points"], steps, images, prompts)
    own_utility, utility_freedom = _image_variance(
        profile["utility"]["points"], steps, images, prompts
    )
    error_paper, utility_paper = (
        _at(profile[name], steps, profile[name]["paper"]) for name in ("error", "utility")
    )
    error = Estimate(
        promised["error"],
        _scaled(_mean(distances), 0.0, unit),
        own_error,
        1.0,
        error_freedom,
        error_paper,
    )
    utility = Estimate(
        promised["utility"],
        _scaled(clip, floor, span),
        own_utility,
        1.0,
        utility_freedom,
        utility_paper,
    )
    expected, expected_paper = (
        floor + span * _at(profile["utility"], steps),
        floor + span * utility_paper,
    )
    clip_score = Estimate(
        expected, clip, span**2 * own_utility, span, utility_freedom, expected_paper
    )
    return {
        "time": time,
        "energy": energy,
        "error": error,
        "utility": utility,
        "clip_score": clip_score,
    }


def _image_variance(points, steps, images, prompts):
    """Variance of the mean over ``images`` of ``prompts`` different prompts at ``steps``, and its
    degrees of freedom.
    """
    grid = [point["steps"] for point in points]
    one, prompt = (
        float(np.interp(steps, grid, [point[name] or 0.0 for point in points])) ** 2
        for name in ("sd", "sd_prompt")
    )
    nearest = min(points, key=lambda point: abs(point["steps"] - steps))
    return prompt / prompts + max(0.0, one - prompt) / images, nearest["n"] - 1


def _at(fit, steps, family=None):
    """The value of a fitted curve, or of one of its families, at ``steps``."""
    return float(curve(fit, [steps], family)[0][0])


def _mean(values):
    """The mean, or None if there are none or one is missing."""
    return float(np.mean(values)) if values and None not in values else None


def _scaled(value, zero, unit):
    return None if value is None else (value - zero) / unit


def _median_error(users, name, error):
    errors = [abs(user[name][error]) for user in users if user[name][error] is not None]
    return float(np.median(errors)) if errors else None


def _coverage(users, name):
    inside = [user[name]["inside"] for user in users if user[name]["inside"] is not None]
    return float(np.mean(inside)) if inside else None
