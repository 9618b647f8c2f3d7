"""Profiles measured apart, joined into one: a user's from a Jetson, the edge's from a server.

What an allocation weighs against each other must be the same quantity on the same scale, so joined
profiles must agree in how error, utility and distances are defined and in what images are compared
with. Machine, device, precision and model may differ: they are what is compared. What a path or an
id names is recognised by its content, where both files tell it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from calibration.checks import shown
from calibration.profiles.profile import (
    ClassProfile,
    MetricDefinition,
    Metrics,
    Place,
    Profiles,
)
from solver.inputs import InputError
from solver.problem import PLACES

#: By metric: the fields that must agree, each with the one that tells its content, if any.
AGREE: dict[str, dict[str, str | None]] = {
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
#: Of a utility's unit. Devices round CLIP's features differently, by about a tenth of this; other
#: reference images make a larger difference.
UTILITY_TOLERANCE = 0.01


@dataclass(frozen=True)
class Part:
    """The ``place`` of ``profiles`` (None: all of them), with a ``name`` for messages."""

    name: str
    place: str | None
    profiles: Profiles


def merge(parts: Sequence[Part]) -> Profiles:
    """One :class:`Profiles` of several; a single one of which all is taken stays as it is.

    Each place comes from one part. The common ``environment`` names the place of each value that
    differs, and a place has its own where it is not the common one. Raises :class:`InputError` for
    what cannot be compared, naming both parts, the field and both values, for a place that two
    parts have, and for one that a part has not.
    """
    if len(parts) == 1 and parts[0].place is None:
        return parts[0].profiles
    places: dict[str, Place] = {}
    source: dict[str, Part] = {}
    for part in parts:
        for entry in _chosen(part):
            if other := source.get(entry.place):
                raise InputError(
                    f"{other.name}, {part.name}: {entry.place}: found in both; allowed: in one; "
                    "local=FILE or edge=FILE takes one place of a file"
                )
            source[entry.place] = part
            places[entry.place] = entry
    for pair in combinations(parts, 2):
        check_comparable(*pair)
    ordered = [places[place] for place in PLACES if place in places]
    environment = _environment(ordered)
    return Profiles(
        environment=environment,
        metrics=Metrics(**{metric: _definition(parts, metric) for metric in AGREE}),
        places=tuple(
            replace(entry, environment=None) if entry.environment == environment else entry
            for entry in ordered
        ),
    )


def check_comparable(part: Part, other: Part) -> None:
    """Raise :class:`InputError` unless the values of two parts can be weighed against each other.

    Fréchet distances are biased by the number of images, so at the same step count of a class it
    must be the same, unless a sweep was adaptive, which chooses it. Error and utility are means,
    comparable at any number. What one of the parts did not measure is not checked, and a utility
    that one of them leaves out does not count in a problem.
    """
    names = f"{part.name}, {other.name}"
    for metric, fields in AGREE.items():
        definitions = [getattr(p.profiles.metrics, metric) for p in (part, other)]
        if MetricDefinition() in definitions:
            continue  # not measured by one of them: nothing to weigh
        for field, content in fields.items():
            _check_agree(f"{names}: metrics.{metric}", field, content, *definitions)
    for mine in _chosen(part):
        for theirs in _chosen(other):
            adaptive = mine.sweep is not None or theirs.sweep is not None
            for profile in mine.classes:
                for match in theirs.classes:
                    if match.prompt_class == profile.prompt_class:
                        _check_classes(names, profile, match, adaptive)


def _definition(parts: Sequence[Part], metric: str) -> MetricDefinition:
    """That of the first part that measured it."""
    every = [getattr(part.profiles.metrics, metric) for part in parts]
    return next(filter(MetricDefinition().__ne__, every), every[0])


def _chosen(part: Part) -> list[Place]:
    """The part's places, each with the environment that it was measured in."""
    places = [entry for entry in part.profiles.places if part.place in (None, entry.place)]
    if not places:
        raise InputError(
            f"{part.name}: found no {part.place} profile; allowed: a file that holds one"
        )
    return [
        replace(entry, environment=entry.environment or part.profiles.environment)
        for entry in places
    ]


def _check_agree(
    where: str,
    field: str,
    content: str | None,
    definition: MetricDefinition,
    other: MetricDefinition,
) -> None:
    """Check a ``field`` that must agree, or the field that tells its ``content``."""
    if content is not None:
        digests = getattr(definition, content), getattr(other, content)
        if None not in digests:
            if digests[0] == digests[1]:
                return
            if getattr(definition, field) == getattr(other, field):
                field = content
    _check_equal(f"{where}.{field}", getattr(definition, field), getattr(other, field))


def _check_classes(names: str, profile: ClassProfile, other: ClassProfile, adaptive: bool) -> None:
    """Check the scales and sample sizes of one prompt class in two parts."""
    where = f"{names}: prompt class {profile.prompt_class}"
    utility, others = profile.scales.utility, other.scales.utility
    if utility and others:
        for field, value, theirs in (
            ("floor", utility.zero, others.zero),
            ("ceiling", utility.full, others.full),
        ):
            if abs(value - theirs) > UTILITY_TOLERANCE * utility.unit:
                raise _refusal(f"{where}: utility.{field}", value, theirs)
    if adaptive:
        return
    images, sizes = ({point.steps: point.n for point in p.frechet} for p in (profile, other))
    for steps in sorted(images.keys() & sizes.keys()):
        _check_equal(f"{where}: frechet: images at {steps} steps", images[steps], sizes[steps])


def _check_equal(where: str, value: object, other: object) -> None:
    if value != other:
        raise _refusal(where, value, other)


def _refusal(where: str, value: object, other: object) -> InputError:
    return InputError(
        f"{where}: found {shown(value)} and {shown(other)}; "
        "allowed: the same in all profiles that are joined"
    )


def _environment(places: Sequence[Place]) -> Mapping[str, Any]:
    """What is the same in the environments of all ``places``; where they differ, each value with
    its place.
    """
    environments = [(entry.environment or {}, entry.place) for entry in places]
    joined = {}
    for key in dict.fromkeys(key for environment, _ in environments for key in environment):
        values = [(environment.get(key), place) for environment, place in environments]
        first = values[0][0]
        joined[key] = (
            first
            if all(value == first for value, _ in values)
            else ", ".join(f"{value} ({place})" for value, place in values if value is not None)
        )
    return joined
