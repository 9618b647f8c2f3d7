"""One step count for all."""

import numpy as np

from solver.allocation import Allocation
from solver.baselines.draft import Draft
from solver.columnar import BoolArray, IntArray
from solver.inputs import InputError
from solver.options import Menu
from solver.problem import Problem


def uniform(problem: Problem) -> Allocation:
    """One step count for all on the edge, where those go who gain most for each step.

    A user that does not allow the common count at a place takes the nearest below that it allows
    there, or else its least. Of several places users ask for the one where they gain most for each
    step, and who is refused for the next. The best count wins.
    """
    draft = Draft.of(problem, "uniform")
    rows, nothing, edges = np.arange(problem.users), draft.nothing, range(1, len(problem.names))
    columns = [own for place in edges if len(own := np.flatnonzero(draft.options.place == place))]
    menus = [Menu.of(draft.options.edge_steps[own, None]) for own in columns]
    at = np.full((problem.users, len(menus)), nothing)  # at first each user's least, if it has one
    allowed: list[tuple[int, int, BoolArray, IntArray]] = []  # (count, place, users, options)
    for index, (menu, own) in enumerate(zip(menus, columns, strict=True)):
        least, option = menu.cheapest(draft.cost[:, own])
        can = np.isfinite(least)
        at[:, index] = np.where(can.any(axis=1), own[option[rows, can.argmax(axis=1)]], nothing)
        for entry, count in enumerate(menu.weight[:, 0].tolist()):
            allowed.append((count, index, can[:, entry], own[option[:, entry]]))
    best, lowest = None, np.inf
    counts = sorted({count for count, *_ in allowed})
    for count in [0, *counts]:
        for this, index, can_take, option in allowed:
            if this == count:
                at[:, index] = np.where(can_take, option, at[:, index])
        choice = _asked(draft, at)
        total = draft.cost[rows, choice].sum()
        if total < lowest:
            best, lowest = choice, total
    if best is None:
        raise InputError(
            f"{problem.where}: uniform: no common step count serves all that only an edge can "
            "serve; allowed for such a problem: exact, milp"
        )
    return draft.allocation("uniform", best)


def _asked(draft: Draft, at: IntArray) -> IntArray:
    """Who is offloaded where, if user n can only take option ``at[n, i]`` at the i-th place.

    Shape (users,): the options taken, that of nothing where only a place that is full can serve.
    """
    cost, demand = draft.cost, np.maximum(draft.demand, 1e-300)
    choice = draft.alone.copy()
    edge_only, rows = choice == draft.nothing, np.arange(len(at))
    own = np.where(edge_only, 0.0, cost[rows, choice])
    # those that only an edge can serve come first, each where it costs least
    worth = own[:, None] - np.where(at < draft.nothing, cost[rows[:, None], at], np.inf)
    rate = np.where(edge_only[:, None], worth, worth / demand[at])
    rate[~(edge_only[:, None] & (at < draft.nothing)) & (rate <= 0)] = -np.inf
    left = draft.room(at)
    for _ in range(at.shape[1]):
        pick = rate.argmax(axis=1)
        asks = rate[rows, pick]
        order = np.lexsort((-asks, ~edge_only))
        order = order[(asks > -np.inf)[order]]
        option = at[order, pick[order]]
        weight = draft.weight[option]
        kept = ((weight.cumsum(axis=0) <= left) | (weight == 0)).all(axis=1)
        choice[order[kept]] = option[kept]
        left = left - weight[kept].sum(axis=0)
        rate[order[kept]] = -np.inf
        rate[order[~kept], pick[order[~kept]]] = -np.inf
    return choice
