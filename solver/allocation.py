"""The answer to a problem: who computes where with how many steps, and what it costs. File format ``allocation/1``."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from solver.columns import column, fault, fields, word
from solver.inputs import InputError, read_json, write_json
from solver.problem import PLACES

SCHEMA = "allocation/1"
STATUSES = ("optimal", "feasible")


@dataclass(frozen=True)
class Allocation:
    """The fields of ``allocation/1``.

    ``offload`` a_n in {0, 1} and ``steps`` s_n >= 1, lists of ints, one for each UE; ``objective`` eq. (8), un-shifted;
    ``lower_bound`` a proven one, or None; ``gap`` (objective - lower_bound) / max(|objective|, |lower_bound|), or None;
    ``edge_steps_used`` the left side of (1); ``edge_price`` delta >= 0, what one more edge step is worth
    (:func:`solver.choices.relax`), or None; ``time`` s and ``energy`` J, sums over UEs; ``error`` and ``utility``, means
    over UEs; ``seconds`` the solver took.
    """

    solver: str
    status: str
    offload: list
    steps: list
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
    def from_dict(cls, data, where="allocation"):
        """Read an ``allocation/1`` object; only its form is checked, :func:`certify` checks it against a problem."""
        names = list(cls.__dataclass_fields__)
        fields(where, data, ["schema", *names])
        if data["schema"] != SCHEMA:
            raise fault(f"{where}: schema", data["schema"], SCHEMA)
        if not isinstance(data["solver"], str):
            raise fault(f"{where}: solver", data["solver"], "a name")
        word(f"{where}: status", data["status"], STATUSES)
        for name in ("offload", "steps"):
            if not isinstance(data[name], list) or not data[name]:
                raise fault(f"{where}: {name}", data[name], "a list of integers, one for each user")
        users = len(data["offload"])
        column(f"{where}: offload", data["offload"], users, integer=True, most=1)
        column(f"{where}: steps", data["steps"], users, integer=True, least=1)
        column(f"{where}: edge_steps_used", data["edge_steps_used"], integer=True)
        for name in names[4:]:
            if data[name] is not None or name not in ("lower_bound", "gap", "edge_price"):
                signed = name in ("objective", "lower_bound", "utility")
                column(f"{where}: {name}", data[name], least=None if signed else 0)
        whole = {name: [int(value) for value in data[name]] for name in ("offload", "steps")}
        return cls(**{name: data[name] for name in names} | whole)

    @classmethod
    def load(cls, path):
        return cls.from_dict(read_json(path), where=str(path))

    def to_dict(self):
        return {"schema": SCHEMA} | asdict(self)

    def save(self, path):
        """Write the JSON file, atomically."""
        write_json(path, self.to_dict())


def evaluate(
    problem,
    offload,
    steps,
    solver="given",
    status="feasible",
    lower_bound=None,
    edge_price=None,
    seconds=0.0,
    where="allocation",
):
    """The :class:`Allocation` of a choice: ``offload`` 0 or 1 and ``steps`` >= 1, one integer for each UE.

    Raises InputError if the choice has the wrong form or breaks (1), (2), ``min_steps``, ``deadline`` or ``max_error``.
    """
    offload = column(f"{where}: offload", offload, problem.users, integer=True, most=1)
    steps = column(f"{where}: steps", steps, problem.users, integer=True, least=1)
    offload, steps = (np.broadcast_to(array, problem.users).astype(np.int64) for array in (offload, steps))
    rows, used = np.arange(problem.users), int(steps[offload == 1].sum())

    def chosen(quantity):
        """``quantity``(place)[n, s_n - 1] at each UE's place, NaN for steps beyond the table; shape (users,)."""
        value = np.full(problem.users, np.nan)
        for a, place in enumerate(PLACES):
            table = quantity(place)
            here = rows[(offload == a) & (steps <= table.shape[1])]
            value[here] = table[here, steps[here] - 1]
        return value

    cost = chosen(problem.cost)
    if not np.isfinite(cost).all():
        user = int(np.argmin(np.isfinite(cost)))
        raise InputError(
            f"{where}: steps[{user}]: found {steps[user]} at the {PLACES[offload[user]]} place; "
            f"allowed: what min_steps, max_steps, deadline and max_error of {problem.where} leave to user {user}"
        )
    if used > problem.edge_budget:
        raise InputError(f"{where}: steps: found {used} steps on the edge; allowed: edge_budget of {problem.where}, {problem.edge_budget}")
    objective = float(cost.sum())
    bound = None if lower_bound is None else float(lower_bound)
    return Allocation(
        solver=solver,
        status=status,
        offload=offload.tolist(),
        steps=steps.tolist(),
        objective=objective,
        lower_bound=bound,
        gap=None if bound is None else _gap(objective, bound),
        edge_steps_used=used,
        edge_price=None if edge_price is None else float(edge_price),
        time=float(chosen(problem.time).sum()),
        error=float(chosen(problem.error).mean()),
        energy=float(chosen(problem.energy).sum()),
        utility=float(chosen(problem.utility).mean()),
        seconds=float(seconds),
    )


def certify(problem, allocation):
    """How far, at most, the objective is from the optimum, proven without trusting the solver.

    Everything in ``allocation`` is computed again from ``problem``, ``offload`` and ``steps``; InputError if the choice is
    not feasible or a number differs. The proof is weak duality, for any delta >= 0:
    optimum >= sum_n min_{r,s} [R~_{n,r}(s) + delta s (r = edge)] - delta S_e^max. Infinite without an ``edge_price``.
    The bound is the problem's, not the solver's: at the best delta it is still up to delta x max_steps below the optimum.
    """
    again = evaluate(problem, allocation.offload, allocation.steps, lower_bound=allocation.lower_bound)
    for name in ("objective", "gap", "edge_steps_used", "time", "error", "energy", "utility"):
        found, value = getattr(allocation, name), getattr(again, name)
        if found != value and not (found is not None and value is not None and math.isclose(found, value, rel_tol=1e-9)):
            raise InputError(f"allocation: {name}: found {found}; allowed: {value}, which the choices give")
    if allocation.edge_price is None:
        return math.inf
    priced = problem.cost("edge") + allocation.edge_price * problem.steps("edge")
    best = np.minimum(problem.cost("local").min(axis=1, initial=np.inf), priced.min(axis=1, initial=np.inf))
    return again.objective - float(best.sum() - allocation.edge_price * problem.edge_budget)


def _gap(objective, bound):
    return 0.0 if objective == bound else (objective - bound) / max(abs(objective), abs(bound))  # negative: no bound at all
