"""Compare methods, sweep one value of a problem, and find the Pareto front over its weights.

Every study is a table: rows with the same columns, for printing and plotting.
"""

from solver.studies.comparison import compare
from solver.studies.front import optima, pareto, weightings
from solver.studies.parameter_sweep import sweep
from solver.studies.rows import TOTALS, ComparedRow, FrontRow, Row, SweptRow

__all__ = [
    "TOTALS",
    "ComparedRow",
    "FrontRow",
    "Row",
    "SweptRow",
    "compare",
    "optima",
    "pareto",
    "sweep",
    "weightings",
]
