"""What the report shows, computed from a run: plain dicts and lists for the template, pictures as data URIs."""

from itertools import groupby

import numpy as np

from calibration.average import curve, members, predict
from calibration.devices import DEVICES
from calibration.scenario import sites, units
from testbed import plots
from testbed.report_format import finite, toml

PLACES = {"edge": "edge server", "local": "own device"}
STRIP_STEPS = (1, 2, 4, 8, 16, 32)
CURVES = {  # quantity -> (title, axis, what it is)
    "time": ("Time", "time per image, {unit}", "Median time of one image, from text to pixels."),
    "error": ("Error", "error", "Distance to the same model's converged image of the same seed; 1 is as far off as another picture."),
    "utility": ("Utility", "utility", "Rescaled CLIP score: 0 is a real picture with a wrong caption, 1 is one with its own."),
    "clip_score": ("CLIP score", "CLIP score", "Agreement of picture and prompt. No curve is fitted to it."),
    "frechet": ("Fréchet distance", "Fréchet distance", "Distance of the generated set to the reference. No curve is fitted to it."),
    "kid": ("Kernel distance (KID)", "kernel distance", "The same, without bias at any number of pictures."),
    "cmmd": ("CMMD", "CMMD", "The same, with a kernel that assumes nothing about the features' distribution."),
}
AGREEMENT = {  # quantity -> (title, unit)
    "time": ("Time", "s"),
    "energy": ("Energy", "J"),
    "error": ("Error", ""),
    "utility": ("Utility", ""),
    "clip_score": ("CLIP score", ""),
}


def view(run):
    """Everything that the template shows of a :class:`testbed.report.Run`."""
    classes = _classes(run)
    profiles = sorted(run.profiles["profiles"], key=lambda one: classes.index(one["prompt_class"])) if run.profiles else []
    users, validation = _users(run, classes), run.validation
    totals = validation["totals"] if validation else []
    found = sites(run.profiles, run.scenario) if run.profiles and run.scenario else []
    first = next((record for records in run.records.values() for record in records), {})
    return {
        "name": run.folder.name,
        "missing": run.missing,
        "places": PLACES,
        "models": _models(run),
        "pictures": {stage: sum(one["asked"]["purpose"] in ("sweep", "user") for one in records) for stage, records in run.records.items()},
        "bases": _bases(found, profiles),
        "devices": _devices(found, users, run.scenario),
        "scenario": run.scenario,
        "units": units(run.profiles, run.scenario) if run.profiles and run.scenario else {},
        "metrics": run.profiles["metrics"] if run.profiles else {},
        "curves": [_curves(profiles, name) for name in _quantities(profiles)] if profiles else [],
        "fits": _fits(profiles),
        "class_differences": run.profiles.get("class_differences", []) if run.profiles else [],
        "frechet_notes": _frechet_notes(profiles, totals),
        "users": users,
        "problem": run.problem,
        "allocation": run.allocation,
        "allocation_panels": _allocation_panels(users),
        "baselines": _baselines(run),
        "validation": validation,
        "totals": totals,
        "worst_first": sorted(totals, key=lambda row: -abs(finite(row["relative_error"]) or 0.0)),
        "agreement": _agreement(validation) if validation else [],
        "agreement_names": AGREEMENT,
        "strips": _strips(run, {(one["place"], one["prompt_class"]): one["error"]["unit"] for one in profiles}),
        "environment": run.profiles["environment"] if run.profiles else first.get("environment", {}),
        "config": toml(run.config) if run.config else None,
    }


def _classes(run):
    """The prompt classes, in the order in which they are swept."""
    names = [record["asked"]["prompt_class"] for record in run.records["calibration"]]
    names += [one["prompt_class"] for one in run.profiles["profiles"]] if run.profiles else []
    names += [one["prompt_class"] for one in run.scenario.users] if run.scenario else []
    return list(dict.fromkeys(names)) or ["all users"]


def _models(run):
    """One row for each place and model that there are records of: what was asked of it, and how often."""
    keys = ("place", "model", "revision", "device", "dtype", "scheduler", "guidance")
    rows = {}
    for stage, records in run.records.items():
        for record in records:
            row = tuple(record["asked"].get(key) for key in keys)
            rows.setdefault(row, dict.fromkeys(run.records, 0))[stage] += 1
    return [dict(zip(keys, row, strict=True), **counts) for row, counts in rows.items()]


