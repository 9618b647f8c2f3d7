"""Compare methods, sweep one value of a problem, and find the Pareto front over its weights.

Every study is a table: rows are dicts with the same columns, for printing and plotting.
"""

import inspect
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from solver.allocation import ROUNDING, Allocation
from solver.inputs import InputError, check_keys
from solver.knapsack import Knapsack
from solver.methods import METHODS, find_method, solve
from solver.plugin import name_of
from solver.problem import WEIGHTS, Problem

Row = dict[str, Any]
TOTALS = ("time", "energy", "error", "utility")  # sums in s and J, means over users
SYMBOLS = ("w1", "w2", "c1", "c2", "c3")  # of solver.problem.WEIGHTS
COMPARED = ("objective", "gap", *TOTALS, "seconds")
SWEPT = ("objective", "edge_price", "users_on_edge", "edge_steps", *TOTALS)
#: Options, users x step counts on the edge, beyond which HiGHS is not tried.
MILP_OPTIONS = 1_000_000
#: w1 of the Pareto front, with w2 = 1 - w1.
COST_WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)


class Runs(NamedTuple):
    """The runs of one method in a comparison; none where it cannot solve the problem."""

    solver: str
    allocations: list[Allocation]
    note: str = ""

    @property
    def objective(self) -> float:
        """The best objective."""
        return min((run.objective for run in self.allocations), default=np.inf)

    def rows(self, optimum: float) -> Iterator[Row]:
        """One row, or for ``random`` two, with gaps to ``optimum``."""
        rows = [_compared(run, optimum) for run in self.allocations]
        if self.solver != "random":
            columns = rows[0] if rows else dict.fromkeys(COMPARED)
            yield {"solver": self.solver, "runs": len(rows), **columns, "note": self.note}
            return
        for label, function in (("mean", np.mean), ("deviation", np.std)):
            values = {name: float(function([row[name] for row in rows])) for name in COMPARED}
            note = self.note if label == "mean" else ""
            yield {"solver": f"random, {label}", "runs": len(rows), **values, "note": note}


def _compared(allocation: Allocation, optimum: float) -> Row:
    excess, size = allocation.objective - optimum, max(abs(allocation.objective), abs(optimum))
    # below lies rounding, by the order of summation
    gap = 0.0 if abs(excess) <= ROUNDING * size else excess / size
    return {name: gap if name == "gap" else getattr(allocation, name) for name in COMPARED}


def _runs(
    problem: Problem,
    exact: Allocation,
    others: Iterable[str | Callable[..., Any]],
    seeds: int,
    first_seed: int,
    time_limit: float,
) -> Iterator[Runs]:
    """The runs of every method; those of ``others`` early, as someone's own may be wrong."""
    yield Runs("exact", [exact])
    for other in others:
        allocation = solve(problem, other)
        yield Runs(allocation.solver, [allocation])
    for name in [name for name in METHODS if name not in ("exact", "random")]:
        limited = {"time_limit": time_limit} if name == "milp" else {}
        try:
            options = problem.users * sum(len(problem.steps(name)) for name in problem.names[1:])
            if limited and options > MILP_OPTIONS:
                raise InputError(f"not tried on {options:,} options; at most {MILP_OPTIONS:,}")
            allocation = solve(problem, name, **limited)
        except (InputError, RuntimeError) as error:
            yield Runs(name, [], str(error))
            continue
        stopped = limited and allocation.status == "feasible" and allocation.seconds >= time_limit
        yield Runs(name, [allocation], f"stopped after {time_limit:g} s" if stopped else "")
    draws: list[Allocation] = []
    start = time.perf_counter()
    for seed in range(first_seed, first_seed + seeds):
        if draws and time.perf_counter() - start > time_limit:
            break
        draws.append(solve(problem, "random", seed=seed))
    yield Runs("random", draws)


def compare(
    problem: Problem,
    others: Iterable[str | Callable[..., Any]] = (),
    seeds: int = 100,
    first_seed: int = 0,
    time_limit: float = 10.0,
) -> Iterator[Row]:
    """Yield one row for each of :data:`~solver.methods.METHODS` and of ``others``.

    ``others`` are methods that :func:`~solver.methods.solve` takes. A row has ``solver``, ``runs``,
    :data:`COMPARED` and ``note``. ``gap`` is (objective - optimum) / max(|objective|, |optimum|) to
    the proven optimum, and the exact method comes first. Where it proves none, the best objective
    comes first and stands for the optimum, and the note says how far off it is at most. ``random``
    has two rows, mean and standard deviation over ``seeds`` runs from ``first_seed`` on, or over
    the runs begun in ``time_limit`` seconds, which is HiGHS's limit too. A method that cannot solve
    the problem has None and a ``note``. Raises InputError if the problem is infeasible or one of
    ``others`` is wrong.
    """
    exact = solve(problem)
    runs = _runs(problem, exact, others, seeds, first_seed, time_limit)
    best = exact.objective
    if exact.status != "optimal":
        every = list(runs)
        best = min(run.objective for entry in every for run in entry.allocations)
        every.sort(key=lambda entry: entry.objective > best)
        bound = f"the optimum is at least {exact.lower_bound:.10g}, proven"
        every[0] = every[0]._replace(note="; ".join(filter(None, [every[0].note, bound])))
        runs = iter(every)
    for entry in runs:
        yield from entry.rows(best)


