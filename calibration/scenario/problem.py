"""The allocation problem of a scenario on measured profiles."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.costs.transfer import Payload, TransferFit
from calibration.fitting.curve_fit import CurveFit
from calibration.fitting.prediction import evaluate
from calibration.links import LINKS, Radio
from calibration.profiles.profile import ClassProfile, Profiles
from calibration.scenario.devices import DEVICES, DeviceClass
from calibration.scenario.scenario import Scenario, User
from solver.inputs import InputError
from solver.problem import PLACES, Problem


@dataclass(frozen=True)
class Service:
    """How a ``place`` serves a user, and what its numbers rest on.

    ``profile``: what was measured there of the user's prompt class; ``speed_sd``: as its
    :class:`calibration.profiles.profile.Place` has it; ``ratio``: the user's seconds over the
    measured ones, with ``time_basis`` measured, or emulated by the device's published ratio;
    ``watts`` while computing, with ``power_basis`` measured where a meter measured this very
    device, else modelled; ``way``: to a place behind a network, None where there is none.
    """

    place: str
    profile: ClassProfile
    speed_sd: float
    ratio: float
    time_basis: str
    watts: float
    power_basis: str
    way: "Way | None" = None

    def seconds(self, steps: float) -> float:
        """Predicted seconds of an image with ``steps`` steps, without its way."""
        return self.ratio * self.profile.time.seconds(steps)


@dataclass(frozen=True)
class Way:
    """How a user's request and image travel: ``fit`` of the seconds of a ``payload``, and the
    user's ``radio``, *modelled*, whose cold start is part of them (None: no radio counts).
    """

    fit: TransferFit
    payload: Payload
    radio: Radio | None

    @property
    def cold_time(self) -> float:
        """Modelled s that the first packet takes beyond what is measured."""
        return self.radio.cold_time if self.radio else 0.0

    @property
    def seconds(self) -> float:
        """Predicted seconds of a transfer."""
        return self.fit.seconds(self.payload.down) + self.cold_time

    @property
    def own_variance(self) -> float:
        """Of a single transfer about it, in s²: of transfers alike, and of the answers' sizes."""
        return self.fit.sd**2 + (self.fit.per_byte * self.payload.sd) ** 2

    @property
    def variance(self) -> float:
        """Of the fitted seconds, in s²."""
        return self.fit.variance(self.payload.down)

    @property
    def bases(self) -> tuple[str, ...]:
        """What the seconds rest on: measured or emulated, and modelled if a radio counts."""
        return (self.fit.basis, *(("modelled",) if self.radio else ()))


@dataclass(frozen=True)
class Site:
    """A ``user`` with a ``device``, and how each place serves them."""

    user: User
    device: DeviceClass
    local: Service
    edge: Service

    def at(self, place: str) -> Service:
        """The service of ``place``, local or edge."""
        return self.local if place == "local" else self.edge


@dataclass(frozen=True)
class Units:
    """Seconds (``time_unit``) and joules (``energy_unit``) that count as 1 in the cost."""

    time_unit: float
    energy_unit: float


def sites(profiles: Profiles, scenario: Scenario) -> list[Site]:
    """How each user of the scenario is served, in their order.

    Raises :class:`InputError` for a prompt class without a profile.
    """
    return [_site(profiles, scenario, user) for user in scenario.users]


def _site(profiles: Profiles, scenario: Scenario, user: User) -> Site:
    device = DEVICES[user.device_class]
    local = _service(
        profiles,
        "local",
        user,
        device.ratio,
        device.basis,
        scenario.watts.get(device.name, device.watts),
    )
    edge = _service(profiles, "edge", user, 1.0, "measured", scenario.edge_watts)
    return Site(user, device, local, replace(edge, way=_way(profiles, scenario, edge)))


def _way(profiles: Profiles, scenario: Scenario, edge: Service) -> Way | None:
    place, weighs = profiles.get("edge"), edge.profile.payload
    if place is None or place.transfer is None or weighs is None:
        return None
    radio = LINKS[scenario.radio].radio if scenario.radio else None
    return Way(place.transfer, weighs, radio)


def _service(
    profiles: Profiles, place: str, user: User, ratio: float, basis: str, modelled: float
) -> Service:
    """``modelled``: the watts that count unless a meter measured this very device."""
    profile = profiles.find(place, user.prompt_class)
    measured = profile.power.watts if basis == "measured" else None
    return Service(
        place=place,
        profile=profile,
        speed_sd=next(entry.speed_sd for entry in profiles.places if entry.place == place),
        ratio=ratio,
        time_basis=basis,
        watts=modelled if measured is None else measured,
        power_basis="modelled" if measured is None else "measured",
    )


def units(profiles: Profiles, scenario: Scenario) -> Units:
    """The scenario's units, "auto" resolved: see :mod:`calibration.scenario.scenario`."""
    return _units(sites(profiles, scenario), scenario)


