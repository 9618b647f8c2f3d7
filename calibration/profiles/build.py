"""Profiles: what was measured of each pipeline at each place, per prompt class, and the curves
fitted to it.
"""

from collections import defaultdict

import numpy as np

from calibration.checks import need, number, table
from calibration.costs import batch as batching
from calibration.costs.drift import ratio, wander
from calibration.costs.energy import fit_energy, metered, power
from calibration.costs.time import fit_time
from calibration.fitting.families import FAMILIES
from calibration.fitting.fit import fit_curve
from calibration.profiles.class_test import differences
from calibration.records.prompt_means import sample, weights
from calibration.records.task import PLACES, POINTS
from solver.inputs import InputError, check_keys, read_json

SCHEMA = "profiles/1"
FRECHET_NOTE = "Comparable only at equal sample size, with the same extractor and reference."


def build(records, units, frechet, metrics, environment, kernels=None):
    """Fit profiles to calibration records; returns a ``profiles/1`` dict.

    ``records``: dicts as the testbed writes them; of repeated ids the last counts, images made for
    UEs do not count. ``units``: {(place, prompt class): {"error_unit", "utility_floor",
    "utility_ceiling"}}: the error of an image is its distance over ``error_unit``, its utility
    (CLIP score - floor) / (ceiling - floor). ``frechet``: {(place, prompt class): points}, where
    there are any. ``class_differences`` says whether the classes really differ
    (:mod:`calibration.profiles.class_test`). Raises :class:`InputError` naming place and class for
    what is missing.
    """
    records = [
        record
        for record in {one["id"]: one for one in records}.values()
        if record["asked"]["user"] is None
    ]
    groups = defaultdict(list)
    for record in records:
        groups[record["asked"]["place"], record["asked"]["prompt_class"]].append(record)
    if not groups:
        raise InputError(
            "records: found no calibration record; allowed: at least one place and prompt class"
        )
    profiles = []
    for place, prompt_class in sorted(groups, key=lambda key: (PLACES.index(key[0]), key[1])):
        where = f"records: {place}/{prompt_class}"
        if (place, prompt_class) not in units:
            raise InputError(f"{where}: the units of error and utility are missing")
        try:
            entry = _profile(
                groups[place, prompt_class],
                units[place, prompt_class],
                frechet.get((place, prompt_class), []),
            )
            distances = (kernels or {}).get((place, prompt_class), {})
            profiles.append(
                {**entry, **{name: {"points": points} for name, points in distances.items()}}
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    _add_wander(profiles, records)
    tests = differences([record for group in groups.values() for record in group], units)
    return {
        "schema": SCHEMA,
        "environment": environment,
        "metrics": metrics,
        "profiles": profiles,
        "class_differences": tests,
    }


def _add_wander(profiles, records):
    """``wander`` (:mod:`calibration.costs.drift`) of each place, from the timed images of all
    classes in their order.
    """
    for place in {entry["place"] for entry in profiles}:
        times = {
            entry["prompt_class"]: entry["time"] for entry in profiles if entry["place"] == place
        }
        timed = [
            r for r in records if r["asked"]["place"] == place and r["asked"]["purpose"] == "sweep"
        ]
        spread = wander([ratio(r, times[r["asked"]["prompt_class"]]) for r in timed])
        for time in times.values():
            time["wander"] = spread


def load(path):
    """Read and :func:`check` a profiles file."""
    return check(read_json(path), str(path))


def check(profiles, where="profiles"):
    """Return ``profiles`` if it is a ``profiles/1`` dict with all that this package reads; else
    :class:`InputError`.
    """
    if not isinstance(profiles, dict) or profiles.get("schema") != SCHEMA:
        found = profiles.get("schema") if isinstance(profiles, dict) else profiles
        raise InputError(f"{where}: schema: found {found!r}; allowed: '{SCHEMA}'")
    table(
        where,
        profiles,
        ("schema", "environment", "metrics", "profiles", "class_differences", "plan"),
    )
    entries = profiles.get("profiles")
    if not isinstance(entries, list) or not entries:
        raise InputError(
            f"{where}: profiles: found {entries!r}; allowed: a list of at least one profile"
        )
    for index, entry in enumerate(entries):
        spot = f"{where}: profiles[{index}]"
        need(spot, entry, ("place", "model", "device", "dtype", "prompt_class"))
        need(spot, entry, ("time", "power", "error", "utility", "clip_score", "frechet"))
        if entry["place"] not in PLACES:
            raise InputError(
                f"{spot}.place: found {entry['place']!r}; allowed: {', '.join(PLACES)}"
            )
        amounts = ("overhead", "step_time", "relative_sd", "freedom", "n")
        time = need(f"{spot}.time", entry["time"], (*amounts, "covariance", "points", "paper"))
        for name in amounts:
            number(f"{spot}.time.{name}", time[name], least=0.0)
        number(f"{spot}.time.wander", time.get("wander", 0.0), least=0.0)
        _square(f"{spot}.time.covariance", time["covariance"], 2)
        power = need(f"{spot}.power", entry["power"], ("watts", "relative_sd", "meter", "basis"))
        for name in ("watts", "relative_sd") if power["watts"] is not None else ():
            number(f"{spot}.power.{name}", power[name], least=0.0)
        if energy := entry.get("energy"):
            need(f"{spot}.energy", energy, ("overhead_j", "step_j", "covariance"))
            for name in ("overhead_j", "step_j"):
                number(f"{spot}.energy.{name}", energy[name], least=0.0)
            _square(f"{spot}.energy.covariance", energy["covariance"], 2)
        if entry.get("batching"):
            batching.check(entry["batching"], f"{spot}.batching")
        number(
            f"{spot}.error.unit",
            _curve(f"{spot}.error", entry["error"], ["unit"])["unit"],
            above=0.0,
        )
        utility = _curve(f"{spot}.utility", entry["utility"], ["floor", "ceiling"])
        number(f"{spot}.utility.floor", utility["floor"])
        number(f"{spot}.utility.ceiling", utility["ceiling"], above=utility["floor"])
    return profiles


def find(profiles, place, prompt_class):
    """The profile of a place and prompt class; raises :class:`InputError` naming the class if there
    is none.
    """
    there = [entry for entry in profiles["profiles"] if entry["place"] == place]
    for entry in there:
        if entry["prompt_class"] == prompt_class:
            return entry
    known = ", ".join(entry["prompt_class"] for entry in there) or "none"
    raise InputError(
        f"profiles: no {place} profile of prompt class '{prompt_class}'; there: {known}"
    )


def _curve(where, fit, extra):
    """``fit`` if it holds points and families from which values and intervals can be computed."""
    need(where, fit, ["kind", "points", "families", "chosen", "paper", *extra])
    for name in ("points", "families"):
        if not isinstance(fit[name], list) or not fit[name]:
            raise InputError(
                f"{where}.{name}: found {fit[name]!r}; allowed: a list of at least one"
            )
    for index, point in enumerate(fit["points"]):
        spot = f"{where}.points[{index}]"
        need(spot, point, ("steps", "value", "sd", "sd_prompt", "se", "n"))
        for name in (
            "steps",
            "value",
            "n",
            *(name for name in ("sd", "sd_prompt", "se") if point[name] is not None),
        ):
            number(f"{spot}.{name}", point[name], least=None if name == "value" else 0.0)
    for index, family in enumerate(fit["families"]):
        spot = f"{where}.families[{index}]"
        need(
            spot,
            family,
            ("family", "parameters", "covariance", "noise", "freedom", "held_out_error"),
        )
        check_keys(f"{spot}.family", [family["family"]], [*FAMILIES, "table"])
        number(f"{spot}.weight", family.get("weight", 0.0), least=0.0)
        if family["family"] == "table":
            need(f"{spot}.parameters", family["parameters"], ("steps", "values", "sd"))
        else:
            names = FAMILIES[family["family"]].parameters
            for name in names:
                number(
                    f"{spot}.parameters.{name}",
                    need(f"{spot}.parameters", family["parameters"], names)[name],
                )
            _square(f"{spot}.covariance", family["covariance"], len(names))
    names = [family["family"] for family in fit["families"]]
    for field in ("chosen", "paper"):
        if fit[field] not in names:
            raise InputError(f"{where}.{field}: found {fit[field]!r}; allowed: {', '.join(names)}")
    return fit


def _square(where, rows, size):
    try:
        good = np.shape(rows) == (size, size) and np.isfinite(np.array(rows, float)).all()
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{where}: found {rows!r}; allowed: {size} lists of {size} numbers")


def _profile(records, units, frechet):
    asked = records[0]["asked"]
    shared = ("model", "device", "dtype")
    for record in records:
        for name in shared:
            if record["asked"][name] != asked[name]:
                raise InputError(
                    f"{name}: found {record['asked'][name]!r} and {asked[name]!r}; allowed: one per profile"
                )
    sweep = [record for record in records if record["asked"]["purpose"] in POINTS]
    if not sweep:
        raise InputError("found no record of a sweep")
    timed = [record for record in sweep if record["asked"]["purpose"] == "sweep"]

    unit, floor, ceiling = units["error_unit"], units["utility_floor"], units["utility_ceiling"]
    if not unit > 0 or not ceiling > floor:
        raise InputError(
            f"units: found {units}; allowed: error_unit above 0 and utility_ceiling above utility_floor"
        )
    time, images = _time(timed), metered(timed)
    return {
        "place": asked["place"],
        **{name: asked[name] for name in shared},
        "prompt_class": asked["prompt_class"],
        "time": time,
        "power": power(images),
        "energy": fit_energy(images, time),
        "error": {"unit": unit, **_quality(sample(sweep, "distance", 0.0, unit), "error")},
        "utility": {
            "floor": floor,
            "ceiling": ceiling,
            **_quality(sample(sweep, "clip_score", floor, ceiling - floor), "utility"),
        },
        "clip_score": {"points": sample(sweep, "clip_score", 0.0, 1.0).points},
        "frechet": {"points": frechet, "note": FRECHET_NOTE},
    }


def _time(records):
    fit = fit_time(
        [record["asked"]["steps"] for record in records],
        [record["measured"]["time"] for record in records],
    )
    measured = [record["measured"] for record in records]
    stages = {
        "text": float(np.median([one["text_time"] for one in measured])),
        "step": float(np.median(np.concatenate([one["step_times"] for one in measured]))),
        "decode": float(np.median([one["decode_time"] for one in measured])),
    }
    return {**fit, "stages": stages}


def _quality(sample, kind):
    """A fitted curve on a sample's points, which replace the fit's own (they hold more)."""
    points, sd = sample.points, weights(sample.points, kind)
    steps, values = ([point[name] for point in points] for name in ("steps", "value"))
    fit = fit_curve(
        steps,
        values,
        sd,
        kind,
        sample.covariance if sd is not None else None,
        sample.freedom,
        sample.replicates,
    )
    if (
        sd is None
    ):  # standard errors that cannot be weights (of one prompt, or none at all) are not known ones
        points = [{**point, "se": None} for point in points]
    return {**fit, "points": points}
