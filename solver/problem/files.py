"""The file formats ``problem/1`` and ``problem/2``.

They are columnar: every value is one number, the same for all users, or a list of ``users``
numbers. A file is ``.json``, or ``.npz`` with dotted names (``local.step_time``).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from solver.columnar import FloatArray, column, fault, fields, whole
from solver.inputs import read_json, write_atomic, write_json
from solver.problem import npz
from solver.problem.load import Load, read_budget
from solver.problem.place import MAX_OPTIONS, TRANSFER, Place, read_min_steps
from solver.problem.split import Split

SCHEMAS = ("problem/1", "problem/2")
WEIGHTS = ("cost", "utility", "time", "error", "energy")
OPTIONAL = ("min_steps", "deadline", "max_error", "labels")
LOAD = ("budget", "step_weight", "slots", "makespan")


def load(path: str | os.PathLike[str]) -> object:
    """What a ``.npz`` or (any other suffix) JSON file holds; raises InputError."""
    return npz.read(path) if Path(path).suffix == ".npz" else read_json(path)


def save(path: str | os.PathLike[str], tree: Mapping[str, object]) -> None:
    """Write a ``.npz`` or (any other suffix) JSON file, atomically."""
    if Path(path).suffix == ".npz":
        write_atomic(path, npz.dumps(tree))
    else:
        write_json(path, plain(tree))


def read(data: object, where: str) -> dict[str, Any]:
    """The fields of a :class:`solver.problem.Problem` from an object; raises InputError."""
    schema = data.get("schema", SCHEMAS[0]) if isinstance(data, dict) else None
    if isinstance(data, dict) and schema not in SCHEMAS:
        raise fault(f"{where}: schema", schema, " or ".join(SCHEMAS))
    if schema == "problem/2":
        own, optional = ["weights", "local", "edges"], [*OPTIONAL, "splits"]
    else:
        own, optional = ["edge_budget", "weights", "local", "edge"], list(OPTIONAL)
    data = fields(where, data, ["schema", "users", *own], optional)
    users = whole(f"{where}: users", data["users"], least=1, most=MAX_OPTIONS)
    weights = fields(f"{where}: weights", data["weights"], WEIGHTS)
    # this min_steps holds for all places, unless a place has its own
    min_steps = read_min_steps(f"{where}: min_steps", data.get("min_steps", 1), users)
    edges = (
        _edges(f"{where}: edges", data["edges"])
        if schema == "problem/2"
        else {"edge": _Edge.version_1(data, where)}
    )
    splits = _named(f"{where}: splits", data.get("splits", {}), ["local", *edges])
    return {
        "users": users,
        "budgets": {name: edge.budget for name, edge in edges.items() if edge.budget is not None},
        "weights": {
            name: column(f"{where}: weights.{name}", weights[name], users) for name in WEIGHTS
        },
        "places": {
            "local": Place.from_dict(data["local"], users, min_steps, f"{where}: local"),
            **{
                name: Place.from_dict(edge.data, users, min_steps, edge.where, edge.others)
                for name, edge in edges.items()
            },
        },
        "loads": {name: edge.load for name, edge in edges.items()},
        "splits": {
            name: Split.from_dict(split, users, list(edges), f"{where}: splits.{name}")
            for name, split in splits.items()
        },
        **{
            name: _limit(f"{where}: {name}", data[name], users, schema)
            for name in ("deadline", "max_error")
            if name in data
        },
        "labels": _labels(f"{where}: labels", data["labels"], users) if "labels" in data else None,
    }


class _Edge(NamedTuple):
    """An edge place before its costs are read; ``budget``: None if it shares another's."""

    where: str
    data: object
    load: Load
    budget: int | None
    others: tuple[str, ...] = ()

    @classmethod
    def version_1(cls, data: Mapping[str, object], where: str) -> "_Edge":
        budget = whole(f"{where}: edge_budget", data["edge_budget"])
        return cls(f"{where}: edge", data["edge"], Load("edge"), budget)


