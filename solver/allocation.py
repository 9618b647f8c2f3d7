"""The answer to a problem: where each user computes, with how many steps, and what it costs.

The file format is ``allocation/1``.
"""

import json
import math
import os
from dataclasses import dataclass, replace
from dataclasses import fields as columns
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, column, fault, fields, whole, word
from solver.inputs import InputError, read_json, write_atomic
from solver.problem import MAX_OPTIONS, PLACES, Problem

SCHEMA = "allocation/1"
STATUSES = ("optimal", "feasible")
#: The largest gap that is called optimal.
OPTIMAL = 1e-9
#: The largest gap that is taken for rounding, and for 0.
ROUNDING = 1e-12
EPS = float(np.finfo(np.float64).eps)
QUANTITIES = ("cost", "time", "energy", "error", "utility")  # methods of a Problem


@dataclass(frozen=True)
class Allocation:
    """The fields of ``allocation/1``.

    ``offload``, a_n in {0 local, 1 edge}, and ``steps``, s_n >= 1, have one integer for each user.
    ``objective`` is eq. (8), un-shifted. ``lower_bound`` is a proven lower bound of it and ``gap``
    is (objective - lower_bound) / max(|objective|, |lower_bound|), 0 where that is below 1e-12;
    both are None where a method proves nothing. ``status`` is "optimal" if the gap is at most 1e-9,
    and "feasible" otherwise. ``edge_steps_used`` is the left side of (1). ``edge_price``, delta
    >= 0, is what one more edge step is worth (:func:`solver.knapsack.relax`), or None. ``time``, in
    s, and ``energy``, in J, are sums over users; ``error`` and ``utility`` are means. ``seconds``
    is the wall time that the method took.
    """

    solver: str
    status: str
    offload: list[int]
    steps: list[int]
    objective: float
    lower_bound: float | None
    gap: float | None
    edge_steps_used: int
    edge_price: float | None
    time: float
    error: float
    energy: float
    utility: float
    seconds: float

    @classmethod
    def from_dict(cls, data: object, where: str = "allocation") -> Self:
        """Read an ``allocation/1`` object.

        Raises InputError, one line, for a wrong form; :func:`solver.certify` compares the numbers
        with a problem.
        """
        names = [field.name for field in columns(cls)]
        data = fields(where, data, ["schema", *names])
        if data["schema"] != SCHEMA:
            raise fault(f"{where}: schema", data["schema"], SCHEMA)
        if not isinstance(data["solver"], str):
            raise fault(f"{where}: solver", data["solver"], "a name")
        word(f"{where}: status", data["status"], STATUSES)
        users = 0
        for name in ("steps", "offload"):
            value = data[name]
            if not isinstance(value, list) or not value:
                raise fault(f"{where}: {name}", value, "a list of integers, one for each user")
            users = len(value)
        column(f"{where}: offload", data["offload"], users, integer=True, most=1)
        column(f"{where}: steps", data["steps"], users, integer=True, least=1)
        whole(f"{where}: edge_steps_used", data["edge_steps_used"])
        for name in names[4:]:
            if data[name] is not None or name not in ("lower_bound", "gap", "edge_price"):
                signed = name in ("objective", "lower_bound", "utility")
                column(f"{where}: {name}", data[name], least=None if signed else 0)
        values: dict[str, Any] = {name: data[name] for name in names}
        for name in ("offload", "steps"):
            values[name] = [int(value) for value in values[name]]
        return cls(**values)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a JSON file; raises InputError that names it."""
        return cls.from_dict(read_json(path), where=str(path))

    def bounded(self, lower_bound: float) -> "Allocation":
        """The same with a proven lower bound, and the gap and the status that follow from it."""
        bound, size = float(lower_bound), max(abs(self.objective), abs(lower_bound))
        excess = self.objective - bound
        # a negative gap says that the bound is none
        gap = 0.0 if 0 <= excess <= ROUNDING * size else excess / size
        return replace(self, lower_bound=bound, gap=gap, status=STATUSES[not 0 <= gap <= OPTIMAL])

    def to_dict(self) -> dict[str, Any]:
        """The ``allocation/1`` object."""
        return {"schema": SCHEMA} | vars(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, atomically, one field a line."""
        lines = (
            f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}"
            for name, value in self.to_dict().items()
        )
        write_atomic(path, "{\n " + ",\n ".join(lines) + "\n}\n")


