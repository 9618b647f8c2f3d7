"""What the report shows, computed from a run: plain dicts and lists for the template, pictures as
data URIs.
"""

from itertools import groupby

import numpy as np

from calibration.records.task import POINTS
from calibration.scenario.scenario import sites, units
from calibration.validation.verdicts import verdicts
from testbed.report import fits, plots, setup
from testbed.report.agreement import AGREEMENT, agreement
from testbed.report.curves import PLACES, curves, file_name, quantities
from testbed.report.format import finite, toml

STRIP_STEPS = (1, 2, 4, 8, 16, 32)


def view(run):
    """Everything that the template shows of a :class:`testbed.report.Run`."""
    classes = _classes(run)
    profiles = (
        sorted(run.profiles["profiles"], key=lambda one: classes.index(one["prompt_class"]))
        if run.profiles
        else []
    )
    users, validation = _users(run, classes), run.validation
    totals = validation["totals"] if validation else []
    found = sites(run.profiles, run.scenario) if run.profiles and run.scenario else []
    first = next((record for records in run.records.values() for record in records), {})
    curve_rows = [curves(profiles, name) for name in quantities(profiles)]
    batching, allocated = fits.batching(profiles), _allocation_panels(users)
    agreed, samples = (
        agreement(validation) if validation else [],
        setup.samples(profiles, run.records["calibration"]),
    )
    panels = [
        *(panel for row in curve_rows for panel in row["panels"]),
        *batching,
        *allocated,
        *agreed,
        samples,
    ]
    return {
        "name": run.folder.name,
        "missing": run.missing,
        "places": PLACES,
        "verdicts": verdicts(validation, run.profiles),
        "samples": samples["rows"],
        "samples_table": samples["table"],
        "tables": [panel["table"] for panel in panels if panel["table"]["rows"]],
        "models": setup.models(run),
        "pictures": {
            stage: sum(one["asked"]["purpose"] in (*POINTS, "user") for one in records)
            for stage, records in run.records.items()
        },
        "bases": setup.bases(found, profiles),
        "devices": setup.devices(found, users, run.scenario),
        "scenario": run.scenario,
        "units": units(run.profiles, run.scenario) if run.profiles and run.scenario else {},
        "metrics": run.profiles["metrics"] if run.profiles else {},
        "curves": curve_rows,
        "fits": fits.fits(profiles),
        "families": fits.families(profiles),
        "energy": fits.energy(profiles),
        "batching": batching,
        "plan": fits.plan(run.profiles) if run.profiles else None,
        "class_differences": run.profiles.get("class_differences", []) if run.profiles else [],
        "frechet_notes": setup.frechet_notes(profiles, totals),
        "mlperf_notes": setup.mlperf_notes(run, profiles),
        "users": users,
        "problem": run.problem,
        "allocation": run.allocation,
        "allocation_panels": allocated,
        "baselines": _baselines(run),
        "validation": validation,
        "totals": totals,
        "worst_first": sorted(totals, key=lambda row: -abs(finite(row["relative_error"]) or 0.0)),
        "agreement": agreed,
        "agreement_names": AGREEMENT,
        "strips": _strips(
            run, {(one["place"], one["prompt_class"]): one["error"]["unit"] for one in profiles}
        ),
        "environment": run.profiles["environment"]
        if run.profiles
        else first.get("environment", {}),
        "config": toml(run.config) if run.config else None,
    }


def _classes(run):
    """The prompt classes, in the order in which they are swept."""
    names = [record["asked"]["prompt_class"] for record in run.records["calibration"]]
    names += [one["prompt_class"] for one in run.profiles["profiles"]] if run.profiles else []
    names += [one["prompt_class"] for one in run.scenario.users] if run.scenario else []
    return list(dict.fromkeys(names)) or ["all users"]