def _edges(where: str, value: object) -> dict[str, _Edge]:
    """The edge places of ``problem/2``; raises InputError."""
    named = _named(where, value, ["local"])
    if not named:
        raise fault(where, value, "at least one place")
    given = {}
    for name, edge in named.items():
        if not isinstance(edge, dict) or "budget" not in edge:
            raise fault(f"{where}.{name}", edge, "an object with budget and the fields of a place")
        given[name] = edge
    owners = [name for name, edge in given.items() if not isinstance(edge["budget"], str)]
    edges = {}
    for name, edge in given.items():
        spot = f"{where}.{name}"
        budget = read_budget(f"{spot}.budget", edge["budget"], owners)
        load = Load.from_dict(edge, budget if isinstance(budget, str) else name, spot)
        own = None if isinstance(budget, str) else budget
        edges[name] = _Edge(spot, edge, load, own, (*LOAD, *TRANSFER))
    return edges


def _named(where: str, value: object, taken: list[str]) -> dict[str, object]:
    """An object whose keys can name places: none is taken, and none has a dot."""
    if not isinstance(value, dict):
        raise fault(where, value, "an object of places by name")
    for name in value:
        if not isinstance(name, str) or not name or "." in name or name in taken:
            raise fault(where, name, f"a name without a dot, and none of {', '.join(taken)}")
    return value


def _limit(where: str, value: object, users: int, schema: object) -> FloatArray:
    """A limit of each user; in ``problem/2`` a list may hold null, or inf in an array: none."""
    # of a list np.ndim would want that its items are alike
    flat = not isinstance(value, np.ndarray) or value.ndim == 1
    if schema == "problem/1" or not isinstance(value, (list, np.ndarray)) or not flat:
        return column(where, value, users)
    none = np.array([item is None or item is np.inf or item == np.inf for item in value])
    given = [0.0 if left_out else item for item, left_out in zip(value, none)]
    return np.where(none, np.inf, column(where, given, users))


def _labels(where: str, value: object, users: int) -> dict[str, list[str]]:
    """``labels`` as lists of ``users`` strings, from lists or from arrays of strings."""
    if not isinstance(value, dict):
        raise fault(where, value, f"an object of lists of {users} strings")
    lists = {
        name: names.tolist() if isinstance(names, np.ndarray) else names
        for name, names in value.items()
    }
    for name, names in lists.items():
        if (
            not isinstance(names, list)
            or len(names) != users
            or not all(isinstance(label, str) for label in names)
        ):
            raise fault(f"{where}.{name}", names, f"a list of {users} strings")
    return lists


def tree(version_1: bool, problem: Mapping[str, Any]) -> dict[str, object]:
    """The object of a problem's fields, with arrays as they are."""
    written = {name: place.tree() for name, place in problem["places"].items()}
    tree: dict[str, object] = {"schema": SCHEMAS[not version_1], "users": problem["users"]}
    if version_1:
        tree |= {"edge_budget": problem["budgets"]["edge"], "weights": problem["weights"]}
        tree |= written
    else:
        edges = {
            name: {"budget": problem["budgets"].get(name, load.budget), **load.tree()}
            | written[name]
            for name, load in problem["loads"].items()
        }
        tree |= {"weights": problem["weights"], "local": written["local"], "edges": edges}
        if problem["splits"]:
            tree["splits"] = {name: split.tree() for name, split in problem["splits"].items()}
    optional = {name: problem[name] for name in ("deadline", "max_error", "labels")}
    return tree | {name: value for name, value in optional.items() if value is not None}


def plain(tree: Mapping[str, object]) -> dict[str, Any]:
    """Arrays to numbers and lists, without the NaN that fill up a table's rows; None for inf."""
    return {key: _plain(item) for key, item in tree.items()}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return plain(value)
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 2 and np.isnan(value).any():
        return [row[~np.isnan(row)].tolist() for row in value]
    if value.ndim == 1 and np.isinf(value).any():
        return [None if item == np.inf else item for item in value.tolist()]
    return value.tolist()
