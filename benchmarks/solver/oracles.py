"""Independent solutions of the solver's problems, for tests and benchmarks.

They share nothing with the solver but the file format: Clarabel for P2, and dynamic programming
over every user, option and budget for P1.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.paper import paper_instance
from solver.paper.p2 import P2
from solver.paper.relaxation import Relaxation
from solver.problem import PLACES, Problem

FloatArray = NDArray[np.float64]

FLOOR_AND_POWER: dict[str, dict[str, Any]] = {
    "local": {"family": "power_floor", "scale": 2.0, "exponent": 0.5, "floor": 0.1},
    "edge": {"family": "exponential_floor", "scale": 1.0, "decay": 0.2, "floor": 0.05},
}
#: Cases of P2, as changes to 20 local steps, 50 on the edge, at least 1, and a budget that binds.
P2_CASES: dict[str, dict[str, Any]] = {
    "binding": {},
    "slack": {"edge_budget": 10**6},
    "S0 > S1": {"local__max_steps": 40, "edge__max_steps": 15},
    "S0 = S1": {"local__max_steps": 12, "edge__max_steps": 12},
    "tight (16c)": {"local__max_steps": 3, "edge__max_steps": [9, 4] * 4, "edge_budget": 12},
    "lower limits": {"local__min_steps": 12, "edge__min_steps": [4, 30] * 4, "edge_budget": 60},
    "one place only": {
        "local__max_steps": [20] * 6 + [0] * 2,
        "edge__max_steps": [0] * 2 + [50] * 6,
    },
    "other curves": {
        "local__error": FLOOR_AND_POWER["local"],
        "edge__error": FLOOR_AND_POWER["edge"],
    },
}


def example(**changes: Any) -> dict[str, Any]:
    """The example of ``docs/solver.md``: the paper's instance, as a ``problem/1`` object."""
    third = 0.333
    problem = paper_instance(weights=(0.5, 0.5, third, third, third))
    return edited(problem.to_dict(), **changes)


