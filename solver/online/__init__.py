"""Requests that arrive one by one: policies, prices, and a lower bound on the optimum in hindsight.

Two budgets. A *rate* (:mod:`solver.online.policies`): the edge serves by continuous batching, and
time in which it does nothing is lost. A *stored* budget (:mod:`solver.online.stored`): steps or
joules for an hour, of which the unused stay.
"""

from solver.online.backlog import Backlog
from solver.online.bound import Bound, lower_bound
from solver.online.calls import Calls, Pace
from solver.online.certificate import Outcome, Regret, certify
from solver.online.policies import AT_EDGE, DEFAULT, POLICIES, charge, find_policy
from solver.online.state import Policy, Setting, Snapshot, State
from solver.online.tables import Tables

__all__ = [
    "AT_EDGE",
    "DEFAULT",
    "POLICIES",
    "Backlog",
    "Bound",
    "Calls",
    "Outcome",
    "Pace",
    "Policy",
    "Regret",
    "Setting",
    "Snapshot",
    "State",
    "Tables",
    "certify",
    "charge",
    "find_policy",
    "lower_bound",
]
