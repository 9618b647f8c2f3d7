"""Methods at each of many values of one number of a problem."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from solver.allocation import Allocation
from solver.inputs import InputError, check_keys
from solver.knapsack import Knapsack
from solver.methods import METHODS, find_method, solve
from solver.options import Options
from solver.plugin import name_of
from solver.problem import Problem
from solver.studies.rows import TOTALS, SweptRow


def sweep(
    problem: Problem,
    key: str,
    values: Sequence[float],
    *methods: str | Callable[..., Any],
    **settings: object,
) -> Iterator[SweptRow]:
    """Yield one row for each of ``values`` of ``key`` and each of ``methods`` (default: exact).

    ``key`` is the path of a number in the problem's file, as ``edge_budget``, ``weights.error`` and
    ``edge.power[3]`` are. ``note`` says why a row has no numbers: the problem is infeasible, or one
    of :data:`~solver.methods.METHODS` beside others cannot solve it. ``settings`` reach the methods
    that have them. Raises InputError if there is no such number, a value is not allowed, or a
    single method, or one's own, cannot solve the problem.
    """
    methods = methods or ("exact",)
    variants = []
    for value in values:  # all are read before the first is solved
        data = problem.to_dict()
        _set(data, key, value, problem.where)
        variants.append(Problem.from_dict(data, where=problem.where))
    functions = [find_method(method) for method in methods]
    for value, variant in zip(values, variants, strict=True):
        refused = None  # not known yet
        for method, function in zip(methods, functions, strict=True):
            own = {
                name: setting
                for name, setting in settings.items()
                if len(methods) == 1 or name in inspect.signature(function).parameters
            }
            allocation, note = None, refused or ""
            try:
                allocation = None if refused else solve(variant, method, **own)
            except (InputError, RuntimeError) as error:
                if refused is None:
                    refused = str(error) if method == "exact" else _refusal(variant)
                if not refused and (len(methods) == 1 or method not in METHODS):
                    raise
                note = refused or str(error)
            label = method if isinstance(method, str) else name_of(method)
            yield _row(key, value, label if len(methods) > 1 else None, variant, allocation, note)


def _row(
    key: str,
    value: float,
    solver: str | None,
    problem: Problem,
    allocation: Allocation | None,
    note: str,
) -> SweptRow:
    limits = None if problem.is_plain else [limit.name for limit in Options.of(problem).limits]
    if allocation is None:
        prices = None if limits is None else dict.fromkeys(limits)
        return SweptRow(key, value, solver, prices=prices, note=note)
    given = allocation.prices or {}
    return SweptRow(
        key,
        value,
        solver,
        objective=allocation.objective,
        edge_price=allocation.edge_price,
        prices=None if limits is None else {limit: given.get(limit) for limit in limits},
        users_on_edge=sum(place > 0 for place in allocation.offload),
        edge_steps=allocation.edge_steps_used,
        note=note,
        **{name: getattr(allocation, name) for name in TOTALS},
    )


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
