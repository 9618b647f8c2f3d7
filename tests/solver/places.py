"""Random problems with several places and limits, and their optimum read from the file alone."""

import functools
import math

import numpy as np

FIELDS = ("time", "energy", "error", "utility")


def random_places(seed, users=4, edges=2, whole=False, **features):
    """A ``problem/2`` object whose costs are drawn, small enough to enumerate.

    ``features``: ``tier``, ``slots``, ``makespan``, ``split`` and what is ``allowed`` of it,
    ``transfer`` and ``limits``; drawn where not given. ``whole``: errors are small whole numbers,
    so that many choices tie.
    """
    rng = np.random.default_rng(seed)
    has = {
        name: features.get(name, bool(rng.integers(2)))
        for name in ("tier", "slots", "makespan", "split", "transfer", "limits")
    }

    def table(count):
        values = rng.integers(0, 5, (users, count)) if whole else rng.random((users, count))
        return {"family": "table", "values": values.astype(float).tolist()}

    def place(most):
        return {
            "max_steps": [int(step) for step in rng.integers(0, most + 1, users)],
            "step_time": rng.uniform(0.1, 1, users).round(3).tolist(),
            "overhead": 0.25,
            "power": rng.uniform(0.5, 2, users).round(3).tolist(),
            "error": table(most),
            "utility": table(most),
        }

    local = place(2)
    local["max_steps"] = [max(1, step) if rng.random() < 0.9 else 0 for step in local["max_steps"]]
    data = {
        "schema": "problem/2",
        "users": users,
        "weights": {"cost": 1.0, "utility": 1.0, "time": 0.1, "error": 1.0, "energy": 0.05},
        "local": local,
        "edges": {},
    }
    if whole:
        data["weights"] |= {"time": 0.0, "energy": 0.0}
    for name in ("edge", "cloud", "far")[:edges]:
        data["edges"][name] = place(3) | {"budget": int(rng.integers(0, 2 * users))}
    if has["tier"]:
        data["edges"]["large"] = place(3) | {
            "budget": "edge",
            "step_weight": int(rng.integers(2, 4)),
        }
    if has["slots"]:
        data["edges"]["edge"]["slots"] = int(rng.integers(0, users))
    if has["makespan"]:
        name = str(rng.choice(list(data["edges"])))
        data["edges"][name]["makespan"] = {
            "per_step": float(rng.choice([0.0, 0.5, 1.0])),
            "per_longest_step": float(rng.choice([0.0, 0.7, 2.0])),
            "limit": float(rng.uniform(0, 2 * users)),
        }
    if has["split"]:
        pairs = [(2, 1), (3, 1), (3, 2)]
        data["splits"] = {
            "shared": {
                "edge": str(rng.choice(list(data["edges"]))),
                "first": "local",
                "steps": [steps for steps, _ in pairs],
                "edge_steps": [steps for _, steps in pairs],
                **{name: table(len(pairs))["values"] for name in FIELDS},
            }
        }
        other = np.random.default_rng([seed, 1])
        if features.get("allowed", bool(other.integers(2))):
            allowed = other.integers(0, 2, (users, len(pairs)))
            data["splits"]["shared"]["allowed"] = allowed.tolist()
    if has["transfer"]:
        for edge in data["edges"].values():
            edge["transfer_time"] = rng.uniform(0, 0.5, users).round(3).tolist()
            edge["transfer_energy"] = 0.1
    if has["limits"]:
        data["deadline"] = [None if rng.random() < 0.3 else 2.0 for _ in range(users)]
        data["max_error"] = 4.0 if whole else 0.9
    return data


def options_of(data, user):
    """(place, edge place or None, steps, edge steps, cost) of all that a user may do."""
    weights = data["weights"]

    def own(value):
        return value[user] if isinstance(value, list) else value

    def add(name, edge, steps, on_edge, time, energy, error, utility):
        if time <= (own(data.get("deadline")) or math.inf) and error <= (
            own(data.get("max_error")) or math.inf
        ):
            spent = weights["time"] * time + weights["energy"] * energy + weights["error"] * error
            options.append(
                (name, edge, steps, on_edge, weights["cost"] * spent - weights["utility"] * utility)
            )

    options = []
    for name, place in {"local": data["local"], **data["edges"]}.items():
        for steps in range(own(place.get("min_steps", 1)), own(place["max_steps"]) + 1):
            busy = own(place["overhead"]) + steps * own(place["step_time"])
            error, utility = (place[key]["values"][user][steps - 1] for key in ("error", "utility"))
            time = busy + own(place.get("transfer_time", 0))
            energy = own(place["power"]) * busy + own(place.get("transfer_energy", 0))
            edge = None if name == "local" else name
            add(name, edge, steps, steps if edge else 0, time, energy, error, utility)
    for name, split in data.get("splits", {}).items():
        for index, (steps, on_edge) in enumerate(zip(split["steps"], split["edge_steps"])):
            most = own(data["edges"][split["edge"]]["max_steps"]), own(data["local"]["max_steps"])
            fits = on_edge <= most[0] and steps - on_edge <= most[1]
            if split["allowed"][user][index] if "allowed" in split else fits:
                values = (split[key][user][index] for key in FIELDS)
                add(name, split["edge"], steps, on_edge, *values)
    return options


def is_kept(data, choice):
    """Whether the options of all users together keep every limit."""
    for name, edge in data["edges"].items():
        own = [on_edge for _, place, _, on_edge, _ in choice if place == name]
        span = edge.get("makespan")
        if len(own) > edge.get("slots", math.inf) or (
            span
            and span["per_step"] * sum(own) + span["per_longest_step"] * max(own, default=0)
            > span["limit"] * (1 + 1e-12)
        ):
            return False
        if not isinstance(edge["budget"], str):
            weighed = sum(
                on_edge * data["edges"][place].get("step_weight", 1)
                for _, place, _, on_edge, _ in choice
                if place and name in (place, data["edges"][place]["budget"])
            )
            if weighed > edge["budget"]:
                return False
    return True


def enumerated(data):
    """The least cost of all choices that keep every limit; None if there is none."""
    every = [options_of(data, user) for user in range(data["users"])]
    if not all(every):
        return None
    cost = functools.reduce(np.add.outer, [[option[-1] for option in own] for own in every])
    for index in np.argsort(cost, axis=None):
        numbers = np.unravel_index(index, cost.shape)
        choice = [own[number] for own, number in zip(every, numbers, strict=True)]
        if is_kept(data, choice):  # the first, as the cheapest come first
            return math.fsum(option[-1] for option in choice)
    return None
