"""A scenario: who asks for what on which device, and what counts. Profiles and a scenario make a
problem.

A scenario is a TOML file (or the ``[scenario]`` table of a run's configuration); every key is
optional::

    users = 30                  # UEs; or, one by one: [[users]] prompt_class = "...", device_class = "..."
    seed = 0                    # of the assignment of prompt classes and devices to UEs
    edge_budget = 180           # steps that the edge serves in all, eq. (1); default 6 per UE
    time_unit = "auto"          # seconds that count as 1 in the cost; see below
    energy_unit = "auto"        # joules that count as 1 in the cost
    edge_watts = 20.0           # the edge's power while computing, where no meter measured it (modelled)
    deadline = 2.0              # seconds for each image; default none
    max_error = 0.5             # largest error of an image; default none

    [local]
    max_steps = 16              # S_{n,0}^max of eq. (2)
    [edge]
    max_steps = 32              # S_{n,1}^max

    [prompt_classes]            # shares of the UEs, any positive scale
    object = 1
    scene = 1
    relation = 1
    [device_classes]            # shares of the UEs; names and ratios: calibration.scenario.devices
    snapdragon-8-elite-gen-5 = 1
    snapdragon-8-elite = 1
    snapdragon-8-gen-3 = 1
    snapdragon-x-elite = 1
    snapdragon-7-gen-4 = 1
    [watts]                     # modelled power of device classes, in place of the published bounds
    snapdragon-8-gen-3 = 8.0

    [weights]                   # w1, w2 and c1, c2, c3 of eq. (8), all >= 0
    cost = 0.5
    utility = 0.5
    time = 0.2
    error = 0.6
    energy = 0.2

The cost adds seconds, joules and an error that has no unit, so seconds and joules are first divided
by ``time_unit`` and ``energy_unit``. ``"auto"`` is the mean over the UEs of serving them locally
with the local ``max_steps``: one unit is a typical local request, whatever the machine, and the
weights compare like with like. The problem's own weights are the weights over the units, so that
its times and energies stay in s and J.
"""

import dataclasses
import math
import random
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibration.checks import number, table, whole
from calibration.fitting.fit import curve
from calibration.profiles.build import find
from calibration.scenario.devices import DEVICES
from solver.inputs import InputError, check_keys, read_json

SCHEMA = "scenario/1"
WEIGHTS = {"cost": 0.5, "utility": 0.5, "time": 0.2, "error": 0.6, "energy": 0.2}
MAX_STEPS = {"local": 16, "edge": 32}
CLASSES = ("object", "scene", "relation")
STEPS_PER_USER = 6  # default edge budget
PHONES = (
    "snapdragon-8-elite-gen-5",
    "snapdragon-8-elite",
    "snapdragon-8-gen-3",
    "snapdragon-x-elite",
    "snapdragon-7-gen-4",
)


