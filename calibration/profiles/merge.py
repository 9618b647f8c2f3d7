"""Profiles that were measured on different machines, joined into one: a UE's from a Jetson, the
edge's from a server.

What an allocation weighs against each other must be the same quantity on the same scale, so joined
profiles must agree in how error, utility and distances are defined and in what they were held
against. Machine, device, precision and model may differ: they are what is compared. What a path or
an id names is recognised by its content, where both files tell it.
"""

from itertools import combinations

from calibration.checks import need, table
from calibration.profiles.build import check
from calibration.records.task import PLACES
from solver.inputs import InputError

#: metric -> fields that must agree, each with the one that tells its content, if any
AGREE = {
    "error": {"name": None, "converged_steps": None, "noise": None, "prompts": "prompts_sha256"},
    "utility": {"name": None, "model": "model_sha256", "prompts": "prompts_sha256"},
    "frechet": {
        "extractor": "extractor_sha256",
        "reference": "reference_sha256",
        "reference_size": None,
        "reference_model": None,
    },
    "kid": {"name": None},
    "cmmd": {"name": None},
}
#: of ceiling - floor. Devices round CLIP's features differently, by about a tenth of this; of other
#: reference images it is more
UTILITY_TOLERANCE = 0.01


def merge(parts):
    """One ``profiles/1`` from several; a single one of which all is taken stays as it is.

    ``parts``: [(name, place or None for both, profiles)], the names for messages. Each entry of the
    result has the ``environment`` that it was measured in; the common ``environment`` says of
    values that differ for which place each holds. Raises :class:`InputError` for what cannot be
    compared, naming both files, the field and both values, and for what is there twice.
    """
    if len(parts) == 1 and parts[0][1] is None:
        return parts[0][2]
    chosen = [
        (name, {**profiles, "profiles": _chosen(name, place, profiles)})
        for name, place, profiles in parts
    ]
    source = {}  # (place, prompt class) -> index of its file
    for index, (name, profiles) in enumerate(chosen):
        for entry in profiles["profiles"]:
            place, prompt_class = entry["place"], entry["prompt_class"]
            other = source.setdefault((place, prompt_class), index)
            if other != index:
                both = f"{chosen[other][0]}, {name}: {place}/{prompt_class}"
                raise InputError(
                    f"{both}: found in both; allowed: in one; local=FILE or edge=FILE takes one place of a file"
                )
    for one, other in combinations(chosen, 2):
        comparable(*one, *other)
    entries = [
        {"environment": profiles["environment"], **entry}
        for _, profiles in chosen
        for entry in profiles["profiles"]
    ]
    entries.sort(key=lambda entry: (PLACES.index(entry["place"]), entry["prompt_class"]))
    files = {
        place: {index for (there, _), index in source.items() if there == place} for place in PLACES
    }
    tests = [
        row
        for index, (_, one) in enumerate(chosen)
        for row in one.get("class_differences", [])
        if files[row["place"]] == {index}
    ]
    first = chosen[0][1]
    joined = {
        "schema": first["schema"],
        "environment": _environment(entries),
        "metrics": first["metrics"],
        "profiles": entries,
        "class_differences": tests,
    }
    return check(joined, "joined profiles")


def comparable(name, profiles, other_name, other):
    """Raise :class:`InputError` unless the values of two profiles can be weighed against each
    other.

    Fréchet distances are biased by the number of images, so at the same step count of a class it
    must be the same, unless a sweep was adaptive, which chooses it. Error and utility are means,
    comparable at any number.
    """

    def refuse(field, one, two):
        raise InputError(
            f"{name}, {other_name}: {field}: found {one!r} and {two!r}; allowed: the same in all profiles that are joined"
        )

    for metric, fields in AGREE.items():
        one, two = (side["metrics"].get(metric, {}) for side in (profiles, other))
        for field, content in fields.items():
            known = content in one and content in two
            if known and one[content] == two[content]:
                continue
            if one.get(field) == two.get(field) and known:
                field = content
            if one.get(field) != two.get(field):
                refuse(f"metrics.{metric}.{field}", one.get(field), two.get(field))
    adaptive = profiles.get("plan") or other.get("plan")
    for mine in profiles["profiles"]:
        for theirs in (
            entry for entry in other["profiles"] if entry["prompt_class"] == mine["prompt_class"]
        ):
            where, scale = (
                f"prompt class {mine['prompt_class']}",
                mine["utility"]["ceiling"] - mine["utility"]["floor"],
            )
            for field in ("floor", "ceiling"):
                one, two = mine["utility"][field], theirs["utility"][field]
                if abs(one - two) > UTILITY_TOLERANCE * scale:
                    refuse(f"{where}: utility.{field}", one, two)
            one, two = (
                {point["steps"]: point["n"] for point in entry["frechet"]["points"]}
                for entry in (mine, theirs)
            )
            for steps in () if adaptive else sorted(one.keys() & two.keys()):
                if one[steps] != two[steps]:
                    refuse(f"{where}: frechet: images at {steps} steps", one[steps], two[steps])


def _chosen(name, place, profiles):
    """The entries of ``place``, or all; raises :class:`InputError` also where what joining reads is
    missing.
    """
    need(name, profiles, ("environment", "metrics"))
    table(f"{name}: environment", profiles["environment"])
    for metric in need(f"{name}: metrics", profiles["metrics"], ("error", "utility")):
        table(f"{name}: metrics.{metric}", profiles["metrics"][metric])
    found = [entry for entry in profiles["profiles"] if place in (None, entry["place"])]
    if not found:
        raise InputError(f"{name}: found no {place} profile; allowed: a file that holds one")
    for entry in found:
        for point in need(
            f"{name}: {entry['place']}/{entry['prompt_class']}: frechet",
            entry["frechet"],
            ("points",),
        )["points"]:
            need(
                f"{name}: {entry['place']}/{entry['prompt_class']}: frechet.points",
                point,
                ("steps", "n"),
            )
    return found


def _environment(entries):
    """What is the same in all the entries' environments; where they differ, each value with its
    place.
    """
    machines = []
    for entry in entries:
        if (entry["place"], entry["environment"]) not in machines:
            machines.append((entry["place"], entry["environment"]))
    joined = {}
    for key in dict.fromkeys(key for _, environment in machines for key in environment):
        values = [(environment.get(key), place) for place, environment in machines]
        same = all(value == values[0][0] for value, _ in values)
        joined[key] = (
            values[0][0]
            if same
            else ", ".join(f"{value} ({place})" for value, place in values if value is not None)
        )
    return joined
