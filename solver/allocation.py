"""The answer to a problem: where each user computes, with how many steps, and what it costs.

The file format is ``allocation/1``, or ``allocation/2`` where the problem is more than one edge
with one budget.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as columns
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, IntArray, column, fault, fields, whole, word
from solver.inputs import InputError, read_json, to_json, write_atomic
from solver.limits import PIECE, in_pieces
from solver.problem import MAX_OPTIONS, Problem
from solver.problem.usage import checked_prices, integers, option_numbers, used_of

SCHEMAS = ("allocation/1", "allocation/2")
#: The fields of ``allocation/2`` beside those of ``allocation/1``.
EXTENDED = ("places", "edge_steps", "used", "prices")
STATUSES = ("optimal", "feasible")
#: The largest gap that is called optimal.
OPTIMAL = 1e-9
#: The largest gap that is taken for rounding, and for 0.
ROUNDING = 1e-12
EPS = float(np.finfo(np.float64).eps)
QUANTITIES = ("cost", "time", "energy", "error", "utility")  # as Problem.quantities


@dataclass(frozen=True)
class Allocation:
    """The fields of ``allocation/1`` and ``allocation/2``.

    ``offload``, a_n in {0 local, 1 edge}, and ``steps``, s_n >= 1, have one integer for each user.
    ``objective`` is eq. (8), un-shifted. ``lower_bound`` is a proven lower bound of it and ``gap``
    is (objective - lower_bound) / max(|objective|, |lower_bound|), 0 where that is below 1e-12;
    both are None where a method proves nothing. ``status`` is "optimal" if the gap is at most 1e-9,
    and "feasible" otherwise. ``edge_steps_used`` is the left side of (1). ``edge_price``, delta
    >= 0, is what one more edge step is worth (:func:`solver.relaxation.relax`), or None. ``time``,
    in s, and ``energy``, in J, are sums over users; ``error`` and ``utility`` are means.
    ``seconds`` is the wall time that the method took.

    The last four are None for ``allocation/1``. Else a_n is an index of ``places``, the names of
    the problem's places and splits; ``edge_steps`` are those of each user's steps that are made at
    an edge place; ``used`` is what the choice takes of each limit, by name, and ``prices`` what one
    more of it is worth, or None. ``edge_price`` is then None.
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
    places: list[str] | None = None
    edge_steps: list[int] | None = None
    used: dict[str, float] | None = None
    prices: dict[str, float] | None = None

    @classmethod
    def from_dict(cls, data: object, where: str = "allocation") -> Self:
        """Read an ``allocation/1`` or ``allocation/2`` object.

        Raises InputError, one line, for a wrong form; :func:`solver.certify` compares the numbers
        with a problem.
        """
        extended = isinstance(data, dict) and data.get("schema") == SCHEMAS[1]
        names = [field.name for field in columns(cls) if extended or field.name not in EXTENDED]
        data = fields(where, data, ["schema", *names])
        if data["schema"] not in SCHEMAS:
            raise fault(f"{where}: schema", data["schema"], " or ".join(SCHEMAS))
        if not isinstance(data["solver"], str):
            raise fault(f"{where}: solver", data["solver"], "a name")
        word(f"{where}: status", data["status"], STATUSES)
        places = data.get("places", ["local", "edge"])
        if not isinstance(places, list) or not all(isinstance(name, str) for name in places):
            raise fault(f"{where}: places", places, "a list of names")
        lists = {"steps": (1, None), "offload": (0, len(places) - 1)}
        if extended:
            lists["edge_steps"] = 0, None
        users = 0
        for name in reversed(lists):
            value = data[name]
            if not isinstance(value, list) or not value:
                raise fault(f"{where}: {name}", value, "a list of integers, one for each user")
            users = len(value) if name != "steps" else users
        for name, (least, most) in reversed(lists.items()):
            column(f"{where}: {name}", data[name], users, integer=True, least=least, most=most)
        whole(f"{where}: edge_steps_used", data["edge_steps_used"])
        for name in ("objective", "lower_bound", "gap", "edge_price", *QUANTITIES[1:], "seconds"):
            if data[name] is not None or name not in ("lower_bound", "gap", "edge_price"):
                signed = name in ("objective", "lower_bound", "utility")
                column(f"{where}: {name}", data[name], least=None if signed else 0)
        for name in ("used", "prices") if extended else ():
            numbers = data[name]
            if numbers is None and name == "prices":
                continue
            if not isinstance(numbers, dict):
                raise fault(f"{where}: {name}", numbers, "an object of numbers by limit")
            for limit, value in numbers.items():
                column(f"{where}: {name}.{limit}", value)
        values: dict[str, Any] = {name: data[name] for name in names}
        for name in lists:
            values[name] = [int(value) for value in values[name]]
        return cls(**values)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a JSON file; raises InputError that names it."""
        return cls.from_dict(read_json(path), where=str(path))

    def bounded(self, lower_bound: float) -> "Allocation":
        """The same with a proven lower bound, and the gap and the status that follow from it."""
        return replace(self, **_bounded(self.objective, lower_bound))

    def to_dict(self) -> dict[str, Any]:
        """The ``allocation/1`` or ``allocation/2`` object."""
        own = {name: value for name, value in vars(self).items() if name not in EXTENDED}
        extended = self.places is not None
        return {"schema": SCHEMAS[extended]} | (dict(vars(self)) if extended else own)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, atomically, one field a line.

        Raises InputError for a number that is not finite, as a sum over users may be.
        """
        lines = [to_json({name: value}, str(path))[1:-1] for name, value in self.to_dict().items()]
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
    edge_steps: ArrayLike | None = None,
    prices: Mapping[str, float] | None = None,
) -> Allocation:
    """The :class:`Allocation` of a choice: ``offload`` and ``steps`` >= 1 for each user.

    ``offload`` is 0 or 1, or an index of the problem's ``names``; ``edge_steps`` are needed where a
    split has several options with as many steps. ``lower_bound`` is a proven bound, or ``excess``
    what the choice costs at most more than the optimum, proven; the bound is then rounded down by
    what the sum of the costs may be off. Raises InputError, one line that starts with ``where``, if
    the choice has the wrong form or breaks a limit of the problem, or ``edge_price`` or one of
    ``prices`` is negative or not finite.
    """
    if edge_price is not None:
        column(f"{where}: edge_price", edge_price)
    most = len(problem.names) - 1
    places = integers(f"{where}: offload", offload, problem.users, least=0, most=most)
    counts = integers(f"{where}: steps", steps, problem.users, least=1, most=MAX_OPTIONS)
    number, on_edge = option_numbers(problem, places, counts, edge_steps, where)

    values = np.empty((len(QUANTITIES), problem.users))

    def piece(rows: slice) -> None:
        _quantities(problem.part(rows), places[rows], number[rows], values[:, rows])

    try:
        in_pieces(piece, problem.users, PIECE)
    except InputError:  # of a user of the piece; name that of the problem, and its place
        _quantities(problem, places, number, values, together=False)
    cost = values[0]
    if not np.isfinite(cost).all():
        user = int(np.argmin(np.isfinite(cost)))
        raise InputError(
            f"{where}: steps[{user}]: found {counts[user]} at the {problem.names[places[user]]} "
            f"place; allowed: what min_steps, max_steps, deadline and max_error of {problem.where} "
            f"leave to user {user}"
        )
    plain, made = problem.is_plain, int(on_edge.sum())
    used = {} if plain else used_of(problem, places, on_edge, where)
    if plain and made > problem.edge_budget:
        raise InputError(
            f"{where}: steps: found {made} steps on the edge; "
            f"allowed: edge_budget of {problem.where}, {problem.edge_budget}"
        )
    objective, rounding = _total(cost)
    if excess is not None:
        below = excess + rounding
        lower_bound = math.nextafter(objective - below, -math.inf) if below else objective
    _, time, energy, error, utility = np.add.reduce(values, axis=1).tolist()
    return Allocation(
        solver=solver,
        offload=places.tolist(),
        steps=counts.tolist(),
        objective=objective,
        **_bounded(objective, lower_bound),
        edge_steps_used=made,
        edge_price=None if edge_price is None else float(edge_price),
        time=time,
        error=error / problem.users,
        energy=energy,
        utility=utility / problem.users,
        seconds=float(seconds),
        places=None if plain else list(problem.names),
        edge_steps=None if plain else on_edge.tolist(),
        used=None if plain else used,
        prices=None if plain or prices is None else checked_prices(prices, used, where),
    )


