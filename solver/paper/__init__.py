"""The paper's method (Wang, Liu, Zhao, VTC 2024) and its experiment, to compare with."""

from solver.paper.instance import paper_instance

__all__ = ["paper_instance"]