@dataclass(frozen=True)
class Scenario:
    """A resolved scenario: the settings above, and ``users`` as a list of {user, prompt_class,
    device_class}.
    """

    users: list
    edge_budget: int
    local: dict
    edge: dict
    weights: dict
    seed: int = 0
    time_unit: float | str = "auto"
    energy_unit: float | str = "auto"
    edge_watts: float = 20.0
    deadline: float | None = None
    max_error: float | None = None
    prompt_classes: dict = field(default_factory=lambda: dict.fromkeys(CLASSES, 1))
    device_classes: dict = field(default_factory=lambda: dict.fromkeys(PHONES, 1))
    watts: dict = field(default_factory=dict)

    @classmethod
    def load(cls, path, classes=None):
        """Read a scenario from TOML, or from the JSON that :meth:`to_dict` gives; raises
        :class:`InputError`.

        ``classes``: those that there are profiles of; where the file does not say, equally many
        users ask for each, if the default is not among them.
        """
        path = Path(path)
        shares = (
            {}
            if classes is None or classes >= set(CLASSES)
            else {"prompt_classes": dict.fromkeys(sorted(classes), 1)}
        )
        if path.suffix == ".json":
            return cls.from_dict(read_json(path), str(path))
        try:
            return cls.from_dict(
                shares | tomllib.loads(path.read_text(encoding="utf-8")), str(path)
            )
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path}: not a readable TOML file: {error}") from None

    @classmethod
    def from_dict(cls, values, where="scenario"):
        """Resolve settings: defaults filled in, UEs drawn. Raises :class:`InputError` naming
        ``where`` and the key.
        """
        values = {key: value for key, value in table(where, values).items() if value is not None}
        schema = values.pop("schema", SCHEMA)
        if schema != SCHEMA:
            raise InputError(f"{where}: schema: found {schema!r}; allowed: '{SCHEMA}'")
        check_keys(where, values, [one.name for one in dataclasses.fields(cls)])
        if "device_classes" in values:
            _shares(f"{where}: device_classes", values["device_classes"], DEVICES)
        if "prompt_classes" in values:
            _shares(f"{where}: prompt_classes", values["prompt_classes"], None)
        for place in ("local", "edge"):
            values[place] = {
                "max_steps": MAX_STEPS[place],
                **table(f"{where}: {place}", values.get(place, {}), ("max_steps",)),
            }
            whole(f"{where}: {place}.max_steps", values[place]["max_steps"], 0)
        for name, value in table(f"{where}: watts", values.get("watts", {}), DEVICES).items():
            number(f"{where}: watts.{name}", value, least=0.0)
        for name, value in table(f"{where}: weights", values.get("weights", {}), WEIGHTS).items():
            number(f"{where}: weights.{name}", value, least=0.0)
        values["weights"] = {**WEIGHTS, **values.get("weights", {})}
        for name in ("time_unit", "energy_unit"):
            if values.get(name, "auto") != "auto":
                number(f"{where}: {name}", values[name], above=0.0, also=", or 'auto'")
        for name in ("deadline", "max_error"):
            if name in values:
                number(f"{where}: {name}", values[name], above=0.0)
        number(f"{where}: edge_watts", values.get("edge_watts", 20.0), least=0.0)
        whole(f"{where}: seed", values.get("seed", 0), 0)
        whole(f"{where}: edge_budget", values.get("edge_budget", 0), 0)

        scenario = cls(**{"edge_budget": 0, **values, "users": []})
        users = _users(f"{where}: users", values.get("users", 30), scenario)
        return dataclasses.replace(
            scenario,
            users=users,
            edge_budget=values.get("edge_budget", STEPS_PER_USER * len(users)),
        )

    def to_dict(self):
        """The resolved settings and users, as ``scenario.json`` holds them; :meth:`from_dict` takes
        them back.
        """
        return {"schema": SCHEMA, **dataclasses.asdict(self)}


def sites(profiles, scenario):
    """Per UE, what its two places are made of and on what ground: a list of dicts.

    ``local``, ``edge``: the profiles. ``ratio``: local seconds over measured ones, ``time_basis``
    (measured or emulated) and ``time_source``. ``local_watts``, ``edge_watts`` with
    ``local_power_basis``, ``edge_power_basis``: measured where a meter measured this very device,
    else modelled. Raises :class:`InputError` for a class without profile.
    """
    found = []
    for user in scenario.users:
        local, edge = (find(profiles, place, user["prompt_class"]) for place in ("local", "edge"))
        device = DEVICES[user["device_class"]]
        metered = device.basis == "measured" and local["power"]["watts"] is not None
        edge_metered = edge["power"]["watts"] is not None
        found.append(
            {
                **user,
                "local": local,
                "edge": edge,
                "ratio": device.ratio,
                "time_basis": device.basis,
                "time_source": device.source,
                "local_watts": local["power"]["watts"]
                if metered
                else scenario.watts.get(device.name, device.watts),
                "local_power_basis": "measured" if metered else "modelled",
                "edge_watts": edge["power"]["watts"] if edge_metered else scenario.edge_watts,
                "edge_power_basis": "measured" if edge_metered else "modelled",
            }
        )
    return found


def units(profiles, scenario):
    """``{"time_unit": s, "energy_unit": J}``, "auto" resolved."""
    seconds, joules = [], []
    for site in sites(profiles, scenario):
        time = site["local"]["time"]
        seconds.append(
            site["ratio"] * (time["overhead"] + time["step_time"] * scenario.local["max_steps"])
        )
        joules.append(seconds[-1] * site["local_watts"])
    auto = {"time_unit": float(np.mean(seconds)), "energy_unit": float(np.mean(joules))}
    given = {"time_unit": scenario.time_unit, "energy_unit": scenario.energy_unit}
    # Nothing to compare with (a machine that takes no time, or no power): leave seconds and joules
    # as they are.
    return {
        name: float(value) if value != "auto" else auto[name] or 1.0
        for name, value in given.items()
    }


