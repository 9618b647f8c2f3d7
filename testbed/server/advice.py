"""``GET /v1/quote``: what an image would take now, and where it would best be made."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.profiles.profile import Profiles
from calibration.scenario.devices import DEVICES
from calibration.scenario.scenario import Scenario
from calibration.scenario.worth import Worth
from calibration.statistics import Z95
from solver.inputs import InputError, check_keys
from testbed.server.admission import Wish
from testbed.server.forecast import Forecast
from testbed.server.protocol import Refused

if TYPE_CHECKING:
    from testbed.server.service import Service

_ASKED = ("prompt_class", "device_class", "deadline", "max_error")


def advise(service: "Service", asked: Mapping[str, str]) -> dict[str, Any]:
    """The answer to a quote that was ``asked`` for by a query.

    Raises :class:`InputError`, naming the parameter.
    """
    check_keys("query", asked, _ASKED)
    device = asked.get("device_class")
    if device is not None:
        check_keys("device_class", [device], DEVICES)
    wish = Wish(
        deadline=_number(asked, "deadline"),
        max_error=_number(asked, "max_error"),
        prompt_class=asked.get("prompt_class"),
    )
    opened, admission, queue = service.opened, service.admission, service.queue()
    why, auto, edge = "", None, None
    try:
        edge, state = admission.feasible(wish)
        auto = admission.choose(edge, state, only_asked=True)
    except Refused as refused:
        why = f"The edge refuses: {refused.message}."
    local = None
    if device is not None and opened.profiles and opened.compares:
        local = local_tables(opened.profiles, opened.scenario, device, wish)
    place, said = _place(edge, auto, local, device)
    return {
        "model": opened.name,
        "time": time.time(),
        "running": queue.running,
        "waiting": queue.waiting,
        "left": sum(queue.remaining),
        "pace": service.engine.pace,
        "cap": queue.cap,
        "queue_limit": admission.queue,
        "arrival_rate": queue.arrival_rate,
        "price": service.price,
        "policy": admission.policy,
        "edge": edge and edge.to_dict(),
        "local": local and local.to_dict(),
        "auto": auto,
        "place": place,
        "why": " ".join(part for part in (why, said) if part),
    }


def local_tables(profiles: Profiles, scenario: Scenario, device_class: str, wish: Wish) -> Forecast:
    """What a device of that class would take alone: measured times times its published ratio."""
    device, place = DEVICES[device_class], profiles.get("local")
    assert place is not None, "asked for only where it was measured"
    worth = Worth.of(scenario, profiles, "local")
    worth = replace(worth, watts=scenario.watts.get(device.name, device.watts))
    classes = [place.find(wish.prompt_class)] if wish.prompt_class else list(place.classes)
    steps, seconds = worth.steps, np.zeros(len(worth.steps))
    overhead, step_time = (
        device.ratio * float(np.mean([getattr(c.time, name) for c in classes]))
        for name in ("overhead", "step_time")
    )
    seconds += overhead + step_time * steps
    half = Z95 * float(np.mean([c.time.relative_sd for c in classes]))
    energy = worth.watts * seconds
    error, utility = worth.curves(wish.prompt_class, steps)
    kind, nobody = np.full(len(steps), worth.kind(wish.prompt_class)), np.zeros(len(steps))
    cost = worth.tables(scenario.weights).cost(kind, True, steps, seconds, seconds)
    low, high = seconds * np.exp(-half), seconds * np.exp(half)
    rows = Forecast(steps, seconds, low, high, energy, error, utility, cost, nobody, nobody)
    good = np.ones(len(steps), bool)
    deadline, max_error = wish.limits(scenario)
    if deadline is not None:
        good &= high <= deadline
    if max_error is not None and error is not None:
        good &= error <= max_error
    return rows.where(good)


def _place(
    edge: Forecast | None, auto: int | None, local: Forecast | None, device: str | None
) -> tuple[str | None, str]:
    """Where the cost is least, and why, in a sentence."""
    if local is not None and len(local.steps):
        at = int(np.argmin(local.cost))
        here = f"{local.steps[at]} steps on a {device} take {local.seconds[at]:.2f} s"
    else:
        at, here = -1, ""
    if edge is None or auto is None:
        return ("local", f"{here}.") if here else (None, "")
    row = int(np.flatnonzero(edge.steps == auto)[0])
    said = f"{auto} steps on the edge take {edge.seconds[row]:.2f} s"
    if local is None or at < 0:
        return "edge", f"{said}."
    cost = edge.cost[row] + edge.price[row]
    costs = f"cost {cost:.3f} against {local.cost[at]:.3f}, the network left out"
    return ("edge" if cost <= local.cost[at] else "local"), f"{said}, {here}: {costs}."


def _number(asked: Mapping[str, str], name: str) -> float | None:
    if name not in asked:
        return None
    try:
        value = float(asked[name])
    except ValueError:
        value = -1.0
    if not 0 < value < np.inf:
        raise InputError(f"{name}: found {asked[name][:40]!r}; allowed: a number above 0")
    return value
