"""The answer to a problem: who computes where with how many steps, and what it costs. File format
``allocation/1``.
"""

import json
from dataclasses import dataclass, replace

import numpy as np

from solver.columnar import column, fault, fields, word
from solver.inputs import InputError, read_json, write_atomic
from solver.problem import PLACES

SCHEMA = "allocation/1"
STATUSES = ("optimal", "feasible")
# times max(1, |objective|): the largest difference to the lower bound that is called optimal
OPTIMAL = 1e-9
QUANTITIES = ("cost", "time", "energy", "error", "utility")  # methods of a Problem


@dataclass(frozen=True)
class Allocation:
    """The fields of ``allocation/1``.

    ``offload`` a_n in {0, 1} and ``steps`` s_n >= 1, lists of ints, one for each UE; ``objective``
    eq. (8), un-shifted; ``lower_bound`` a proven one, or None; ``gap`` (objective - lower_bound) /
    max(|objective|, |lower_bound|), or None; ``edge_steps_used`` the left side of (1);
    ``edge_price`` delta >= 0, what one more edge step is worth (:func:`solver.knapsack.relax`), or
    None; ``time`` s and ``energy`` J, sums over UEs; ``error`` and ``utility``, means over UEs;
    ``seconds`` the solver took.
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
        """Read an ``allocation/1`` object; only its form is checked,
        :func:`solver.certificate.certify` checks it against a problem.
        """
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

    def bounded(self, lower_bound):
        """The same with a proven ``lower_bound``, and the ``gap`` and ``status`` that follow from
        it.
        """
        bound, scale = float(lower_bound), max(abs(self.objective), abs(lower_bound))
        gap = (
            0.0 if self.objective == bound else (self.objective - bound) / scale
        )  # negative: no bound at all
        optimal = 0 <= self.objective - bound <= OPTIMAL * max(1.0, abs(self.objective))
        return replace(self, lower_bound=bound, gap=gap, status=STATUSES[not optimal])

    def to_dict(self):
        return {"schema": SCHEMA} | vars(self)

    def save(self, path):
        """Write the JSON file, atomically, one field a line."""
        lines = (
            f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}"
            for name, value in self.to_dict().items()
        )
        write_atomic(path, "{\n " + ",\n ".join(lines) + "\n}\n")


def evaluate(
    problem,
    offload,
    steps,
    solver="given",
    lower_bound=None,
    edge_price=None,
    seconds=0.0,
    where="allocation",
):
    """The :class:`Allocation` of a choice: ``offload`` 0 or 1 and ``steps`` >= 1, one integer for
    each UE.

    Raises InputError if the choice has the wrong form or breaks (1), (2), ``min_steps``,
    ``deadline`` or ``max_error``.
    """
    offload = column(f"{where}: offload", offload, problem.users, integer=True, most=1)
    steps = column(f"{where}: steps", steps, problem.users, integer=True, least=1)
    offload, steps = (
        np.broadcast_to(array, problem.users).astype(np.int64) for array in (offload, steps)
    )
    used = int(steps[offload == 1].sum())
    values = np.full((len(QUANTITIES), problem.users), np.inf)
    for a, place in enumerate(PLACES):
        most = len(problem.steps(place))
        here, at = (offload == a) & (steps <= most), np.minimum(steps, most)[:, None]
        if most:
            for value, quantity in zip(values, QUANTITIES):
                value[here] = getattr(problem, quantity)(place, at)[here, 0]
    cost, time, energy, error, utility = values
    if not np.isfinite(cost).all():
        user = int(np.argmin(np.isfinite(cost)))
        raise InputError(
            f"{where}: steps[{user}]: found {steps[user]} at the {PLACES[offload[user]]} place; "
            f"allowed: what min_steps, max_steps, deadline and max_error of {problem.where} leave to user {user}"
        )
    if used > problem.edge_budget:
        raise InputError(
            f"{where}: steps: found {used} steps on the edge; allowed: edge_budget of {problem.where}, {problem.edge_budget}"
        )
    answer = Allocation(
        solver=solver,
        status="feasible",
        offload=offload.tolist(),
        steps=steps.tolist(),
        objective=float(cost.sum()),
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
    return answer if lower_bound is None else answer.bounded(lower_bound)
