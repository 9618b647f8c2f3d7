"""All local, first come first served, at random, and by marginal gain."""

import heapq
from collections.abc import Callable, Iterable

import numpy as np

from solver.allocation import Allocation
from solver.baselines.draft import Draft, refuse_infeasible
from solver.columnar import FloatArray, IntArray
from solver.exact.prices import priced
from solver.inputs import InputError
from solver.options import Choice
from solver.problem import Problem

#: Of the options that fit, and the costs of one user: the option that the user takes, or None.
Take = Callable[[IntArray, FloatArray], int | None]


def all_local(problem: Problem) -> Allocation:
    """Every user computes for itself, with its best step count. InputError if one cannot."""
    refuse_infeasible(problem)
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

    draft = Draft.of(problem, "edge_first")
    _in_turn(draft, range(problem.users), take)
    return draft.allocation("edge_first")


def random(problem: Problem, seed: int = 0) -> Allocation:
    """The paper's *random initialisation*: random offloading, then random steps.

    Users come in random order, and steps are uniform in what is allowed and still fits; before
    them, of several places one is. A user that draws the edge and no longer fits stays local.
    """
    draft, rng = Draft.of(problem, "random"), np.random.default_rng(seed)
    place = draft.options.place
    local = np.isfinite(draft.cost[:, :-1]) & (place == 0)

    def take(fits: IntArray, cost: FloatArray) -> int | None:
        if rng.random() >= 0.5 and np.isfinite(cost[:-1][place == 0]).any():
            return None
        places = np.unique(place[fits])
        if len(places) > 1:
            fits = fits[place[fits] == rng.choice(places)]
        return rng.choice(fits)

    _in_turn(draft, rng.permutation(problem.users), take)
    for user, row in enumerate(local):
        option = rng.choice(np.flatnonzero(row)) if row.any() else 0
        if draft.alone[user] == draft.choice[user]:
            draft.choice[user] = option
    return draft.allocation("random")


def _in_turn(draft: Draft, order: Iterable[int], take: Take) -> None:
    """Offload users in ``order``; ``take(fits, cost)`` None: the user stays as it is.

    What users that only the edge can serve need is kept for them.
    """
    for user in order:
        fits = np.flatnonzero(draft.fits(user) & draft.offloads)
        option = take(fits, draft.cost[user]) if len(fits) else None
        if option is not None:
            draft.take(user, option)


def greedy(problem: Problem) -> Allocation:
    """By marginal gain: repeat the move to more edge steps that saves most for each step.

    Of several limits a move weighs the shares that it takes, all together; one that saves and takes
    no more than before comes first.
    """
    draft = Draft.of(problem, "greedy")

    def best_move(user: int) -> tuple[float, int, int]:
        now = draft.choice[user]
        saved = draft.cost[user] - draft.cost[user, now]
        more = draft.demand - draft.demand[now]
        rate = np.full(len(more), -np.inf)
        np.divide(saved, more, out=rate, where=more > 0)
        rate[~draft.fits(user) | (saved >= 0)] = 0.0
        return rate.min(), user, int(rate.argmin())

    freed = True
    while freed:  # what a move gives back may let another user in that found no room
        freed = False
        moves = [best_move(user) for user in range(problem.users)]
        heapq.heapify(moves)
        while moves:
            rate, user, option = heapq.heappop(moves)
            if rate < 0:
                if draft.fits(user)[option]:
                    before = draft.weight[draft.choice[user]]
                    freed |= bool((draft.weight[option] < before).any())
                    draft.take(user, option)
                heapq.heappush(moves, best_move(user))
    return draft.allocation("greedy")
