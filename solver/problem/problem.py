"""The allocation problem P1, eq. (8)-(9): N users, two places, one edge budget.

The file format is ``problem/1``. It is columnar: every value is one number, the same for all
users, or a list of ``users`` numbers. A file is ``.json``, or ``.npz`` with dotted names
(``local.step_time``, ``edge.error.values``).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray, column, fault, fields, whole
from solver.inputs import InputError, read_json, write_atomic, write_json
from solver.problem import npz
from solver.problem.curves import Rows
from solver.problem.place import MAX_OPTIONS, Column, Place, part, read_min_steps

SCHEMA = "problem/1"
PLACES = ("local", "edge")  # PLACES[a_n] is where user n computes
WEIGHTS = ("cost", "utility", "time", "error", "energy")  # w1, w2, c1, c2, c3


@dataclass(frozen=True, eq=False)
class Problem:
    """P1, eq. (8)-(9), the fields of ``problem/1``.

    ``edge_budget`` is S_e^max of (1), in steps. ``weights`` maps each of :data:`WEIGHTS` to an
    array of shape () or (users,): ``cost`` w1, ``utility`` w2, ``time`` c1 in 1/s, ``error`` c2
    and ``energy`` c3 in 1/J. ``deadline`` in s and ``max_error`` are None, or arrays of shape ()
    or (users,). ``labels`` are None, or names that the maker of the problem gives the users, each
    a list of ``users`` strings; no solver reads them. ``where`` names the source in messages.
    """

    users: int
    edge_budget: int
    weights: Mapping[str, FloatArray]
    local: Place
    edge: Place
    deadline: FloatArray | None = None
    max_error: FloatArray | None = None
    labels: dict[str, list[str]] | None = None
    where: str = "problem"

    @classmethod
    def from_dict(cls, data: object, where: str = "problem") -> Self:
        """Read a ``problem/1`` object.

        Raises InputError, one line, for whatever the format does not allow.
        """
        data = fields(
            where,
            data,
            ["schema", "users", "edge_budget", "weights", "local", "edge"],
            ["min_steps", "deadline", "max_error", "labels"],
        )
        if data["schema"] != SCHEMA:
            raise fault(f"{where}: schema", data["schema"], SCHEMA)
        users = whole(f"{where}: users", data["users"], least=1, most=MAX_OPTIONS)
        edge_budget = whole(f"{where}: edge_budget", data["edge_budget"])
        weights = fields(f"{where}: weights", data["weights"], WEIGHTS)
        # this min_steps holds for both places, unless a place has its own
        min_steps = read_min_steps(f"{where}: min_steps", data.get("min_steps", 1), users)
        return cls(
            users=users,
            edge_budget=edge_budget,
            weights={
                name: column(f"{where}: weights.{name}", weights[name], users) for name in WEIGHTS
            },
            local=Place.from_dict(data["local"], users, min_steps, f"{where}: local"),
            edge=Place.from_dict(data["edge"], users, min_steps, f"{where}: edge"),
            deadline=_limit(data, "deadline", users, where),
            max_error=_limit(data, "max_error", users, where),
            labels=_labels(f"{where}: labels", data["labels"], users) if "labels" in data else None,
            where=str(where),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a ``.npz`` or (any other suffix) JSON file; raises InputError."""
        read = npz.read if Path(path).suffix == ".npz" else read_json
        return cls.from_dict(read(path), where=str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.npz`` or (any other suffix) JSON file, atomically."""
        if Path(path).suffix == ".npz":
            write_atomic(path, npz.dumps(self._tree()))
        else:
            write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The ``problem/1`` object of numbers and lists; power is in watts, k f^3 computed."""
        plain = _plain(self._tree())
        assert isinstance(plain, dict)
        return plain

    def _tree(self) -> dict[str, object]:
        tree: dict[str, object] = {
            "schema": SCHEMA,
            "users": self.users,
            "edge_budget": self.edge_budget,
            "weights": self.weights,
        }
        tree |= {name: self.place(name).tree() for name in PLACES}
        optional = {"deadline": self.deadline, "max_error": self.max_error, "labels": self.labels}
        return tree | {name: value for name, value in optional.items() if value is not None}

    def place(self, name: str) -> Place:
        """The place of that name, one of :data:`PLACES`."""
        return {"local": self.local, "edge": self.edge}[name]

    def part(self, rows: Rows) -> "Problem":
        """The problem of the users ``rows`` alone, under the whole ``edge_budget``, unlabelled."""
        return replace(
            self,
            users=_count(rows, self.users),
            weights={name: part(value, rows) for name, value in self.weights.items()},
            local=self.local.part(rows),
            edge=self.edge.part(rows),
            deadline=None if self.deadline is None else part(self.deadline, rows),
            max_error=None if self.max_error is None else part(self.max_error, rows),
            labels=None,
        )

    def per_user(self) -> list[Column]:
        """Every array that has a row for each user: together they tell users apart."""
        limits = [*self.weights.values(), self.deadline, self.max_error]
        own = [value for value in limits if value is not None and value.ndim]
        return self.local.per_user() + self.edge.per_user() + own

    def steps(self, place: str) -> IntArray:
        """1, 2, ..., max over users of max_steps: the columns of the arrays below."""
        return np.arange(1, int(self.place(place).max_steps.max()) + 1)

    def time(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """T_{n,r}(s) = overhead + s step_time, s: eq. (3) with an intercept.

        ``steps``, here and below, is :meth:`steps` if not given, or an integer array of shape
        (users, k), each user's own; the result is read-only and has shape (users, steps) or
        (users, k).
        """
        here, steps = self.place(place), self.steps(place) if steps is None else steps
        return self._full(here.overhead[..., None] + steps * here.step_time[..., None], steps)

    def energy(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """E_{n,r}(s) = power x T, J, eqs. (5), (6); shapes as of :meth:`time`."""
        time = self.time(place, steps)
        return self._full(self.place(place).power[..., None] * time, time)

    def error(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """eps_n(s), eq. (4) or the table, NaN past its end; shapes as of :meth:`time`."""
        steps = self.steps(place) if steps is None else steps
        return self._full(self.place(place).error.at(steps), steps)

    def utility(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """U_n(s), eq. (7) or the table, NaN past its end; shapes as of :meth:`time`."""
        steps = self.steps(place) if steps is None else steps
        return self._full(self.place(place).utility.at(steps), steps)

    def cost(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """R~_{n,r}(s) = w1 (c1 T + c2 eps + c3 E) - w2 U, the summand of eq. (8), un-shifted.

        Shapes as of :meth:`time`. +inf marks an option that is not allowed: outside
        min_steps..max_steps (2), past the deadline, or above max_error (:func:`is_met`). Raises
        InputError if an allowed option costs so much that the sum over users may overflow.
        """
        here, steps = self.place(place), self.steps(place) if steps is None else steps
        if not steps.size:
            return np.empty((self.users, steps.shape[-1]))
        w1, w2, c1, c2, c3 = (self.weights[name] for name in WEIGHTS)
        error = self.error(place, steps)
        # overflow is reported below; NaN lies outside the allowed steps
        with np.errstate(over="ignore", invalid="ignore"):
            second = w1 * (c1 + c3 * here.power)  # what a second costs
            # filled in place, as allocating memory takes longer than the arithmetic
            cost = np.empty((self.users, steps.shape[-1]))
            np.multiply(steps.astype(float), (second * here.step_time)[..., None], out=cost)
            cost += (second * here.overhead)[..., None]
            term = (w1 * c2)[..., None] * error
            cost += term
            cost -= np.multiply(w2[..., None], self.utility(place, steps), out=term)
        allowed = self._allowed(place, steps, error)
        most = 1e300 / self.users
        if not (-most <= cost.min() and cost.max() <= most):
            wrong = ~(np.abs(cost) <= most) & (True if allowed is None else allowed)
            if wrong.any():
                user, index = np.argwhere(wrong)[0]
                step = np.broadcast_to(steps, cost.shape)[user, index]
                raise InputError(
                    f"{self.where}: {place}: user {user}: "
                    f"the cost of {step} steps is too large to be summed up"
                )
        return cost if allowed is None else np.where(allowed, cost, np.inf)

    def _allowed(self, place: str, steps: IntArray, error: FloatArray) -> BoolArray | None:
        """Which options (2), ``deadline`` and ``max_error`` allow; None if all of them."""
        here, masks = self.place(place), []
        if steps.min() < here.min_steps.max() or steps.max() > here.max_steps.min():
            masks += [steps >= here.min_steps[..., None], steps <= here.max_steps[..., None]]
        if self.deadline is not None:
            masks.append(is_met(self.time(place, steps), self.deadline[..., None]))
        if self.max_error is not None:
            masks.append(is_met(error, self.max_error[..., None]))
        if not masks:
            return None
        allowed = masks[0]
        for mask in masks[1:]:
            allowed = allowed & mask
        return allowed

    def _full(self, array: FloatArray, like: np.ndarray) -> FloatArray:
        return np.broadcast_to(array, (self.users, like.shape[-1]))


def is_met(values: FloatArray, limit: FloatArray) -> BoolArray:
    """Whether ``values`` keep a limit, up to rounding: 3 steps of 0.1 s keep one of 0.3 s."""
    return values <= limit * (1 + 1e-12)


def _count(rows: Rows, users: int) -> int:
    """How many users ``rows`` are, which may be a mask too."""
    if isinstance(rows, slice):
        return len(range(*rows.indices(users)))
    index = np.asarray(rows)
    return int(index.sum()) if index.dtype == bool else len(index)


def _limit(data: dict[str, object], name: str, users: int, where: str) -> FloatArray | None:
    return column(f"{where}: {name}", data[name], users) if name in data else None


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


def _plain(value: object) -> object:
    """Arrays to numbers and lists, without the NaN that fill up the rows of a table."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 2 and np.isnan(value).any():
        return [row[~np.isnan(row)].tolist() for row in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
