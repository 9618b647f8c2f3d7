"""Methods compared on a problem, a value of it swept, and the Pareto front over its weights:
tables, as lists of plain dicts.
"""

import itertools
import time
from dataclasses import replace

import numpy as np

from solver.inputs import InputError, check_keys
from solver.knapsack import Choices
from solver.methods import METHODS, solve
from solver.problem import WEIGHTS, Problem

TOTALS = ("time", "energy", "error", "utility")  # sums in s and J, means over UEs
SYMBOLS = ("w1", "w2", "c1", "c2", "c3")  # of solver.problem.WEIGHTS
COMPARED = ("objective", "gap", *TOTALS, "seconds")
SWEPT = ("objective", "edge_price", "users_on_edge", "edge_steps", *TOTALS)
#: Options, users x step counts on the edge, beyond which HiGHS is not tried.
MILP_OPTIONS = 1_000_000
#: w1 of the Pareto front, with w2 = 1 - w1.
COST_WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)


def compare(problem, others=(), seeds=100, first_seed=0, time_limit=10.0):
    """Yield one row for each of :data:`~solver.methods.METHODS` and of ``others``, names that
    :func:`~solver.methods.solve` takes.

    A row: ``solver``, ``runs``, :data:`COMPARED` and ``note``. ``gap`` is (objective - optimum) /
    max(|objective|, |optimum|) to the proven optimum. ``random`` has two rows, mean and standard
    deviation over ``seeds`` runs from ``first_seed`` on, or over the runs begun in ``time_limit``
    seconds, which is HiGHS's limit too. A method that cannot has None and a ``note``. Raises
    InputError if the problem is infeasible or one of ``others`` is wrong.
    """
    best, limits = solve(problem), {"milp": {"time_limit": time_limit}}

    def row(found):
        excess, size = (
            found.objective - best.objective,
            max(abs(found.objective), abs(best.objective)),
        )
        gap = (
            0.0 if abs(excess) <= 1e-12 * size else excess / size
        )  # below lies rounding, by the order of summation
        return {name: gap if name == "gap" else getattr(found, name) for name in COMPARED}

    yield {"solver": "exact", "runs": 1, **row(best), "note": ""}
    for name in others:  # early, as someone's own may be wrong
        yield {"solver": name, "runs": 1, **row(solve(problem, name)), "note": ""}
    for name in [name for name in METHODS if name not in ("exact", "random")]:
        try:
            if (
                name == "milp"
                and (options := problem.users * len(problem.steps("edge"))) > MILP_OPTIONS
            ):
                raise InputError(f"not tried on {options:,} options; at most {MILP_OPTIONS:,}")
            found = solve(problem, name, **limits.get(name, {}))
            note = (
                f"stopped after {time_limit:g} s"
                if name in limits and found.status == "feasible"
                else ""
            )
            yield {"solver": name, "runs": 1, **row(found), "note": note}
        except (InputError, RuntimeError) as error:
            yield {"solver": name, "runs": 0, **dict.fromkeys(COMPARED), "note": str(error)}
    runs, start = [], time.perf_counter()
    for seed in range(first_seed, first_seed + seeds):
        if runs and time.perf_counter() - start > time_limit:
            break
        runs.append(row(solve(problem, "random", seed=seed)))
    for label, function in (("mean", np.mean), ("deviation", np.std)):
        values = {name: float(function([run[name] for run in runs])) for name in COMPARED}
        yield {"solver": f"random, {label}", "runs": len(runs), **values, "note": ""}


def sweep(problem, key, values, method="exact", **settings):
    """Yield one row for each of ``values`` of ``key``, a dotted name of one number in ``problem/1``
    (``edge_budget``, ``weights.error``).

    A row: ``key``, :data:`SWEPT` and ``note``, which says why the others are None where the problem
    is infeasible. Raises InputError if there is no such number, a value is not allowed, or the
    method cannot.
    """
    data = problem.to_dict()
    *parents, leaf = key.split(".")
    node = data
    for parent in parents:
        if not isinstance(node, dict):
            break
        check_keys(f"sweep: {key}", [parent], node)
        node = node[parent]
    if not isinstance(node, dict) or not isinstance(node.get(leaf, 0), (int, float)):
        raise InputError(
            f"sweep: {key}: is not one number in {problem.where}; allowed: the dotted name of a number, like edge_budget"
        )
    problems = []
    for value in values:  # all are read before the first is solved
        node[leaf] = value
        problems.append(Problem.from_dict(data, where=problem.where))
    for value, one in zip(values, problems, strict=True):
        try:
            Choices.of(one)
        except InputError as error:
            yield {key: value, **dict.fromkeys(SWEPT), "note": str(error)}
            continue
        found = solve(one, method, **settings)
        row = {"users_on_edge": sum(found.offload), "edge_steps": found.edge_steps_used}
        yield (
            {key: value}
            | {name: row[name] if name in row else getattr(found, name) for name in SWEPT}
            | {"note": ""}
        )


def weightings(problem, parts=6):
    """Yield w1, w2, c1, c2, c3 to try: all shares of 1/``parts`` of the cost for time, error and
    energy, times :data:`COST_WEIGHTS`.

    The shares are of what the optimum of ``problem`` as it is spends for each UE, as seconds and
    joules differ by orders of magnitude. A share of 0 is taken as 1/1000: only with positive
    weights is every optimum on the Pareto front.
    """
    found = solve(problem)
    scale = np.array([found.time / problem.users, found.error, found.energy / problem.users])
    scale[scale == 0] = 1.0
    for shares in itertools.product(range(parts + 1), repeat=3):
        if sum(shares) == parts:
            c = np.maximum(np.array(shares) / parts, 1e-3) / scale
            for w1 in COST_WEIGHTS:
                yield w1, 1 - w1, *c.tolist()


def optima(problem, weightings):
    """Yield one row for each of ``weightings``, the same for all UEs: :data:`SYMBOLS`, and
    :data:`TOTALS` of the optimum under them.
    """
    for values in weightings:
        weights = {name: np.asarray(value) for name, value in zip(WEIGHTS, values, strict=True)}
        found = solve(replace(problem, weights=weights))
        yield dict(zip(SYMBOLS, values, strict=True)) | {
            name: getattr(found, name) for name in TOTALS
        }


def pareto(rows):
    """The rows of :func:`optima` that no other beats in one of :data:`TOTALS` without losing in
    another; by growing time.

    Of rows that agree in 12 digits only the first stays.
    """
    signs = {"utility": -1}
    points = np.array(
        [[float(f"{signs.get(name, 1) * row[name]:.11e}") for name in TOTALS] for row in rows]
    )
    points, first = np.unique(points, axis=0, return_index=True)
    beaten = [
        ((points <= point).all(axis=1) & (points < point).any(axis=1)).any() for point in points
    ]
    return [rows[index] for index, out in zip(first, beaten, strict=True) if not out]
