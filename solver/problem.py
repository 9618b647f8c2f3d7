"""P1, eq. (8)-(9), as data: N UEs, two places, one edge budget, and a cost for every place and step
count.

The file format is ``problem/1``: columnar, every value one number (all UEs alike) or a list of
``users`` numbers; as ``.json``, or as ``.npz`` under dotted names (``local.step_time``,
``edge.error.values``).
"""

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from solver.columnar import column, fault, fields, table, word
from solver.inputs import InputError, read_json, write_atomic, write_json

SCHEMA = "problem/1"
PLACES = ("local", "edge")  # PLACES[a_n] is where UE n computes
WEIGHTS = ("cost", "utility", "time", "error", "energy")  # w1, w2, c1, c2, c3

#: Largest users x max_steps: a cost table of 0.4 GB.
MAX_OPTIONS = 50_000_000


def _exp(exponent):
    """exp in place: fresh memory takes longer than the function."""
    return np.exp(exponent, out=exponent)


#: family -> (parameters, curve); every argument broadcasts against the steps s = 1, 2, ...
ERROR_FAMILIES = {
    "exponential": (
        ("scale", "decay"),
        lambda s, scale, decay: scale * _exp(-decay * s),
    ),  # eq. (4)
    "exponential_floor": (
        ("scale", "decay", "floor"),
        lambda s, scale, decay, floor: scale * _exp(-decay * s) + floor,
    ),
    "power_floor": (
        ("scale", "exponent", "floor"),
        lambda s, scale, exponent, floor: scale * s**-exponent + floor,
    ),
}
UTILITY_FAMILIES = {"saturating": (("rate",), lambda s, rate: -np.expm1(-rate * s))}  # eq. (7)
POSITIVE = {"decay", "exponent", "rate"}  # C1, C2 > 0; the other parameters may be 0


@dataclass(frozen=True, eq=False)
class Curve:
    """Error or utility against steps: a named family, or a table.

    ``parameters`` holds one array of shape () or (users,) for each parameter; for a table only
    ``values``, shape (width,) or (users, width), NaN where a UE's row has ended.
    """

    family: str
    parameters: dict

    @classmethod
    def read(cls, where, data, families, users, max_steps, least):
        if not isinstance(data, dict) or "family" not in data:
            raise fault(where, data, f"an object with a family: {', '.join(families)} or table")
        family = word(f"{where}.family", data["family"], [*families, "table"])
        names = ("values",) if family == "table" else families[family][0]
        fields(where, data, ["family", *names])
        if family == "table":
            return cls(
                family,
                {"values": table(f"{where}.values", data["values"], users, max_steps, least)},
            )
        return cls(
            family,
            {
                name: column(f"{where}.{name}", data[name], users, above=name in POSITIVE)
                for name in names
            },
        )

    def part(self, rows):
        """The curve of the UEs ``rows``, an index array or a slice."""
        own = self.own()
        return Curve(
            self.family,
            {
                name: value[rows] if name in own else value
                for name, value in self.parameters.items()
            },
        )

    def own(self):
        """The parameters that have a row for each UE."""
        return {
            name: value
            for name, value in self.parameters.items()
            if value.ndim == (2 if self.family == "table" else 1)
        }

    def at(self, steps):
        """The curve at ``steps``: 1, 2, ..., or an integer array of shape (users, k). Broadcasts to
        (users, steps) or (users, k).
        """
        if self.family == "table":
            values = self.parameters["values"]
            if steps.ndim == 1:
                return values[..., : len(steps)]
            return np.take_along_axis(
                np.broadcast_to(values, (len(steps), values.shape[-1])), steps - 1, axis=1
            )
        form = (ERROR_FAMILIES | UTILITY_FAMILIES)[self.family][1]
        return form(
            steps.astype(float),
            **{name: value[..., None] for name, value in self.parameters.items()},
        )


