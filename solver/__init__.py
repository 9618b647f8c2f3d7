"""Edge or local, and how many steps: the allocation problem P1, eq. (8)-(9), its exact solution,
and methods to compare with.
"""

from solver.allocation import Allocation, evaluate
from solver.certificate import certify
from solver.inputs import InputError
from solver.methods import METHODS, solve
from solver.problem import Problem

__all__ = ["METHODS", "Allocation", "InputError", "Problem", "certify", "evaluate", "solve"]
