"""Who asks, of which edge, and the statistics that the parts share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import Scenario, load_profiles
from calibration.arrivals import draw
from calibration.statistics import t_quantile
from testbed.stages.online.simulate import World

PROFILES = Path(__file__).parents[2] / "docs" / "profiles.json"
#: A process of arrivals, and a load in units of the edge's capacity.
Cell = tuple[str, float]
LOADS, PROCESSES = (0.25, 0.5, 1.0, 2.0, 4.0), ("poisson", "bursts")
#: Differences of the gain, as a share of the most possible, below which two policies are equal.
EQUAL = 0.002
#: Kinds that ask for a stored budget: two prompt classes on eight devices are 16, less one.
KINDS = 15
_TUNED = 100  # streams of smaller seeds were looked at while prices and quotes were tuned


def world(devices: Sequence[str] | None = None) -> World:
    """Everyone of the measured classes on each of the devices (None: the scenario's default)."""
    profiles = load_profiles(PROFILES)
    shares: dict[str, Any] = {"prompt_classes": dict.fromkeys(sorted(profiles.classes()), 1)}
    if devices is not None:
        shares["users"] = [
            {"prompt_class": name, "device_class": device}
            for name in shares["prompt_classes"]
            for device in devices
        ][:KINDS]
    return World.of(profiles, Scenario.from_dict(shares))


def held_back(seeds: int) -> range:
    """So many seeds of streams that nothing was tuned on."""
    return range(_TUNED, _TUNED + seeds)


def requests_of(
    place: World, cell: Cell, count: int, seed: int
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Kinds and arrival times, s, of ``count`` requests; the kinds are the same at every load."""
    process, load = cell
    times = draw(process, load * place.capacity, count, seed).times
    kind = np.random.default_rng([seed, 1]).choice(len(place.shares), count, p=place.shares)
    return kind, times


def interval(values: Sequence[float]) -> dict[str, float]:
    """The mean of values, one for each seed, and its 95 % interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"value": mean, "low": mean, "high": mean}
    half = t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"value": mean, "low": mean - half, "high": mean + half}