@dataclass(frozen=True, eq=False)
class Place:
    """What one location costs each UE; arrays of shape () or (users,).

    ``max_steps`` S_{n,r}^max (0: cannot serve), ``min_steps``, ``step_time`` and ``overhead`` in s,
    ``power`` in W.
    """

    max_steps: np.ndarray
    min_steps: np.ndarray
    step_time: np.ndarray
    overhead: np.ndarray
    power: np.ndarray
    error: Curve
    utility: Curve

    @classmethod
    def read(cls, where, data, users, min_steps):
        if (
            isinstance(data, dict)
            and "power" not in data
            and {"coefficient", "frequency"} & set(data)
        ):
            # the paper's k and f may stand directly in the place of `power`, or be its value
            split = {key: data[key] for key in data if key in ("coefficient", "frequency")}
            data = {key: data[key] for key in data if key not in split} | {"power": split}
        fields(
            where,
            data,
            ["max_steps", "step_time", "overhead", "power", "error", "utility"],
            ["min_steps"],
        )
        power = data["power"]
        if isinstance(power, dict):  # eqs. (5), (6): k f^3
            fields(f"{where}.power", power, ["coefficient", "frequency"])
            k, f = (
                column(f"{where}.power.{name}", power[name], users)
                for name in ("coefficient", "frequency")
            )
            with np.errstate(over="ignore"):  # an infinite power is refused below
                power = k * f**3
        max_steps = column(
            f"{where}.max_steps", data["max_steps"], users, integer=True, most=MAX_OPTIONS // users
        ).astype(np.int64)
        if "min_steps" in data:
            min_steps = column(
                f"{where}.min_steps",
                data["min_steps"],
                users,
                integer=True,
                least=1,
                most=MAX_OPTIONS,
            )
        return cls(
            max_steps=max_steps,
            min_steps=min_steps.astype(np.int64),
            step_time=column(f"{where}.step_time", data["step_time"], users),
            overhead=column(f"{where}.overhead", data["overhead"], users),
            power=column(f"{where}.power", power, users),
            error=Curve.read(
                f"{where}.error", data["error"], ERROR_FAMILIES, users, max_steps, least=0
            ),
            utility=Curve.read(
                f"{where}.utility", data["utility"], UTILITY_FAMILIES, users, max_steps, least=None
            ),
        )

    def part(self, rows):
        """The place as the UEs ``rows`` see it, an index array or a slice."""
        return Place(
            **{name: _part(getattr(self, name), rows) for name in self.__dataclass_fields__}
        )

    def tree(self):
        tree = {
            name: getattr(self, name)
            for name in ("max_steps", "min_steps", "step_time", "overhead", "power")
        }
        if (self.min_steps == 1).all():
            del tree["min_steps"]
        return tree | {
            kind: {"family": getattr(self, kind).family} | getattr(self, kind).parameters
            for kind in ("error", "utility")
        }


