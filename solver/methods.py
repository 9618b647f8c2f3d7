"""The ways to solve a problem, by name."""

import inspect
import time
from dataclasses import replace

from solver import plugin as external
from solver.baselines import all_local, edge_first, greedy, random, uniform
from solver.exact.exact import exact
from solver.inputs import InputError, check_keys
from solver.milp import milp
from solver.paper.algorithms import paper, paper_grown

#: name -> function of a Problem that gives an Allocation
METHODS = {
    method.__name__: method
    for method in (exact, milp, all_local, edge_first, greedy, random, uniform, paper, paper_grown)
}


def find(method):
    """The function of one of :data:`METHODS`, or of anyone's ``module:function``
    (:func:`solver.plugin.load`).
    """
    if ":" in method:
        return external.load(method)
    check_keys("solver", [method], METHODS)
    return METHODS[method]


def solve(problem, method="exact", **settings):
    """Solve ``problem`` by one of :data:`METHODS` or by ``module:function``; ``settings`` go to it
    (``random``: ``seed``).

    The allocation's ``seconds`` is the wall time of the method. Raises InputError for an unknown
    method or setting, an infeasible problem, or a wrong answer of ``module:function``.
    """
    function = find(method)
    if settings:
        known = list(inspect.signature(function).parameters)[1:]
        for name in settings:
            if name not in known:
                raise InputError(
                    f"solver {method}: '{name}' is unknown; its settings: {', '.join(known) or 'none'}"
                )
    start = time.perf_counter()
    allocation = function(problem, **settings)
    return replace(allocation, seconds=time.perf_counter() - start)
