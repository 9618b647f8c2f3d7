"""Moved: the helpers to :mod:`tests.solver.problems`, the tests to ``tests/solver/problem``."""

from tests.solver.problems import edited, example

__all__ = ["edited", "example"]