def _users(run, classes):
    """One dict for each UE of the allocation: grouped by prompt class, in each the edge and the
    most steps first.
    """
    if not run.allocation:
        return []
    made = {}
    for record in run.records["execution"]:
        if record["asked"]["purpose"] == "user":
            made.setdefault(record["asked"]["user"], []).append(record)
    checked = {one["user"]: one for one in run.validation["users"]} if run.validation else {}
    users = []
    for index, (offload, steps) in enumerate(
        zip(run.allocation.offload, run.allocation.steps, strict=True)
    ):
        place = "edge" if offload else "local"
        about = (
            run.scenario.users[index]
            if run.scenario
            else {"prompt_class": classes[0], "device_class": None}
        )
        limit = (
            int(np.broadcast_to(getattr(run.problem, place).max_steps, run.problem.users)[index])
            if run.problem
            else None
        )
        pictures = [_picture(run, "execution", record) for record in made.get(index, [])]
        user = {**about, "user": index, "place": place, "steps": steps, "limit": limit}
        users.append({**user, "made": pictures, "checked": checked.get(index)})
    return sorted(
        users,
        key=lambda one: (
            classes.index(one["prompt_class"]),
            one["place"] != "edge",
            -one["steps"],
            one["user"],
        ),
    )


def _picture(run, stage, record):
    """A record with its picture, which is None where the file cannot be read."""
    return {
        "asked": record["asked"],
        "measured": record["measured"],
        "picture": plots.picture_uri(run.folder / stage / record["image"]),
    }


def _allocation_panels(users):
    """Steps per UE: one panel for each prompt class, all to one scale."""
    top = max((max(one["steps"], one["limit"] or 0) for one in users), default=0)
    panels = []
    for kind, group in groupby(users, key=lambda one: one["prompt_class"]):
        mine = list(group)
        offloaded = sum(one["place"] == "edge" for one in mine)
        alt = f"Denoising steps of the {len(mine)} users of prompt class {kind}; {offloaded} of them are offloaded"
        rows = [{key: one[key] for key in ("user", "place", "steps", "limit")} for one in mine]
        table = {"name": file_name("allocation", kind), "rows": rows, "shown": rows}
        panels.append(
            {
                "kind": kind,
                "users": mine,
                "offloaded": offloaded,
                "alt": alt,
                "uri": plots.allocation_panel(mine, top),
                "table": table,
            }
        )
    return panels


def _baselines(run):
    """The other solvers' results, best first, each with its objective above that of the allocation."""
    if not run.allocation:
        return []
    ours = run.allocation.objective
    others = [
        {**one, "above": one["objective"] - ours}
        for one in run.baselines
        if one["solver"] != run.allocation.solver
    ]
    for one in others:
        if abs(one["above"]) < 1e-9 * max(1.0, abs(ours)):  # the same sum in another order
            one["above"] = 0
    return sorted(others, key=lambda one: one["above"])


def _strips(run, units):
    """The same prompt and seed at several step counts at both places: for each class the first that
    has the most of them.

    ``units`` maps (place, class) to the distance that is an error of 1.
    """
    shots = {}  # class -> (prompt, seed) -> (place, (converged, steps)) -> record
    for record in run.records["calibration"]:
        asked = record["asked"]
        found = shots.setdefault(asked["prompt_class"], {}).setdefault(
            (asked["prompt"], asked["seed"]), {}
        )
        found[asked["place"], (asked["purpose"] == "converged", asked["steps"])] = record
    strips = []
    for kind, candidates in shots.items():
        grid = sorted(
            {
                steps
                for found in candidates.values()
                for _, (converged, steps) in found
                if not converged
            }
        )
        wanted = [(False, steps) for steps in grid if steps in STRIP_STEPS] or [
            (False, steps) for steps in grid[:: -(-len(grid) // 6)]
        ]
        # max() keeps the first of equals: the prompt shown is the first of the sweep, not a chosen
        # one
        (prompt, seed), found = max(
            candidates.items(),
            key=lambda item: sum((place, one) in item[1] for place in PLACES for one in wanted),
        )
        columns = wanted + sorted({one for _, one in found if one[0]})
        rows = [
            (
                place,
                [_cell(run, found.get((place, one)), units.get((place, kind))) for one in columns],
            )
            for place in PLACES
        ]
        strips.append(
            {"kind": kind, "prompt": prompt, "seed": seed, "columns": columns, "rows": rows}
        )
    return strips


def _cell(run, record, unit):
    """One picture of a strip, with its error where the unit of the class is known; None where it
    was not made.
    """
    if record is None:
        return None
    distance = finite(record["measured"]["distance"])
    return {
        **_picture(run, "calibration", record),
        "error": distance / unit if unit and distance is not None else None,
    }
