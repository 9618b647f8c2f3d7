"""Edge or local, and how many denoising steps: the allocation problem P1, eq. (8)-(9).

>>> from solver import Problem, certify, solve
>>> problem = Problem.load("problem.json")
>>> allocation = solve(problem)  # proven optimal; or solve(problem, "greedy"), or a function
>>> certify(problem, allocation)  # at most so far above the optimum, proven from the problem
"""

from typing import TYPE_CHECKING

from solver.allocation import Allocation, evaluate
from solver.certificate import certify
from solver.inputs import InputError
from solver.methods import METHODS, solve
from solver.problem import Problem

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "METHODS",
    "Allocation",
    "InputError",
    "Problem",
    "__version__",
    "certify",
    "evaluate",
    "solve",
]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module 'solver' has no attribute '{name}'")
    from importlib import metadata  # slow to import: only when asked for

    try:
        return metadata.version("edge-aigc-testbed")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # a source tree that is not installed