def _bounded(objective: float, lower_bound: float | None) -> dict[str, Any]:
    """A lower bound with the gap and the status that follow from it."""
    if lower_bound is None:
        return {"lower_bound": None, "gap": None, "status": STATUSES[1]}
    bound, size = float(lower_bound), max(abs(objective), abs(lower_bound))
    excess = objective - bound
    # a negative gap says that the bound is none
    gap = 0.0 if abs(excess) <= ROUNDING * size else excess / size
    return {"lower_bound": bound, "gap": gap, "status": STATUSES[not 0 <= gap <= OPTIMAL]}


def _quantities(
    problem: Problem,
    places: IntArray,
    number: IntArray,
    values: FloatArray,
    together: bool = True,
) -> None:
    """Sets ``values``, shape (5, users): :data:`QUANTITIES`; inf where there is no such option.

    ``together``: places whose curves are of the same families are one, each user's own.
    """
    values.fill(np.inf)
    alike: dict[object, list[int]] = {}
    for a, name in enumerate(problem.names):
        place = problem.places.get(name)
        families = (place.error.family, place.utility.family) if place else ("table",)
        alike.setdefault(families if together and "table" not in families else a, []).append(a)
    for first, *others in alike.values():
        name, here, part = problem.names[first], places == first, problem
        for a in others:
            mine = places == a
            chosen = part.places[name].beside(problem.places[problem.names[a]], mine)
            here, part = here | mine, replace(problem, places={name: chosen}, splits={})
        most = len(part.steps(name))
        here &= number <= most
        if here.any():
            at = np.minimum(number, most)[:, None]
            where = here if not here.all() else True  # many times as fast
            for value, quantity in zip(values, part.quantities(name, at), strict=True):
                np.copyto(value, quantity[:, 0], where=where)


def _total(cost: FloatArray) -> tuple[float, float]:
    """The sum of the costs, and how far it may be off: exactly rounded where costs cancel."""
    total = float(cost.sum())
    # numpy sums blocks of 128 in 8 columns, and the blocks pairwise
    size = abs(total) if cost.min() >= 0 or cost.max() <= 0 else float(np.abs(cost).sum())
    rounding = EPS * (20 + math.log2(len(cost))) * size
    if rounding <= ROUNDING * abs(total):
        return total, rounding
    total = math.fsum(cost)
    return total, EPS * abs(total)