def _quantities(profiles):
    """The names of ``CURVES``, less those that profiles of an older testbed do not have."""
    return [name for name in CURVES if all(name in profile for profile in profiles)]


def _frechet_notes(profiles, totals):
    """What is to be known of the Fréchet distances: how they compare, which too few pictures carry, and those extrapolated."""
    notes = [one["frechet"].get("note") for one in profiles]
    notes += [point.get("note") for one in profiles for point in one["frechet"]["points"]] + [row.get("note") for row in totals]
    for one in profiles:
        for point in one["frechet"]["points"][-1:]:
            if point.get("infinity"):
                value, low, high = (f"{point['infinity'][name]:.3g}" for name in ("value", "low", "high"))
                cell = f"{one['prompt_class']}, {PLACES[one['place']]}, {point['steps']} steps"
                notes.append(f"extrapolated to infinitely many pictures, {cell}: {value} [{low}, {high}].")
    return list(dict.fromkeys(note for note in notes if note))


def _sizes(profiles, name):
    """How many pictures the points of a distance between sets are from, in a sentence; empty for other quantities."""
    if name not in ("frechet", "kid", "cmmd"):
        return ""
    sizes = sorted({point["n"] for profile in profiles for point in profile[name]["points"]})
    warning = "; Fréchet distances of different numbers are not comparable" if sizes[1:] and name == "frechet" else ""
    return f" Each point is from {' or '.join(map(str, sizes))} pictures{warning}." if sizes else ""


def _bases(found, profiles):
    """How each quantity comes about at each place, for the UEs ``found`` if any: rows (title, {place: sorted list of bases})."""
    curves = _quantities(profiles)[1:]
    bases = {name: {place: set() for place in PLACES} for name in ("time", "energy", *curves)}
    for profile in profiles:
        place = profile["place"]
        for name in curves:
            some = any(finite(point["value"]) is not None for point in profile[name]["points"])
            bases[name][place].add("measured" if some else "none")
        if not found:
            bases["time"][place].add("measured")
            bases["energy"][place].add(profile["power"]["basis"])
    for site in found:
        bases["time"]["local"].add(site["time_basis"])
        bases["time"]["edge"].add("measured")
        for place in PLACES:
            bases["energy"][place].add(site[f"{place}_power_basis"])
    titles = {"energy": "Energy", **{name: title for name, (title, _, _) in CURVES.items()}}
    return [(titles[name], {place: sorted(kinds) for place, kinds in row.items()}) for name, row in bases.items()]


def _devices(found, users, scenario):
    """One row for each device class of the scenario: what it is taken to be, its UEs, how many of them are offloaded."""
    rows = []
    for site in {site["device_class"]: site for site in found}.values():  # one UE of each class
        device = DEVICES[site["device_class"]]
        source = "as the scenario has it" if device.name in scenario.watts else device.watts_source
        if site["local_power_basis"] == "measured":
            source = f"metered by {site['local']['power']['meter']}"
        mine = [one for one in users if one["device_class"] == device.name]
        offloaded = sum(one["place"] == "edge" for one in mine)
        rows.append({"device": device, "site": site, "watts_source": source, "users": len(mine), "offloaded": offloaded})
    return sorted(rows, key=lambda row: row["device"].ratio)


def _users(run, classes):
    """One dict for each UE of the allocation: grouped by prompt class, in each the edge and the most steps first."""
    if not run.allocation:
        return []
    made = {}
    for record in run.records["execution"]:
        if record["asked"]["purpose"] == "user":
            made.setdefault(record["asked"]["user"], []).append(record)
    checked = {one["user"]: one for one in run.validation["users"]} if run.validation else {}
    users = []
    for index, (offload, steps) in enumerate(zip(run.allocation.offload, run.allocation.steps, strict=True)):
        place = "edge" if offload else "local"
        about = run.scenario.users[index] if run.scenario else {"prompt_class": classes[0], "device_class": None}
        limit = int(np.broadcast_to(getattr(run.problem, place).max_steps, run.problem.users)[index]) if run.problem else None
        pictures = [_picture(run, "execution", record) for record in made.get(index, [])]
        user = {**about, "user": index, "place": place, "steps": steps, "limit": limit}
        users.append({**user, "made": pictures, "checked": checked.get(index)})
    return sorted(users, key=lambda one: (classes.index(one["prompt_class"]), one["place"] != "edge", -one["steps"], one["user"]))