def evaluate(
    problem: Problem,
    offload: ArrayLike,
    steps: ArrayLike,
    solver: str = "given",
    lower_bound: float | None = None,
    edge_price: float | None = None,
    seconds: float = 0.0,
    where: str = "allocation",
    *,
    excess: float | None = None,
) -> Allocation:
    """The :class:`Allocation` of a choice: ``offload`` 0 or 1 and ``steps`` >= 1 for each user.

    ``lower_bound`` is a proven bound, or ``excess`` what the choice costs at most more than the
    optimum, proven; the bound is then rounded down by what the sum of the costs may be off. Raises
    InputError, one line that starts with ``where``, if the choice has the wrong form or breaks (1),
    (2), ``min_steps``, ``deadline`` or ``max_error``, or ``edge_price`` is negative or not finite.
    """
    if edge_price is not None:
        column(f"{where}: edge_price", edge_price)
    places = _integers(f"{where}: offload", offload, problem.users, least=0, most=1)
    counts = _integers(f"{where}: steps", steps, problem.users, least=1, most=MAX_OPTIONS)
    used = int(counts[places == 1].sum())
    values = np.full((len(QUANTITIES), problem.users), np.inf)
    for a, place in enumerate(PLACES):
        most = len(problem.steps(place))
        here, at = (places == a) & (counts <= most), np.minimum(counts, most)[:, None]
        if most:
            for value, quantity in zip(values, QUANTITIES, strict=True):
                value[here] = getattr(problem, quantity)(place, at)[here, 0]
    cost, time, energy, error, utility = values
    if not np.isfinite(cost).all():
        user = int(np.argmin(np.isfinite(cost)))
        raise InputError(
            f"{where}: steps[{user}]: found {counts[user]} at the {PLACES[places[user]]} place; "
            f"allowed: what min_steps, max_steps, deadline and max_error of {problem.where} "
            f"leave to user {user}"
        )
    if used > problem.edge_budget:
        raise InputError(
            f"{where}: steps: found {used} steps on the edge; "
            f"allowed: edge_budget of {problem.where}, {problem.edge_budget}"
        )
    objective, rounding = _total(cost)
    allocation = Allocation(
        solver=solver,
        status="feasible",
        offload=places.tolist(),
        steps=counts.tolist(),
        objective=objective,
        lower_bound=None,
        gap=None,
        edge_steps_used=used,
        edge_price=None if edge_price is None else float(edge_price),
        time=float(time.sum()),
        error=float(error.mean()),
        energy=float(energy.sum()),
        utility=float(utility.mean()),
        seconds=float(seconds),
    )
    if excess is not None:
        below = excess + rounding
        lower_bound = math.nextafter(objective - below, -math.inf) if below else objective
    return allocation if lower_bound is None else allocation.bounded(lower_bound)


def _total(cost: FloatArray) -> tuple[float, float]:
    """The sum of the costs, and how far it may be off: exactly rounded where costs cancel."""
    total = float(cost.sum())
    # numpy sums blocks of 128 in 8 columns, and the blocks pairwise
    rounding = EPS * (20 + math.log2(len(cost))) * float(np.abs(cost).sum())
    if rounding <= ROUNDING * abs(total):
        return total, rounding
    total = math.fsum(cost)
    return total, EPS * abs(total)


def _integers(
    where: str, value: ArrayLike, users: int, least: int, most: int | None = None
) -> np.ndarray:
    array = column(where, value, users, integer=True, least=least, most=most)
    return np.broadcast_to(array, users).astype(np.int64)
