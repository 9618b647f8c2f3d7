"""Simple ways to allocate, to compare with. Each gives a feasible choice; none proves a bound."""

import heapq
from collections.abc import Callable, Iterable

import numpy as np

from solver.allocation import Allocation
from solver.columnar import FloatArray, IntArray
from solver.exact.prices import priced
from solver.inputs import InputError
from solver.knapsack import Knapsack
from solver.options import Choice
from solver.problem import Problem

#: Of the edge steps that fit, and the costs of one user: the steps that the user takes.
Take = Callable[[IntArray, FloatArray], int]


def all_local(problem: Problem) -> Allocation:
    """Every user computes for itself, with its best step count. InputError if one cannot."""
    if problem.is_plain:
        Knapsack.of(problem)  # refuses what is infeasible
    cost = np.column_stack([problem.cost("local"), np.full(problem.users, np.inf)])
    edge_only = ~np.isfinite(cost).any(axis=1)
    if edge_only.any():
        raise InputError(
            f"{problem.where}: all_local: {edge_only.sum()} of {problem.users} users "
            f"can only be served on the edge, user {edge_only.argmax()} first"
        )
    nobody = np.zeros(problem.users, dtype=np.int64)
    return priced(problem, Choice(nobody, 1 + cost.argmin(axis=1), nobody), "all_local")


def edge_first(problem: Problem) -> Allocation:
    """First come, first served: each user in turn takes its best edge option that still fits."""

    def take(fits: IntArray, cost: FloatArray) -> int:
        return fits[cost[fits].argmin()]

    knapsack = Knapsack.of(problem)
    return knapsack.allocation(_in_turn(knapsack, range(problem.users), take), "edge_first")


def random(problem: Problem, seed: int = 0) -> Allocation:
    """The paper's *random initialisation*: random offloading, then random steps.

    Users come in random order, and steps are uniform in what is allowed and still fits. A user that
    draws the edge and no longer fits stays local.
    """
    knapsack, rng = Knapsack.of(problem), np.random.default_rng(seed)

    def take(fits: IntArray, cost: FloatArray) -> int:
        return rng.choice(fits) if rng.random() < 0.5 or not np.isfinite(cost[0]) else 0

    weight = _in_turn(knapsack, rng.permutation(problem.users), take)
    local = np.isfinite(problem.cost("local"))
    local_steps = [1 + rng.choice(np.flatnonzero(row)) if row.any() else 1 for row in local]
    return knapsack.allocation(weight, "random", local_steps)


def _in_turn(knapsack: Knapsack, order: Iterable[int], take: Take) -> IntArray:
    """Edge steps of each user, 0 for local: ``take(fits, cost)`` in ``order``.

    What users that only the edge can serve need is kept for them.
    """
    weight = np.isfinite(knapsack.cost).argmax(axis=1)
    left = knapsack.budget - weight.sum()
    for user in order:
        cost = knapsack.cost[user]
        fits = 1 + np.flatnonzero(np.isfinite(cost[1 : weight[user] + left + 1]))
        if len(fits):
            left += weight[user]
            weight[user] = take(fits, cost)
            left -= weight[user]
    return weight


def greedy(problem: Problem) -> Allocation:
    """By marginal gain: repeat the move to more edge steps that saves most for each step."""
    knapsack = Knapsack.of(problem)
    weight = np.isfinite(knapsack.cost).argmax(axis=1)
    left = knapsack.budget - weight.sum()

    def best_move(user: int) -> tuple[float, int, int]:
        now = weight[user]
        ahead = knapsack.cost[user, now + 1 : now + left + 1]
        if not len(ahead):
            return 0.0, user, now
        rate = (ahead - knapsack.cost[user, now]) / np.arange(1, len(ahead) + 1)
        return rate.min(), user, now + 1 + int(rate.argmin())

    moves = [best_move(user) for user in range(problem.users)]
    heapq.heapify(moves)
    while moves:
        rate, user, step = heapq.heappop(moves)
        if rate < 0:
            if step - weight[user] <= left:
                left -= step - weight[user]
                weight[user] = step
            heapq.heappush(moves, best_move(user))
    return knapsack.allocation(weight, "greedy")


def uniform(problem: Problem) -> Allocation:
    """One step count for all on the edge, where those go who gain most for each step.

    A user that does not allow the common count takes the nearest below that it allows, or else its
    least. The best count wins.
    """
    knapsack = Knapsack.of(problem)
    cost, rows = knapsack.cost, np.arange(problem.users)
    allowed, edge_only = np.isfinite(cost), ~np.isfinite(cost[:, 0])
    allowed[:, 0] = False
    at = allowed.argmax(axis=1)  # each user's count: at first its least, 0 if it has none
    best, lowest = np.zeros(problem.users, dtype=np.int64), np.inf
    for step in range(cost.shape[1]):
        at = np.where(allowed[:, step], step, at)
        weight = np.where(edge_only, at, 0)
        left = knapsack.budget - weight.sum()
        if left < 0:
            break  # and higher counts leave even less
        gain = np.where(edge_only, 0.0, cost[rows, 0] - cost[rows, at]) / np.maximum(at, 1)
        order = np.argsort(-gain, kind="stable")
        order = order[gain[order] > 0]
        order = order[np.cumsum(at[order]) <= left]
        weight[order] = at[order]
        total = cost[rows, weight].sum()
        if total < lowest:
            best, lowest = weight, total
    return knapsack.allocation(best, "uniform")
