"""The prices of the limits at a choice that anyone made."""

from solver.allocation import Allocation
from solver.exact.batches import boxed, longest_of
from solver.exact.several import prices_of
from solver.knapsack import Knapsack, evaluated
from solver.options import Choice
from solver.problem import Problem


def priced(problem: Problem, choice: Choice, solver: str, where: str = "allocation") -> Allocation:
    """The allocation of a choice, with the prices of the problem.

    Under makespans these are the prices with the longest that its batches have. Raises InputError
    if the choice breaks a limit.
    """
    if problem.is_plain:
        weight = choice.offload * choice.steps
        return Knapsack.of(problem).allocation(weight, solver, choice.steps)
    given = evaluated(problem, choice, solver, None, where=where)
    box = {name: (most, most) for name, most in longest_of(problem, given).items()}
    return evaluated(problem, choice, solver, prices_of(boxed(problem, box)))