def to_problem(profiles, scenario):
    """The allocation problem (``problem/1``) of a scenario on measured profiles.

    Times are the fitted ones, locally times the device's ratio; error and utility are tables per UE
    from the chosen curves, error kept >= 0 and utility within [0, 1], the range of eq. (7). Raises
    :class:`InputError` for a prompt class without profile, and for steps beyond the measured grid,
    where the curves would be extrapolated.
    """
    found, unit = sites(profiles, scenario), units(profiles, scenario)
    weights = dict(scenario.weights)
    weights["time"] /= unit["time_unit"]
    weights["energy"] /= unit["energy_unit"]
    problem = {
        "schema": "problem/1",
        "users": len(scenario.users),
        "edge_budget": scenario.edge_budget,
        "weights": weights,
    }
    for place, limit in (
        ("local", scenario.local["max_steps"]),
        ("edge", scenario.edge["max_steps"]),
    ):
        scale = [site["ratio"] if place == "local" else 1.0 for site in found]
        first = _within_grid(place, limit, [site[place] for site in found])
        problem[place] = {
            "max_steps": limit,
            **({"min_steps": first} if first > 1 else {}),
            "step_time": [
                site[place]["time"]["step_time"] * ratio
                for site, ratio in zip(found, scale, strict=True)
            ],
            "overhead": [
                site[place]["time"]["overhead"] * ratio
                for site, ratio in zip(found, scale, strict=True)
            ],
            "power": [site[f"{place}_watts"] for site in found],
            "error": _tables(found, place, "error", limit, 0.0, math.inf),
            "utility": _tables(found, place, "utility", limit, 0.0, 1.0),
        }
    for name in ("deadline", "max_error"):
        if getattr(scenario, name) is not None:
            problem[name] = getattr(scenario, name)
    problem["labels"] = {
        name: [user[name] for user in scenario.users] for name in ("prompt_class", "device_class")
    }
    return problem


def _within_grid(place, limit, entries):
    """The least measured step count; raises if ``limit`` is beyond the largest."""
    first = 1
    for entry in entries:
        for name in ("error", "utility"):
            grid = [point["steps"] for point in entry[name]["points"]]
            if limit > max(grid):
                raise InputError(
                    f"scenario: {place}.max_steps: found {limit}; allowed: at most {max(grid)}, the largest step count "
                    f"measured for {place}/{entry['prompt_class']}"
                )
            first = max(first, min(grid))
    return first


def _tables(found, place, name, limit, low, high):
    values = {}
    for site in found:
        key = site["prompt_class"]
        if key not in values:
            values[key] = np.clip(
                curve(site[place][name], np.arange(1, max(limit, 1) + 1))[0], low, high
            ).tolist()
    return {"family": "table", "values": [values[site["prompt_class"]] for site in found]}


def _users(where, given, scenario):
    """``given`` (a number, or a list with the classes of each) as a list of {user, prompt_class,
    device_class}.
    """
    if isinstance(given, list):
        if not given:
            raise InputError(f"{where}: found none; allowed: at least one")
        for index, user in enumerate(given):
            table(f"{where}[{index}]", user, ("user", "prompt_class", "device_class"))
            for name in ("prompt_class", "device_class"):
                if not isinstance(user.get(name), str):
                    raise InputError(
                        f"{where}[{index}]: {name}: found {user.get(name)!r}; allowed: a name"
                    )
            check_keys(f"{where}[{index}]: device_class", [user["device_class"]], DEVICES)
            if user.get("user", index) != index:
                raise InputError(
                    f"{where}[{index}]: user: found {user['user']!r}; allowed: {index}, its place in the list"
                )
        return [
            {"user": n, "prompt_class": user["prompt_class"], "device_class": user["device_class"]}
            for n, user in enumerate(given)
        ]
    whole(where, given, 1)
    prompts = _assign(scenario.prompt_classes, given, f"{scenario.seed}/prompt class")
    devices = _assign(scenario.device_classes, given, f"{scenario.seed}/device class")
    return [
        {"user": n, "prompt_class": p, "device_class": d}
        for n, (p, d) in enumerate(zip(prompts, devices, strict=True))
    ]


def _assign(shares, count, seed):
    """A list of ``count`` names in the shares' proportions (largest remainders), in an order drawn
    from ``seed``.

    Sorted by ``random()`` values of a generator seeded with a string: the one stream that Python
    keeps stable.
    """
    total = sum(shares.values())
    exact = {name: count * share / total for name, share in shares.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    for name in sorted(shares, key=lambda name: counts[name] - exact[name])[
        : count - sum(counts.values())
    ]:
        counts[name] += 1
    names = [name for name, times in counts.items() for _ in range(times)]
    draw = random.Random(seed)
    return [
        name
        for _, _, name in sorted((draw.random(), index, name) for index, name in enumerate(names))
    ]


def _shares(where, value, allowed):
    if not table(where, value, allowed):
        raise InputError(f"{where}: found none; allowed: names and their shares, at least one")
    for name, share in value.items():
        number(f"{where}.{name}", share, above=0.0)