def _picture(run, stage, record):
    """A record with its picture, which is None where the file cannot be read."""
    return {"asked": record["asked"], "measured": record["measured"], "picture": plots.picture_uri(run.folder / stage / record["image"])}


def _curves(profiles, name):
    """One row of small multiples: a panel for each prompt class with both places in it, all to one scale."""
    title, axis, about = CURVES[name]
    lines = [(profile["prompt_class"], _series(profile, name)) for profile in profiles]
    lines = [(kind, one) for kind, one in lines if one["points"]]
    row = {"title": title, "about": about + _sizes(profiles, name), "fitted": any(one["chosen"] for _, one in lines), "panels": []}
    shown = [value for _, one in lines for point in one["points"] for value in point[1:] if value is not None]
    if not shown:
        return row
    unit, scale = ("ms", 1000.0) if name == "time" and max(shown) < 1.0 else ("s", 1.0)
    for _, one in lines:
        for rows in ("points", "chosen", "paper"):
            one[rows] = [(steps, *(None if value is None else value * scale for value in values)) for steps, *values in one[rows]]
    low, high = scale * min(shown), scale * max(shown)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    below = name == "clip_score" or min(point[1] for _, one in lines for point in one["points"]) < 0
    limits = (low - margin if below else 0.0, high + margin)
    for kind in dict.fromkeys(kind for kind, _ in lines):
        series = [one for which, one in lines if which == kind]
        places = " and ".join(PLACES[one["place"]] for one in series)
        alt = f"{title} against denoising steps, prompt class {kind}, {places}: measured points"
        alt += " and fitted curves" if row["fitted"] else ""
        row["panels"].append({"kind": kind, "alt": alt, "uri": plots.curve_panel(series, axis.format(unit=unit), limits, name != "time")})
    return row


def _series(profile, name):
    """Points and curves of one profile and quantity, as :func:`plots.curve_panel` takes them; times in s."""
    source, points = profile[name], []
    for point in source["points"]:
        value, low, high = finite(point["median" if name == "time" else "value"]), point.get("low"), point.get("high")
        if value is not None and point.get("se") is not None:
            low, high = value - 1.96 * point["se"], value + 1.96 * point["se"]
        if value is not None:
            points.append((point["steps"], value, low, high))
    steps = np.geomspace(1, max((point[0] for point in points), default=1), 80).tolist()
    chosen = paper = []
    if name == "time":
        (a, b), (_, d) = source["covariance"]
        lines = [(s, source["overhead"] + source["step_time"] * s, 1.96 * max(a + 2 * b * s + d * s * s, 0.0) ** 0.5) for s in steps]
        chosen = [(s, at, at - by, at + by) for s, at, by in lines]
        paper = [(s, source["paper"]["step_time"] * s) for s in steps]
    elif name in ("error", "utility"):
        chosen = [(row["steps"], row["value"], row["low"], row["high"]) for row in predict(source, steps)]
        paper = list(zip(steps, curve(source, steps, source["paper"])[0], strict=True))
    return {"place": profile["place"], "points": points, "chosen": chosen, "paper": paper}


def _family(fit, name):
    """One family's entry in a fit."""
    return next(family for family in fit["families"] if family["family"] == name)


def _fits(profiles):
    """One row for each fitted curve: the form that weighs most with its parameters, and how well it and the paper's form fit."""
    rows = []
    for name in ("time", "error", "utility"):
        for profile in profiles:
            fit, row = profile[name], {"title": CURVES[name][0], "place": profile["place"], "prompt_class": profile["prompt_class"]}
            if name == "time":
                spread = [1.96 * fit["covariance"][i][i] ** 0.5 for i in (0, 1)]
                values = {"t₀": (fit["overhead"], spread[0]), "Δt": (fit["step_time"], spread[1])}
                lack = fit.get("lack_of_fit")
                bent = "" if lack is None or lack["affine"] else f", but not quite affine: {lack['largest']:+.1%} at {lack['at']}"
                row |= {"form": "t₀ + Δt · s" + bent.replace("-", "−"), "r2": fit["r2"], "paper_r2": fit["paper"]["r2"], "unit": "s"}
                row["parameters"] = [(symbol, value, value - by, value + by) for symbol, (value, by) in values.items()]
            else:
                (chosen, weight), paper = max(members(fit), key=lambda one: one[1]), _family(fit, fit["paper"])
                form = chosen["family"].replace("_", " + ") + (f", {weight:.0%} of the average" if weight < 0.995 else "")
                form += "" if fit.get("monotone", True) else ", not monotone"
                row |= {"form": form, "r2": chosen["r2"], "paper_r2": paper["r2"], "unit": ""}
                row |= {"held_out": chosen["held_out_error"], "paper_held_out": paper["held_out_error"]}
                found = chosen["parameters"]  # an interpolation has no intervals: its parameters are its points
                row["parameters"] = [(symbol, found[symbol], low, high) for symbol, (low, high) in chosen["intervals"].items()]
            rows.append(row)
    return rows