def _units(served: Sequence[Site], scenario: Scenario) -> Units:
    seconds = [site.local.seconds(scenario.local.max_steps) for site in served]
    joules = [spent * site.local.watts for spent, site in zip(seconds, served, strict=True)]
    return Units(
        _resolved(scenario.time_unit, float(np.mean(seconds))),
        _resolved(scenario.energy_unit, float(np.mean(joules))),
    )


def _resolved(given: float | str, mean: float) -> float:
    """A mean of 0 (of a machine that takes no time, or no power) leaves the unit at 1."""
    return mean or 1.0 if given == "auto" else float(given)


def to_problem(profiles: Profiles, scenario: Scenario) -> Problem:
    """The allocation problem of a scenario on measured profiles.

    Times are the fitted ones, multiplied by the device's ratio at the local place. Error and
    utility are tables from the fitted curves, the error at least 0 and the utility within [0, 1],
    the range of eq. (7). Times and energies stay in seconds and joules: the problem's weights are
    those of the scenario over its units. A class whose utility is left out at a place has a utility
    of 0 with weight 0, and a warning says so. Raises :class:`InputError` for a prompt class without
    profile, and for steps beyond the measured ones, where the curves would be extrapolated.
    """
    served = sites(profiles, scenario)
    unit, weights = _units(served, scenario), scenario.weights
    problem: dict[str, Any] = {
        "schema": "problem/1",
        "users": len(served),
        "edge_budget": scenario.edge_budget,
        "weights": {
            **weights.to_dict(),
            "utility": _utility_weights(served, weights.utility),
            "time": weights.time / unit.time_unit,
            "energy": weights.energy / unit.energy_unit,
        },
        "local": _place([site.local for site in served], scenario.local.max_steps),
        "edge": _place([site.edge for site in served], scenario.edge.max_steps),
        "labels": {
            "prompt_class": [user.prompt_class for user in scenario.users],
            "device_class": [user.device_class for user in scenario.users],
        },
    }
    for name, limit in (("deadline", scenario.deadline), ("max_error", scenario.max_error)):
        if limit is not None:
            problem[name] = limit
    return Problem.from_dict(problem)


def _utility_weights(served: Sequence[Site], weight: float) -> float | list[float]:
    """One weight for all, or one for each user where that of some is 0: their class has no utility
    at one of the places, so that the two cannot be weighed.
    """
    without = {
        site.user.prompt_class
        for site in served
        if any(site.at(place).profile.utility is None for place in PLACES)
    }
    if not without:
        return weight
    warnings.warn(
        f"the utility of prompt class {', '.join(sorted(without))} is left out in the profiles: "
        "its weight in the problem is 0",
        stacklevel=3,
    )
    return [0.0 if site.user.prompt_class in without else weight for site in served]


def _place(services: Sequence[Service], most: int) -> dict[str, Any]:
    """What ``problem/1`` says of one place, with at most ``most`` steps an image."""
    classes = {service.profile.prompt_class: service.profile for service in services}
    errors = {name: _values(profile.error, most, math.inf) for name, profile in classes.items()}
    utilities = {name: _values(profile.utility, most, 1.0) for name, profile in classes.items()}
    times = [(service.profile.time, service.ratio) for service in services]
    names = [service.profile.prompt_class for service in services]
    return {
        "max_steps": most,
        "min_steps": _least_steps(services, most),
        "step_time": [time.step_time * ratio for time, ratio in times],
        "overhead": [
            service.ratio * service.profile.time.overhead
            + (service.way.seconds if service.way else 0.0)
            for service in services
        ],
        "power": [service.watts for service in services],
        "error": {"family": "table", "values": [errors[name] for name in names]},
        "utility": {"family": "table", "values": [utilities[name] for name in names]},
    }


def _values(fit: CurveFit | None, most: int, upper: float) -> list[float]:
    """The curve at 1 to ``most`` steps, within 0 to ``upper``; zeros without one."""
    if fit is None:
        return [0.0] * max(most, 1)
    values, _ = evaluate(fit, np.arange(1, max(most, 1) + 1))
    return np.clip(values, 0.0, upper).tolist()


def _least_steps(services: Sequence[Service], most: int) -> int:
    """The least step count measured for all of them; raises if ``most`` lies beyond the largest."""
    least = 1
    for service in services:
        for fit in filter(None, (service.profile.error, service.profile.utility)):
            grid = [point.steps for point in fit.points]
            if most > max(grid):
                raise InputError(
                    f"scenario: {service.place}.max_steps: found {most}; allowed: at most "
                    f"{max(grid)}, the largest step count measured for "
                    f"{service.place}/{service.profile.prompt_class}"
                )
            least = max(least, min(grid))
    return least
