"""Simple ways to allocate, to compare with. Each gives a feasible choice; none proves a bound.

They take every problem: several edges, tiers, splits, slots and makespans. Offloading is taking an
option at any place but the device.
"""

from solver.baselines.simple import all_local, edge_first, greedy, random
from solver.baselines.uniform import uniform

__all__ = ["all_local", "edge_first", "greedy", "random", "uniform"]
