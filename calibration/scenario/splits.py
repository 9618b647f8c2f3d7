"""Split images in a scenario: what each place has to do with one, and which are worth offering.

Seconds and joules are those of the two places' own fits. Whoever begins does not decode. Who ends
begins where the other stopped, so the latents travel once: down to the device that ends, or up to
an edge that ends, whose image then comes back as any other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.profiles.profile import Profiles, SplitPoint
from calibration.records.split import Split
from calibration.scenario.risk import UserLimits, keeps_limits
from calibration.scenario.sites import Service, Site
from calibration.statistics import t_quantile
from solver.problem import PLACES

#: A value and half of its 95 % interval; None: left out.
_Value = tuple[float, float] | None


def part_services(site: Site, edge: str, split: Split, size: int) -> dict[str, Service]:
    """How the device and the place ``edge`` serve their parts of a user's image.

    ``size``: bytes that are handed over. The edge's part has all that the link adds: the latents,
    by its rate or else as an image, and the image that comes back from an edge that ends.
    """
    services = {"local": site.local, "edge": site.services[edge]}
    link = services["edge"]
    latents = link.transfer_time if link.rate is None else 8 * size / link.rate
    back = split.first == "local"
    services["edge"] = replace(
        link,
        transfer_time=latents + back * link.transfer_time,
        transfer_energy=(1 + back) * link.transfer_energy,
    )
    begins = services[split.first]
    profile = replace(begins.profile, time=undecoded(begins.profile.time))
    services[split.first] = replace(begins, profile=profile)
    return services


def undecoded(time: TimeFit) -> TimeFit:
    """The time of a place that does not decode."""
    decode = time.stages.decode if time.stages else 0.0
    return replace(time, overhead=max(0.0, time.overhead - decode))


def problem_splits(
    profiles: Profiles,
    kinds: Sequence[Site],
    kind: NDArray[np.int_],
    limits: Sequence[UserLimits],
    most: Mapping[str, int],
) -> dict[str, Any]:
    """The ``splits`` of ``problem/2`` for each edge: those measured of all classes that are asked
    for, and not dominated in every one of them.

    ``kind``, shape (users,): which of ``kinds`` each user is. ``limits``: of each user; with a risk
    only options are allowed that keep them. ``most``: steps of an image by place.
    """
    if profiles.splits is None:
        return {}
    classes = sorted({site.user.prompt_class for site in kinds})
    offered = [
        (point.split, point.steps)
        for point in profiles.splits.classes.get(classes[0], ())
        if _is_offered(profiles, classes, point.split, point.steps)
    ]
    edges = [name for name in kinds[0].services if name != "local"]
    alike = list(zip(kind.tolist(), limits, strict=True))
    names = {"edge": "{}-then-local", "local": "local-then-{}"}
    return {
        names[first].format(edge): _tables(profiles, kinds, alike, most, edge, options)
        for edge in edges
        for first in PLACES
        if (options := [option for option in offered if option[0].first == first])
    }


def dominating(profiles: Profiles, prompt_class: str, point: SplitPoint) -> str | None:
    """What is better than a split, beyond the 95 % intervals, with no more steps at either place:
    one model alone, or another split; None if nothing is.

    Better are both the error and, where it is not left out, the utility. Images of one prompt err
    together, so intervals of unpaired means are wide, and spare more splits than need be.
    """
    most = point.split.parts(point.steps)
    for name, error, utility in _alternatives(profiles, prompt_class, most):
        better = _is_better(error, _of(point.error), -1)
        if name != point.name and better and _is_better(utility, _of(point.utility), 1):
            return name
    return None


def _is_offered(profiles: Profiles, classes: Sequence[str], split: Split, steps: int) -> bool:
    assert profiles.splits is not None
    points = [profiles.splits.find(name, split, steps) for name in classes]
    return all(points) and any(
        point and dominating(profiles, name, point) is None for name, point in zip(classes, points)
    )


def _alternatives(
    profiles: Profiles, prompt_class: str, most: dict[str, int]
) -> Iterator[tuple[str, _Value, _Value]]:
    """Name, error and utility of all with at most ``most`` steps at each place."""
    for place, steps in most.items():
        profile = profiles.find(place, prompt_class)
        least = min(each.steps for each in profile.error.points)
        for count in range(steps, least - 1, -1):
            yield f"{place} {count}", _at(profile.error, count), _at(profile.utility, count)
    assert profiles.splits is not None
    for point in profiles.splits.classes[prompt_class]:
        if all(count <= most[place] for place, count in point.split.parts(point.steps).items()):
            yield point.name, _of(point.error), _of(point.utility)


def _at(fit: CurveFit | None, steps: int) -> _Value:
    if fit is None:
        return None
    values, covariance = evaluate(fit, [steps])
    half = t_quantile(degrees_of_freedom(fit)) * max(0.0, float(covariance[0, 0])) ** 0.5
    return float(values[0]), half


def _of(point: CurvePoint | None) -> _Value:
    return None if point is None else (point.value, point.half or 0.0)


def _is_better(value: _Value, other: _Value, sign: int) -> bool:
    if value is None or other is None:
        return value is other
    return sign * (value[0] - other[0]) > math.hypot(value[1], other[1])


def _tables(
    profiles: Profiles,
    kinds: Sequence[Site],
    alike: Sequence[tuple[int, UserLimits]],
    most: Mapping[str, int],
    edge: str,
    options: Sequence[tuple[Split, int]],
) -> dict[str, Any]:
    rows = {
        (number, limit): [
            _option(profiles, kinds[number], limit, most, edge, *option) for option in options
        ]
        for number, limit in dict.fromkeys(alike)
    }
    tables = np.array([rows[user] for user in alike])
    names = ["time", "energy", "error", "utility"]
    names += ["allowed"] * any(limit.risk is not None for _, limit in alike)
    return {
        "edge": edge,
        "first": options[0][0].first,
        "steps": [steps for _, steps in options],
        "edge_steps": [split.edge_steps for split, _ in options],
        **{name: tables[:, :, index].tolist() for index, name in enumerate(names)},
    }


def _option(
    profiles: Profiles,
    site: Site,
    limits: UserLimits,
    most: Mapping[str, int],
    edge: str,
    split: Split,
    steps: int,
) -> tuple[float, float, float, float, bool]:
    """Expected time (s), energy (J), error and utility, and whether it keeps the limits at the
    risk, and no place makes more steps than ``most``.
    """
    splits = profiles.splits
    point = splits.find(site.user.prompt_class, split, steps) if splits else None
    assert splits and point, "it is offered"
    services, made = part_services(site, edge, split, splits.bytes), split.parts(steps)
    parts = [(services[place], count) for place, count in made.items()]
    seconds = [service.seconds(count) for service, count in parts]
    fits = made["local"] <= most["local"] and made["edge"] <= most[edge]
    return (
        sum(seconds) + sum(service.sent for service, _ in parts),
        sum(s.watts * spent + s.spent for (s, _), spent in zip(parts, seconds)),
        max(0.0, point.error.value),
        min(1.0, max(0.0, point.utility.value)) if point.utility else 0.0,
        fits and (limits.risk is None or keeps_limits(parts, point.error, limits)),
    )