@dataclass(frozen=True, eq=False)
class Problem:
    """P1, eq. (8)-(9). ``edge_budget`` is S_e^max of (1); ``weights`` maps :data:`WEIGHTS` to
    arrays of shape () or (users,).

    ``deadline`` (s) and ``max_error`` are None, or arrays of shape () or (users,). ``labels`` is
    None, or what the users are called by whoever made the problem: name -> a list of ``users``
    strings; no solver looks at it. ``where`` names the source in messages.
    """

    users: int
    edge_budget: int
    weights: dict
    local: Place
    edge: Place
    deadline: np.ndarray | None = None
    max_error: np.ndarray | None = None
    labels: dict | None = None
    where: str = "problem"

    @classmethod
    def from_dict(cls, data, where="problem"):
        """Read a ``problem/1`` object. Raises InputError, one line, for whatever the format does
        not allow.
        """
        limits = ["min_steps", "deadline", "max_error"]
        fields(
            where,
            data,
            ["schema", "users", "edge_budget", "weights", "local", "edge"],
            [*limits, "labels"],
        )
        if data["schema"] != SCHEMA:
            raise fault(f"{where}: schema", data["schema"], SCHEMA)
        users = int(
            column(f"{where}: users", data["users"], integer=True, least=1, most=MAX_OPTIONS)
        )
        column(f"{where}: edge_budget", data["edge_budget"], integer=True)
        fields(f"{where}: weights", data["weights"], WEIGHTS)
        # a min_steps beside deadline and max_error holds for both places, unless a place has its
        # own
        min_steps = column(
            f"{where}: min_steps",
            data.get("min_steps", 1),
            users,
            integer=True,
            least=1,
            most=MAX_OPTIONS,
        )
        return cls(
            users=users,
            edge_budget=int(data["edge_budget"]),
            weights={
                name: column(f"{where}: weights.{name}", data["weights"][name], users)
                for name in WEIGHTS
            },
            local=Place.read(f"{where}: local", data["local"], users, min_steps),
            edge=Place.read(f"{where}: edge", data["edge"], users, min_steps),
            **{
                name: column(f"{where}: {name}", data[name], users)
                for name in limits[1:]
                if name in data
            },
            labels=_labels(f"{where}: labels", data["labels"], users) if "labels" in data else None,
            where=str(where),
        )

    @classmethod
    def load(cls, path):
        """Read a ``.npz`` or (any other suffix) JSON file."""
        read = _read_npz if Path(path).suffix == ".npz" else read_json
        return cls.from_dict(read(path), where=str(path))

    def save(self, path):
        """Write a ``.npz`` or (any other suffix) JSON file, atomically."""
        if Path(path).suffix == ".npz":
            buffer = io.BytesIO()
            np.savez(buffer, **_flatten(self._tree()))
            write_atomic(path, buffer.getvalue())
        else:
            write_json(path, self.to_dict())

    def to_dict(self):
        """The ``problem/1`` object; k f^3 comes out as watts."""
        return _plain(self._tree())

    def _tree(self):
        tree = {
            "schema": SCHEMA,
            "users": self.users,
            "edge_budget": self.edge_budget,
            "weights": self.weights,
        }
        tree |= {place: getattr(self, place).tree() for place in PLACES}
        return tree | {
            name: getattr(self, name)
            for name in ("deadline", "max_error", "labels")
            if getattr(self, name) is not None
        }

    def part(self, rows):
        """The problem of the UEs ``rows`` alone, an index array or a slice, under the whole
        ``edge_budget``; without labels.
        """
        columns = {
            name: _part(getattr(self, name), rows) for name in (*PLACES, "deadline", "max_error")
        }
        weights = {name: _part(value, rows) for name, value in self.weights.items()}
        return replace(
            self, users=len(np.arange(self.users)[rows]), weights=weights, labels=None, **columns
        )

    def steps(self, place):
        """The step counts 1, 2, ..., max over UEs of max_steps: the columns of the arrays below, if
        not told otherwise.
        """
        return np.arange(1, int(getattr(self, place).max_steps.max()) + 1)

    def time(self, place, steps=None):
        """T_{n,r}(s) = overhead + s step_time, eq. (3) with an intercept, s. Read-only, shape
        (users, steps).

        ``steps`` here and below: :meth:`steps`, or an integer array of shape (users, k), each UE's
        own; the result has its shape.
        """
        here, steps = getattr(self, place), self.steps(place) if steps is None else steps
        return self._full(here.overhead[..., None] + steps * here.step_time[..., None], steps)

    def energy(self, place, steps=None):
        """E_{n,r}(s) = power T, eqs. (5), (6), J. Read-only, shape (users, steps)."""
        time = self.time(place, steps)
        return self._full(getattr(self, place).power[..., None] * time, time)

    def error(self, place, steps=None):
        """eps_n(s), eq. (4) or the table. Read-only, shape (users, steps), NaN where a UE's table
        has ended.
        """
        steps = self.steps(place) if steps is None else steps
        return self._full(getattr(self, place).error.at(steps), steps)

    def utility(self, place, steps=None):
        """U_n(s), eq. (7) or the table. Read-only, shape (users, steps), NaN where a UE's table has
        ended.
        """
        steps = self.steps(place) if steps is None else steps
        return self._full(getattr(self, place).utility.at(steps), steps)

    def cost(self, place, steps=None):
        """R~_{n,r}(s) = w1 (c1 T + c2 eps + c3 E) - w2 U, the summand of eq. (8), un-shifted. Shape
        (users, steps).

        +inf where the option is not allowed: outside min_steps..max_steps (2), past the deadline,
        above max_error. Raises InputError if an allowed option's cost is so large that the sum over
        UEs may not fit into a float.
        """
        here, steps = getattr(self, place), self.steps(place) if steps is None else steps
        if not steps.size:
            return np.empty((self.users, steps.shape[-1]))
        w1, w2, c1, c2, c3 = (self.weights[name] for name in WEIGHTS)
        error, allowed = self.error(place, steps), np.True_
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # overflow is told below, NaN lies outside the allowed steps
            second = w1 * (c1 + c3 * here.power)  # what a second costs
            cost = np.empty(
                (self.users, steps.shape[-1])
            )  # filled in place: memory is what takes the time
            np.multiply(steps.astype(float), (second * here.step_time)[..., None], out=cost)
            cost += (second * here.overhead)[..., None]
            term = (w1 * c2)[..., None] * error
            cost += term
            cost -= np.multiply(w2[..., None], self.utility(place, steps), out=term)
        if steps.min() < here.min_steps.max() or steps.max() > here.max_steps.min():
            allowed = (steps >= here.min_steps[..., None]) & (steps <= here.max_steps[..., None])
        if self.deadline is not None:
            allowed = allowed & (self.time(place, steps) <= self.deadline[..., None])
        if self.max_error is not None:
            allowed = allowed & (error <= self.max_error[..., None])
        most = 1e300 / self.users
        if not (-most <= cost.min() and cost.max() <= most):
            wrong = np.broadcast_to(allowed & ~(np.abs(cost) <= most), cost.shape)
            if wrong.any():
                user, column = np.argwhere(wrong)[0]
                step = np.broadcast_to(steps, cost.shape)[user, column]
                raise InputError(
                    f"{self.where}: {place}: user {user}: the cost of {step} steps is too large to be summed up"
                )
        return cost if allowed is np.True_ else np.where(allowed, cost, np.inf)

    def _full(self, array, like):
        return np.broadcast_to(array, (self.users, like.shape[-1]))


