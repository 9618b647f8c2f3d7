"""What a run was made with: models, how each quantity comes about, devices, sample sizes."""

from calibration.records.task import POINTS
from calibration.scenario.devices import DEVICES
from testbed.report import mlperf
from testbed.report.curves import CURVES, PLACES, quantities
from testbed.report.format import finite


def models(run):
    """One row for each place and model that there are records of: what was asked of it, and how
    often.
    """
    keys = ("place", "model", "revision", "device", "dtype", "scheduler", "guidance")
    rows = {}
    for stage, records in run.records.items():
        for record in records:
            row = tuple(record["asked"].get(key) for key in keys)
            rows.setdefault(row, dict.fromkeys(run.records, 0))[stage] += 1
    return [dict(zip(keys, row, strict=True), **counts) for row, counts in rows.items()]


def mlperf_notes(run, profiles):
    """How MLPerf's accepted ranges compare, where the edge runs its model: sentences."""
    made = [
        record["asked"]
        for record in run.records["calibration"]
        if record["asked"]["place"] == "edge"
    ]
    asked = next(
        (
            one
            for one in made
            if one["model"] == mlperf.MODEL
            and one["steps"] == mlperf.STEPS
            and one["purpose"] in POINTS
        ),
        None,
    )
    if not asked or not run.profiles:
        return []
    notes = []
    for entry in (one for one in profiles if one["place"] == "edge"):
        for row in mlperf.verdicts(entry):
            said = {
                None: f"which holds for {mlperf.IMAGES} images only",
                True: "inside",
                False: "outside",
            }[row["inside"]]
            here = f"{entry['prompt_class']}, {row['n']} images: {row['value']:.4g}"
            notes.append(
                f"{row['quantity'].replace('_', ' ')}, {here}; MLPerf accepts {row['low']:.4f} to {row['high']:.4f}: {said}."
            )
    departs = mlperf.departures(asked, run.profiles["metrics"])
    return notes + (
        ["Not MLPerf's conditions: " + "; ".join(departs) + "."] if notes and departs else []
    )


def frechet_notes(profiles, totals):
    """What is to be known of the Fréchet distances: how they compare, which too few pictures carry,
    and those extrapolated.
    """
    notes = [one["frechet"].get("note") for one in profiles]
    notes += [point.get("note") for one in profiles for point in one["frechet"]["points"]] + [
        row.get("note") for row in totals
    ]
    for one in profiles:
        for point in one["frechet"]["points"][-1:]:
            if point.get("infinity"):
                value, low, high = (
                    f"{point['infinity'][name]:.3g}" for name in ("value", "low", "high")
                )
                cell = f"{one['prompt_class']}, {PLACES[one['place']]}, {point['steps']} steps"
                notes.append(
                    f"extrapolated to infinitely many pictures, {cell}: {value} [{low}, {high}]."
                )
    return list(dict.fromkeys(note for note in notes if note))


def bases(found, profiles):
    """How each quantity comes about at each place, for the UEs ``found`` if any: rows (title,
    {place: sorted list of bases}).
    """
    curves = [name for name in quantities(profiles) if name not in ("time", "energy")]
    bases = {name: {place: set() for place in PLACES} for name in ("time", "energy", *curves)}
    for profile in profiles:
        place = profile["place"]
        for name in (name for name in curves if name in profile):
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
    return [
        (titles[name], {place: sorted(kinds) for place, kinds in row.items()})
        for name, row in bases.items()
    ]


def devices(found, users, scenario):
    """One row for each device class of the scenario: what it is taken to be, its UEs, how many of
    them are offloaded.
    """
    rows = []
    for site in {site["device_class"]: site for site in found}.values():  # one UE of each class
        device = DEVICES[site["device_class"]]
        source = "as the scenario has it" if device.name in scenario.watts else device.watts_source
        if site["local_power_basis"] == "measured":
            source = f"metered by {site['local']['power']['meter']}"
        mine = [one for one in users if one["device_class"] == device.name]
        offloaded = sum(one["place"] == "edge" for one in mine)
        rows.append(
            {
                "device": device,
                "site": site,
                "watts_source": source,
                "users": len(mine),
                "offloaded": offloaded,
            }
        )
    return sorted(rows, key=lambda row: row["device"].ratio)


def samples(profiles, records):
    """{rows, table}: how much each curve rests on; a row for each prompt class and place, in the
    table one for each step count too.

    ``records``: of the calibration; the seeds, those of a prompt, are theirs, and unknown without
    them.
    """
    seeds = {}
    for record in records:
        asked = record["asked"]
        if asked["purpose"] in POINTS:
            there = seeds.setdefault((asked["prompt_class"], asked["place"], asked["steps"]), {})
            there.setdefault(asked["prompt"], set()).add(asked["seed"])
    rows, every = [], []
    for profile in profiles:
        cell = {"prompt_class": profile["prompt_class"], "place": profile["place"]}
        mine = []
        for point in profile["error"]["points"]:
            found = seeds.get((*cell.values(), point["steps"]))
            mine.append(
                {
                    **cell,
                    "steps": point["steps"],
                    "prompts": point.get("prompts"),
                    "seeds": max(map(len, found.values())) if found else None,
                    "images": point["n"],
                }
            )
        spans = {
            name: _span([one[name] for one in mine]) for name in ("prompts", "seeds", "images")
        }
        spans["frechet"] = _span([point["n"] for point in profile["frechet"]["points"]])
        rows.append(
            {
                **cell,
                "counts": [one["steps"] for one in mine],
                **spans,
                "timed": profile["time"]["n"],
                "all": sum(one["images"] for one in mine),
            }
        )
        every += mine
    return {"rows": rows, "table": {"name": "samples", "rows": every, "shown": every}}


def _span(values):
    """Numbers as their range: 24, or 12 to 48; a dash where one is unknown."""
    if not values or None in values:
        return "–"
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
