"""P1, eq. (8)-(9), as data: the costs of every user, place and step count, and the file format."""

from solver.problem.curves import ERROR_FAMILIES, UTILITY_FAMILIES, Curve
from solver.problem.place import Place
from solver.problem.problem import MAX_OPTIONS, PLACES, WEIGHTS, Problem

__all__ = [
    "ERROR_FAMILIES",
    "MAX_OPTIONS",
    "PLACES",
    "UTILITY_FAMILIES",
    "WEIGHTS",
    "Curve",
    "Place",
    "Problem",
]