def sweep(
    problem: Problem,
    key: str,
    values: Sequence[float],
    *methods: str | Callable[..., Any],
    **settings: object,
) -> Iterator[Row]:
    """Yield one row for each of ``values`` of ``key`` and each of ``methods`` (default: exact).

    ``key`` is the path of a number in the problem's file, as ``edge_budget``, ``weights.error`` and
    ``edge.power[3]`` are. A row has ``key``, ``solver`` if there are several methods,
    :data:`SWEPT` and ``note``, which says why the others are None where the problem is infeasible,
    or one of :data:`~solver.methods.METHODS` beside others cannot solve it. ``settings`` reach the
    methods that have them. Raises InputError if there is no such number, a value is not allowed, or
    a single method, or one's own, cannot solve the problem.
    """
    methods = methods or ("exact",)
    variants = []
    for value in values:  # all are read before the first is solved
        data = problem.to_dict()
        _set(data, key, value, problem.where)
        variants.append(Problem.from_dict(data, where=problem.where))
    functions = [find_method(method) for method in methods]
    for value, variant in zip(values, variants, strict=True):
        refused = _refusal(variant)
        for method, function in zip(methods, functions, strict=True):
            own = {
                name: setting
                for name, setting in settings.items()
                if len(methods) == 1 or name in inspect.signature(function).parameters
            }
            row: Row = {key: value}
            if len(methods) > 1:
                row["solver"] = method if isinstance(method, str) else name_of(method)
            try:
                allocation = None if refused else solve(variant, method, **own)
                note = refused
            except (InputError, RuntimeError) as error:
                if len(methods) == 1 or method not in METHODS:
                    raise
                allocation, note = None, str(error)
            yield row | _swept(allocation) | {"note": note}


def _swept(allocation: Allocation | None) -> Row:
    """:data:`SWEPT` of an allocation, or None for each."""
    if allocation is None:
        return dict.fromkeys(SWEPT)
    counts = {
        "users_on_edge": sum(place > 0 for place in allocation.offload),
        "edge_steps": allocation.edge_steps_used,
    }
    return {name: counts[name] if name in counts else getattr(allocation, name) for name in SWEPT}


def _refusal(problem: Problem) -> str:
    """Why a problem is infeasible; empty if it is not."""
    try:
        if problem.is_plain:
            Knapsack.of(problem)
        else:
            solve(problem)
    except InputError as error:
        return str(error)
    return ""


def _set(data: dict[str, Any], key: str, value: float, where: str) -> None:
    """Replace the number at a path of names and list indices; raises InputError if there is none.

    A name that is not there is an optional field's, which reading the problem will tell.
    """
    *parents, leaf = re.findall(r"[^.\[\]]+|\[\d+\]", key) or [""]
    node: Any = data
    for part in parents:
        index: Any = int(part[1:-1]) if part[0] == "[" else part
        if isinstance(node, dict):
            check_keys(f"sweep: {key}", [index], node)
        elif not isinstance(node, list) or not isinstance(index, int) or index >= len(node):
            node = None
            break
        node = node[index]
    last: Any = int(leaf[1:-1]) if leaf[:1] == "[" else leaf
    inside = isinstance(node, list) and isinstance(last, int) and last < len(node)
    old = node[last] if inside else node.get(last, 0) if isinstance(node, dict) else None
    if not (old is None and inside) and not isinstance(old, (int, float)):
        raise InputError(
            f"sweep: {key}: is not one number in {where}; allowed: the dotted name of a "
            "number, like edge_budget or edge.power[3]"
        )
    node[last] = value


def weightings(problem: Problem, parts: int = 6) -> Iterator[tuple[float, ...]]:
    """Yield w1, w2, c1, c2, c3 to try: all shares of the cost in parts of 1/``parts``.

    The shares, of time, error and energy, are multiplied with each of :data:`COST_WEIGHTS`. They
    are shares of what the optimum of ``problem`` as it is spends for each user, as seconds and
    joules differ by orders of magnitude. A share of 0 is taken as 1/1000: only with positive
    weights is every optimum on the Pareto front.
    """
    best = solve(problem)
    scale = np.array([best.time / problem.users, best.error, best.energy / problem.users])
    scale[scale == 0] = 1.0
    for shares in itertools.product(range(parts + 1), repeat=3):
        if sum(shares) == parts:
            c = np.maximum(np.array(shares) / parts, 1e-3) / scale
            for w1 in COST_WEIGHTS:
                yield w1, 1 - w1, *c.tolist()


def optima(problem: Problem, weightings: Iterable[Sequence[float]]) -> Iterator[Row]:
    """Yield one row for each of ``weightings``, the same for all users.

    A row has :data:`SYMBOLS`, and :data:`TOTALS` of the optimum under these weights.
    """
    for values in weightings:
        weights = {name: np.asarray(value) for name, value in zip(WEIGHTS, values, strict=True)}
        allocation = solve(replace(problem, weights=weights))
        totals = {name: getattr(allocation, name) for name in TOTALS}
        yield dict(zip(SYMBOLS, values, strict=True)) | totals


def pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows of :func:`optima` that are not dominated in :data:`TOTALS`, by growing time.

    A row is dominated if another is better in one total and worse in none. Of rows that agree in 12
    digits only the first stays.
    """
    signs = {"utility": -1}
    points = np.array(
        [[float(f"{signs.get(name, 1) * row[name]:.11e}") for name in TOTALS] for row in rows]
    )
    points, first = np.unique(points, axis=0, return_index=True)
    dominated = [
        ((points <= point).all(axis=1) & (points < point).any(axis=1)).any() for point in points
    ]
    return [rows[index] for index, out in zip(first, dominated, strict=True) if not out]
