"""The ways to solve a problem, by name."""

import time
from dataclasses import replace

from solver.baselines import all_local, edge_first, greedy, random, uniform
from solver.exact import exact
from solver.inputs import check_keys
from solver.milp import milp

#: name -> function of a Problem that gives an Allocation
METHODS = {method.__name__: method for method in (exact, milp, all_local, edge_first, greedy, random, uniform)}


def solve(problem, method="exact", **settings):
    """Solve ``problem`` by one of :data:`METHODS`; ``settings`` go to the method (``random``: ``seed``).

    The allocation's ``seconds`` is the wall time of the method. Raises InputError for an unknown method or an infeasible problem.
    """
    check_keys("solver", [method], METHODS)
    start = time.perf_counter()
    allocation = METHODS[method](problem, **settings)
    return replace(allocation, seconds=time.perf_counter() - start)
