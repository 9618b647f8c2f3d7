"""The allocation problem of a scenario on measured profiles."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.fitting.curve_fit import CurveFit
from calibration.fitting.prediction import evaluate
from calibration.profiles.profile import Profiles
from calibration.scenario.parts import EdgeSite
from calibration.scenario.risk import UserLimits, allowed_steps, user_limits
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import Service, Site, edges_of, kinds_of, sites, step_limits
from calibration.scenario.splits import problem_splits
from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError
from solver.problem import Problem


@dataclass(frozen=True)
class Units:
    """Seconds (``time_unit``) and joules (``energy_unit``) that count as 1 in the cost."""

    time_unit: float
    energy_unit: float


def units(profiles: Profiles, scenario: Scenario) -> Units:
    """The scenario's units, "auto" resolved: see :mod:`calibration.scenario.scenario`."""
    return _units(sites(profiles, scenario), scenario)


def _units(served: Sequence[Site], scenario: Scenario) -> Units:
    kinds, kind = kinds_of(served)
    seconds = np.array([site.local.seconds(scenario.local.max_steps) for site in kinds])
    joules = seconds * np.array([site.local.watts for site in kinds])
    return Units(
        _resolved(scenario.time_unit, float(np.mean(seconds[kind]))),
        _resolved(scenario.energy_unit, float(np.mean(joules[kind]))),
    )


def _resolved(given: float | str, mean: float) -> float:
    """A mean of 0 (of a machine that takes no time, or no power) leaves the unit at 1."""
    return mean or 1.0 if given == "auto" else float(given)


def to_problem(profiles: Profiles, scenario: Scenario) -> Problem:
    """The allocation problem of a scenario on measured profiles.

    Times are the fitted ones, multiplied by the device's ratio. Error and utility are tables from
    the fitted curves, the error at least 0 and the utility within [0, 1], the range of eq. (7).
    Times and energies stay in seconds and joules: the problem's weights are those of the scenario
    over its units. A class whose utility is left out at a place has a utility of 0 with weight 0,
    and a warning says so, as it does of a radio without a network to the edge. With a ``risk`` each
    user's step limits leave only steps that keep its deadline and error limit with that probability
    (:mod:`calibration.scenario.risk`); the costs stay the expected ones. Splits that were measured,
    and are not dominated, are options too (:mod:`calibration.scenario.splits`), with a risk those
    that keep the user's limits. Raises :class:`InputError` for a prompt class without profile, for
    steps beyond the measured ones, where the curves would be extrapolated, and for a user whose
    limits nothing keeps at the risk.
    """
    served = sites(profiles, scenario)
    kinds, kind = kinds_of(served)
    limits = user_limits(scenario)
    if scenario.radio and all(site.edge.way is None for site in kinds):
        warnings.warn(
            f"scenario: radio: found {scenario.radio!r}, which adds nothing: the edge was measured "
            "without a network; allowed: profiles of an edge behind a url",
            stacklevel=2,
        )
    unit, weights = _units(served, scenario), scenario.weights
    most = step_limits(scenario)
    places = {
        name: _place(name, [site.services[name] for site in kinds], kind, count)
        for name, count in most.items()
    }
    splits = problem_splits(profiles, kinds, kind, limits, most)
    if scenario.risk is not None:
        shared = [split["allowed"] for split in splits.values()]
        _keep_with_risk(places, shared, kinds, kind, limits, scenario)
    problem: dict[str, Any] = {
        "schema": "problem/2",
        "users": len(served),
        "weights": {
            **weights.to_dict(),
            "utility": _utility_weights(kinds, kind, weights.utility),
            "time": weights.time / unit.time_unit,
            "energy": weights.energy / unit.energy_unit,
        },
        "local": places["local"],
        "edges": {edge.name: places[edge.name] | _load(edge) for edge in edges_of(scenario)},
        "labels": {
            "prompt_class": [user.prompt_class for user in scenario.users],
            "device_class": [user.device_class for user in scenario.users],
        },
    }
    if splits:
        problem["splits"] = splits
    for name in ("deadline", "max_error"):
        values = [getattr(limit, name) for limit in limits]
        if any(value is not None for value in values):
            problem[name] = values[0] if len(set(values)) == 1 else values
    return Problem.from_dict(problem)