def _allocation_panels(users):
    """Steps per UE: one panel for each prompt class, all to one scale."""
    top = max((max(one["steps"], one["limit"] or 0) for one in users), default=0)
    panels = []
    for kind, group in groupby(users, key=lambda one: one["prompt_class"]):
        mine = list(group)
        offloaded = sum(one["place"] == "edge" for one in mine)
        alt = f"Denoising steps of the {len(mine)} users of prompt class {kind}; {offloaded} of them are offloaded"
        panels.append({"kind": kind, "users": mine, "offloaded": offloaded, "alt": alt, "uri": plots.allocation_panel(mine, top)})
    return panels


def _baselines(run):
    """The other solvers' results, best first, each with its objective above that of the allocation."""
    if not run.allocation:
        return []
    ours = run.allocation.objective
    others = [{**one, "above": one["objective"] - ours} for one in run.baselines if one["solver"] != run.allocation.solver]
    for one in others:
        if abs(one["above"]) < 1e-9 * max(1.0, abs(ours)):  # the same sum in another order
            one["above"] = 0
    return sorted(others, key=lambda one: one["above"])


def _agreement(validation):
    """Measured against predicted: one panel for each quantity that was measured at any UE.

    The CLIP score is the utility on another scale, and energy without a meter is time: these have no panel of their own.
    """
    panels = []
    for name, (title, unit) in AGREEMENT.items():
        points = [{"place": user["place"], **user[name]} for user in validation["users"]]
        points = [one for one in points if finite(one["predicted"]) is not None and finite(one["measured"]) is not None]
        if points and name != "clip_score" and any(one.get("basis", "measured") != "modelled" for one in points):
            alt = f"{title}: measured against predicted, {len(points)} users"
            panel = {"title": title, "alt": alt, "uri": plots.agreement_panel(points, unit)}
            panel["coverage"] = validation["coverage"].get(name)
            panel["typical"] = validation["median_absolute_error"].get(name)
            panels.append(panel)
    return panels


def _strips(run, units):
    """The same prompt and seed at several step counts at both places: for each class the first that has the most of them.

    ``units`` maps (place, class) to the distance that is an error of 1.
    """
    shots = {}  # class -> (prompt, seed) -> (place, (converged, steps)) -> record
    for record in run.records["calibration"]:
        asked = record["asked"]
        found = shots.setdefault(asked["prompt_class"], {}).setdefault((asked["prompt"], asked["seed"]), {})
        found[asked["place"], (asked["purpose"] == "converged", asked["steps"])] = record
    strips = []
    for kind, candidates in shots.items():
        grid = sorted({steps for found in candidates.values() for _, (converged, steps) in found if not converged})
        wanted = [(False, steps) for steps in grid if steps in STRIP_STEPS] or [(False, steps) for steps in grid[:: -(-len(grid) // 6)]]
        # max() keeps the first of equals: the prompt shown is the first of the sweep, not a chosen one
        (prompt, seed), found = max(candidates.items(), key=lambda item: sum((place, one) in item[1] for place in PLACES for one in wanted))
        columns = wanted + sorted({one for _, one in found if one[0]})
        rows = [(place, [_cell(run, found.get((place, one)), units.get((place, kind))) for one in columns]) for place in PLACES]
        strips.append({"kind": kind, "prompt": prompt, "seed": seed, "columns": columns, "rows": rows})
    return strips


def _cell(run, record, unit):
    """One picture of a strip, with its error where the unit of the class is known; None where it was not made."""
    if record is None:
        return None
    distance = finite(record["measured"]["distance"])
    return {**_picture(run, "calibration", record), "error": distance / unit if unit and distance is not None else None}