def _part(value, rows):
    """A column, a place or a curve for the UEs ``rows`` alone."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value[rows] if value.ndim else value
    return None if value is None else value.part(rows)


def _labels(where, value, users):
    """``labels`` as lists of ``users`` strings, from lists or from a ``.npz``'s arrays of strings."""
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
            or not all(isinstance(one, str) for one in names)
        ):
            raise fault(f"{where}.{name}", names, f"a list of {users} strings")
    return lists


def _plain(value):
    """Arrays to numbers and lists; the NaN that fill up a table's rows are cut off."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 2 and np.isnan(value).any():
        return [row[~np.isnan(row)].tolist() for row in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _flatten(tree, prefix=""):
    flat = {}
    for key, value in tree.items():
        flat |= (
            _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _read_npz(path):
    """The nested object of a ``.npz`` file with dotted names."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            flat = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # TypeError: it is a .npy
        raise InputError(
            f"{path}: not a readable .npz file of plain arrays: {' '.join(str(error).split())}"
        ) from None
    tree = {}
    for name, array in flat.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise InputError(
                    f"{path}: {name}: '{parent}' is a value as well; allowed: either '{parent}' or names below it"
                )
        if leaf in node:
            raise InputError(
                f"{path}: {name}: stands beside names below it; allowed: one of the two"
            )
        node[leaf] = array.item() if array.ndim == 0 else array
    return tree
