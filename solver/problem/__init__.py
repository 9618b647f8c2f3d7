"""P1, eq. (8)-(9), as data: the costs of every user, place and step count, and the file format."""

from solver.problem.curves import ERROR_FAMILIES, UTILITY_FAMILIES, Curve
from solver.problem.load import Load, Makespan
from solver.problem.place import MAX_OPTIONS, Place
from solver.problem.problem import PLACES, WEIGHTS, Problem
from solver.problem.split import Split

__all__ = [
    "ERROR_FAMILIES",
    "MAX_OPTIONS",
    "PLACES",
    "UTILITY_FAMILIES",
    "WEIGHTS",
    "Curve",
    "Load",
    "Makespan",
    "Place",
    "Problem",
    "Split",
]