def _utility_weights(kinds: Sequence[Site], kind: IntArray, weight: float) -> float | FloatArray:
    """One weight for all, or one for each user where that of some is 0: their class has no utility
    at one of the places, so that the two cannot be weighed.
    """
    without = {
        site.user.prompt_class
        for site in kinds
        if any(site.at(place).profile.utility is None for place in ("local", "edge"))
    }
    if not without:
        return weight
    warnings.warn(
        f"the utility of prompt class {', '.join(sorted(without))} is left out in the profiles: "
        "its weight in the problem is 0",
        stacklevel=3,
    )
    own = [0.0 if site.user.prompt_class in without else weight for site in kinds]
    return np.array(own)[kind]


def _load(edge: EdgeSite) -> dict[str, Any]:
    """What ``problem/2`` says of an edge's limits."""
    optional = {"slots": edge.slots, "makespan": edge.makespan and edge.makespan.to_dict()}
    return {"budget": edge.budget} | {
        name: value for name, value in optional.items() if value is not None
    }


def _keep_with_risk(
    places: Mapping[str, dict[str, Any]],
    shared: Sequence[Sequence[Sequence[float]]],
    kinds: Sequence[Site],
    kind: IntArray,
    limits: Sequence[UserLimits],
    scenario: Scenario,
) -> None:
    """Narrow each user's step limits to those that keep its limits at the risk; ``shared``: what
    of splits does.
    """
    alike = list(zip(kind.tolist(), limits, strict=True))
    runs = {}
    for name, place in places.items():
        own = {
            (number, limit): allowed_steps(
                kinds[number].services[name], limit, place["min_steps"], place["max_steps"]
            )
            for number, limit in dict.fromkeys(alike)
        }
        runs[name] = [own[user] for user in alike]
    for user, limit in enumerate(limits):
        alone = any(runs[name][user] for name in places)
        if not alone and not any(any(allowed[user]) for allowed in shared):
            raise InputError(
                f"scenario: risk: found {scenario.risk:g}: no step count at any place keeps the "
                f"limits of user {user} with probability {1 - (limit.risk or 0) * limit.count:.4g}"
            )
    for name, place in places.items():
        # a place without such steps cannot serve the user
        place["min_steps"] = [run[0] if run else 1 for run in runs[name]]
        place["max_steps"] = [run[1] if run else 0 for run in runs[name]]


def _place(name: str, services: Sequence[Service], kind: IntArray, most: int) -> dict[str, Any]:
    """What ``problem/2`` says of one place, with at most ``most`` steps an image.

    ``services`` are those of each kind of users, ``kind``, shape (users,), is that of each user.
    """
    min_steps = _least_steps(name, services, most)  # first: it refuses steps without end
    classes = {service.profile.prompt_class: service.profile for service in services}
    errors = {name: _values(profile.error, most, math.inf) for name, profile in classes.items()}
    utilities = {name: _values(profile.utility, most, 1.0) for name, profile in classes.items()}
    times = [(service.profile.time, service.ratio) for service in services]
    names = [service.profile.prompt_class for service in services]

    def each(values: Sequence[float] | Sequence[FloatArray]) -> FloatArray:
        return np.array(values)[kind]

    place: dict[str, Any] = {
        "max_steps": most,
        "min_steps": min_steps,
        "step_time": each([time.step_time * ratio for time, ratio in times]),
        "overhead": each([time.overhead * ratio for time, ratio in times]),
        "power": each([service.watts for service in services]),
        "error": {"family": "table", "values": each([errors[name] for name in names])},
        "utility": {"family": "table", "values": each([utilities[name] for name in names])},
    }
    for key, values in (
        ("transfer_time", [service.sent for service in services]),
        ("transfer_energy", [service.spent for service in services]),
    ):
        if any(values):
            place[key] = each(values)
    return place


def _values(fit: CurveFit | None, most: int, upper: float) -> FloatArray:
    """The curve at 1 to ``most`` steps, within 0 to ``upper``; zeros without one."""
    if fit is None:
        return np.zeros(max(most, 1))
    values, _ = evaluate(fit, np.arange(1, max(most, 1) + 1))
    return np.clip(values, 0.0, upper)


def _least_steps(name: str, services: Sequence[Service], most: int) -> int:
    """The least step count measured for all of them; raises if ``most`` lies beyond the largest."""
    least = 1
    for service in services:
        for fit in filter(None, (service.profile.error, service.profile.utility)):
            grid = [point.steps for point in fit.points]
            if most > max(grid):
                raise InputError(
                    f"scenario: {name}.max_steps: found {most}; allowed: at most "
                    f"{max(grid)}, the largest step count measured for "
                    f"{service.place}/{service.profile.prompt_class}"
                )
            least = max(least, min(grid))
    return least