def edited(problem: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """``problem`` with ``place__field=value``; a value of ``...`` deletes the field."""
    for name, value in changes.items():
        *parents, leaf = name.split("__")
        node = problem
        for parent in parents:
            node = node[parent]
        if value is ...:
            del node[leaf]
        else:
            node[leaf] = value
    return problem


def varied(seed: int, users: int = 8, **changes: Any) -> Problem:
    """The paper's curves with rates, times, powers and weights that differ from user to user."""
    rng = np.random.default_rng(seed)
    data = example(users=users, edge_budget=6 * users)
    for place, power in (("local", 0.03), ("edge", 3.0)):
        data[place] |= {
            "step_time": rng.uniform(0.001, 0.01, users),
            "power": rng.uniform(0.5, 1.5, users) * power,
            "overhead": 0.02,
        }
        data[place]["error"]["decay"] = rng.uniform(0.05, 0.3, users)
        data[place]["utility"]["rate"] = rng.uniform(0.05, 0.3, users)
    data["weights"]["error"] = rng.uniform(0.2, 0.5, users)
    return Problem.from_dict(edited(data, **changes))


def sub_problem(
    seed: int, tau: float = 0.0, **changes: Any
) -> tuple[P2, Relaxation, FloatArray, FloatArray]:
    """P2 around a random point (a, s) that satisfies (1), its relaxation, a and s."""
    relaxation = Relaxation.of(varied(seed, **changes))
    a, s = relaxation.start("random", seed)
    return relaxation.p2(a, s, a, tau), relaxation, a, s


def clarabel(problem: Problem, p2: P2, unit: float) -> tuple[float, FloatArray, FloatArray, float]:
    """P2 from the fields of ``problem``, solved by Clarabel: its value, a, s and delta."""
    import cvxpy as cp

    a, s, objective = cp.Variable(problem.users), cp.Variable(problem.users, nonneg=True), 0
    for place, weight in zip(PLACES, (p2.u, p2.v), strict=True):
        here, w = problem.place(place), problem.weights
        e, rate = here.error.parameters, here.utility.parameters["rate"]
        decays = (
            cp.exp(cp.multiply(-e["decay"], s))
            if "decay" in e
            else cp.power(s, -float(e["exponent"]), approx=False)
        )
        time = here.overhead + cp.multiply(here.step_time, s)
        second = np.broadcast_to(w["cost"] * (w["time"] + w["energy"] * here.power), problem.users)
        error_weight = w["cost"] * w["error"]
        error = cp.multiply(error_weight * e["scale"], decays) + error_weight * e.get("floor", 0)
        shortfall = w["utility"] * cp.exp(cp.multiply(-rate, s))
        cost = (cp.multiply(second, time) + error + shortfall) / unit
        objective += cp.sum(cp.multiply(weight, cp.square(cost)))
    objective += cp.sum(
        cp.multiply(1 / (4 * p2.u), cp.square(1 - a)) + cp.multiply(1 / (4 * p2.v), cp.square(a))
    )
    h = p2.around * (p2.around - 1) + cp.multiply(2 * p2.around - 1, a - p2.around)
    used = cp.sum(cp.multiply(p2.z, cp.square(s)) + cp.multiply(1 / (4 * p2.z), cp.square(a)))
    (l0, l1), (s0, s1) = p2.least, p2.most
    line = [s <= s0 + cp.multiply(s1 - s0, a), s >= l0 + cp.multiply(l1 - l0, a)]
    limits = [used <= p2.budget, a >= p2.span[0], a <= p2.span[1], *line]
    model = cp.Problem(cp.Minimize(objective - p2.tau * cp.sum(h)), limits)
    model.solve(cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return model.value, a.value, s.value, float(limits[0].dual_value)


def plain_dp(cost: FloatArray, budget: int) -> float:
    """The optimum of a multiple-choice knapsack: every user, every option, every budget.

    ``cost``, shape (users, 1 + steps), holds what s edge steps cost in column s.
    """
    value = np.zeros(budget + 1)
    for row in cost:
        new = np.full(budget + 1, np.inf)
        for step in range(min(len(row), budget + 1)):
            new[step:] = np.minimum(new[step:], value[: budget + 1 - step] + row[step])
        value = new
    return float(value[budget])


def exact_optimum(cost: FloatArray, budget: int) -> Fraction:
    """The optimum of a multiple-choice knapsack of floats, without any rounding.

    ``cost``, shape (users, 1 + steps), holds what s edge steps cost in column s; inf: not allowed.
    """
    # denominators of floats are powers of two: in units of the smallest, costs are integers
    unit = max(Fraction(value).denominator for value in cost[np.isfinite(cost)])
    best = {0: 0}
    for row in cost:
        options = [
            (step, int(Fraction(value) * unit)) for step, value in enumerate(row) if value < np.inf
        ]
        new: dict[int, int] = {}
        for used, total in best.items():
            for step, value in options:
                if used + step <= budget:
                    new_total = total + value
                    if used + step not in new or new_total < new[used + step]:
                        new[used + step] = new_total
        best = new
    return Fraction(min(best.values()), unit)


#: Pisinger's classes of instances, hard in different ways (Pisinger 1995; Kellerer, Pferschy and
#: Pisinger 2004, section 11.5).
HARD = (
    "uncorrelated",
    "weakly correlated",
    "strongly correlated",
    "inverse strongly correlated",
    "subset sum",
    "zig-zag",
    "even-odd",
    "profit ceiling",
    "0-1",
)


def hard_instance(
    kind: str, users: int, options: int = 10, most: int = 200, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Steps and profits, shape (users, options), and a budget of half of what all could use.

    Steps are integers in 1..``most`` and profits integers > 0; an item is one edge option, and the
    local option has neither.
    """
    rng = np.random.default_rng(seed)
    shape = (users, 1 if kind == "0-1" else options)
    steps, profit = rng.integers(1, most + 1, shape), rng.integers(1, most + 1, shape)
    if kind == "weakly correlated":
        profit = np.maximum(1, steps + rng.integers(-10, 11, shape))
    elif kind in ("strongly correlated", "inverse strongly correlated"):
        # sums of the small items of a knapsack problem with profit = steps + 10, or the reverse
        small = np.sort(rng.integers(1, most // options + 1, shape), axis=1).cumsum(axis=1)
        large = small + 10 * np.arange(1, options + 1)
        steps, profit = (small, large) if kind == "strongly correlated" else (large, small)
    elif kind == "subset sum":
        profit = steps.copy()
    elif kind == "zig-zag":
        steps, profit = np.sort(steps, axis=1), np.sort(profit, axis=1)
    elif kind == "even-odd":
        steps = 2 * rng.integers(1, most // 2 + 1, shape)
        profit = steps + 10
    elif kind == "profit ceiling":
        profit = 3 * -(-steps // 3)
    elif kind == "0-1":
        profit = steps + 10
    budget = int(steps.max(axis=1).sum()) // 2
    return steps, profit, budget | 1 if kind == "even-odd" else budget


def hard_table(steps: NDArray[np.int64], profit: NDArray[np.int64]) -> FloatArray:
    """Costs of :func:`hard_instance`, shape (users, 1 + steps): the largest profit less one's own.

    Column 0 is the local option; inf: no item. Of items with equal steps the best counts.
    """
    table = np.full((len(steps), 1 + steps.max()), np.inf)
    table[:, 0] = profit.max()
    np.minimum.at(table, (np.arange(len(steps))[:, None], steps), profit.max() - profit)
    return table


def table_problem(cost: FloatArray, budget: int) -> Problem:
    """The Problem of ``cost``, shape (users, 1 + steps), all >= 0; inf: not allowed."""
    largest = cost[np.isfinite(cost)].max()
    data = example(users=len(cost), edge_budget=budget, max_error=largest)
    data["weights"] = {"cost": 1.0, "utility": 0.0, "time": 0.0, "error": 1.0, "energy": 0.0}
    values = np.where(np.isfinite(cost), cost, 2 * largest + 1)
    for place, table in (("local", values[:, :1]), ("edge", values[:, 1:])):
        data[place]["max_steps"] = table.shape[1]
        data[place]["error"] = {"family": "table", "values": table}
    return Problem.from_dict(data)
