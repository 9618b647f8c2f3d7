"""The ways to solve a problem, by name."""

import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from solver import plugin
from solver.allocation import Allocation
from solver.baselines import all_local, edge_first, greedy, random, uniform
from solver.exact.exact import exact
from solver.inputs import InputError, check_keys
from solver.milp import milp
from solver.paper.algorithms import paper, paper_grown
from solver.problem import Problem

#: name -> function of a Problem that gives an Allocation
METHODS: dict[str, Callable[..., Allocation]] = {
    method.__name__: method
    for method in (exact, milp, all_local, edge_first, greedy, random, uniform, paper, paper_grown)
}


def find_method(method: str | Callable[..., Any]) -> Callable[..., Allocation]:
    """The method of that name, one of :data:`METHODS` or ``module:function``, or of a function.

    A function of one's own takes a Problem and returns ``(offload, steps)``, as in
    :func:`solver.plugin.adapt`. Raises InputError for an unknown name.
    """
    if not isinstance(method, str):
        return method if method in METHODS.values() else plugin.adapt(method)
    if ":" in method:
        return plugin.load(method)
    check_keys("solver", [method], METHODS)
    return METHODS[method]


def solve(
    problem: Problem, method: str | Callable[..., Any] = "exact", **settings: object
) -> Allocation:
    """Solve ``problem``; the allocation's ``seconds`` is the wall time of the method.

    ``method`` is a name of :data:`METHODS`, the name ``module:function`` of a function of one's
    own, or the function itself; ``settings`` are its further arguments (``random``: ``seed``).
    Raises InputError for an unknown method or setting, an infeasible problem, or a wrong answer of
    one's own function.
    """
    function = find_method(method)
    if settings:
        known = list(inspect.signature(function).parameters)[1:]
        for name in settings:
            if name not in known:
                label = method if isinstance(method, str) else plugin.name_of(method)
                raise InputError(
                    f"solver {label}: '{name}' is unknown; its settings: "
                    f"{', '.join(known) or 'none'}"
                )
    start = time.perf_counter()
    allocation = function(problem, **settings)
    return replace(allocation, seconds=time.perf_counter() - start)
