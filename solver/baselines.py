"""Simple ways to allocate, to compare with. Each gives a feasible choice; none has a bound."""

import heapq

import numpy as np

from solver.inputs import InputError
from solver.knapsack import Choices


def all_local(problem):
    """Every UE computes for itself, with its best step count. InputError if one cannot."""
    choices = Choices.of(problem)
    bound = ~np.isfinite(choices.cost[:, 0])
    if bound.any():
        raise InputError(
            f"{problem.where}: all_local: {bound.sum()} of {problem.users} users can only be served on the edge, "
            f"user {bound.argmax()} first"
        )
    return choices.allocation(np.zeros(problem.users, dtype=np.int64), "all_local")


def edge_first(problem):
    """First come, first served: in their order, the UEs take the edge option that is best for them
    of those that still fit.
    """

    def take(fits, cost):
        return fits[cost[fits].argmin()]

    choices = Choices.of(problem)
    return choices.allocation(_in_turn(choices, range(problem.users), take), "edge_first")


def random(problem, seed=0):
    """The paper's *random initialisation*: random offloading, then random steps, uniform in what is
    allowed and still fits.

    In random order; a UE that draws the edge and no longer fits stays local.
    """
    choices, rng = Choices.of(problem), np.random.default_rng(seed)

    def take(fits, cost):
        return rng.choice(fits) if rng.random() < 0.5 or not np.isfinite(cost[0]) else 0

    weight = _in_turn(choices, rng.permutation(problem.users), take)
    local = np.isfinite(problem.cost("local"))
    local_steps = [1 + rng.choice(np.flatnonzero(row)) if row.any() else 1 for row in local]
    return choices.allocation(weight, "random", local_steps)


def _in_turn(choices, order, take):
    """Edge steps for each UE, 0 for local: ``take(fits, cost)`` in ``order``; what edge-only UEs
    need is kept for them.
    """
    weight = np.isfinite(choices.cost).argmax(axis=1)
    left = choices.budget - weight.sum()
    for user in order:
        cost = choices.cost[user]
        fits = 1 + np.flatnonzero(np.isfinite(cost[1 : weight[user] + left + 1]))
        if len(fits):
            left += weight[user]
            weight[user] = take(fits, cost)
            left -= weight[user]
    return weight


def greedy(problem):
    """By marginal gain: again and again the move to more edge steps that saves the most for each
    step, while one fits.
    """
    choices = Choices.of(problem)
    weight = np.isfinite(choices.cost).argmax(axis=1)
    left = choices.budget - weight.sum()

    def best_move(user):
        now = weight[user]
        ahead = choices.cost[user, now + 1 : now + left + 1]
        if not len(ahead):
            return 0.0, user, now
        rate = (ahead - choices.cost[user, now]) / np.arange(1, len(ahead) + 1)
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
    return choices.allocation(weight, "greedy")


def uniform(problem):
    """One step count for all on the edge, and the best split for it: those who gain the most for
    each step go there.

    A UE that does not allow the common count takes the nearest below that it allows, or else its
    least. The best count wins.
    """
    choices = Choices.of(problem)
    cost, rows = choices.cost, np.arange(problem.users)
    allowed, bound = np.isfinite(cost), ~np.isfinite(cost[:, 0])
    allowed[:, 0] = False
    at = allowed.argmax(axis=1)  # each UE's count: at first its least, 0 if it has none
    best, lowest = None, np.inf
    for step in range(cost.shape[1]):
        at = np.where(allowed[:, step], step, at)
        weight = np.where(bound, at, 0)
        left = choices.budget - weight.sum()
        if left < 0:
            break  # and only less would be left at higher counts
        gain = np.where(bound, 0.0, cost[rows, 0] - cost[rows, at]) / np.maximum(at, 1)
        order = np.argsort(-gain, kind="stable")
        order = order[gain[order] > 0]
        order = order[np.cumsum(at[order]) <= left]
        weight[order] = at[order]
        total = cost[rows, weight].sum()
        if total < lowest:
            best, lowest = weight, total
    return choices.allocation(best, "uniform")
