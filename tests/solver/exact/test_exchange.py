"""Exchanges of up to four users, and what they are worth with many budgets."""

import itertools

import numpy as np
import pytest

from benchmarks.solver.several_limits import several
from solver import limits, solve
from solver.exact import exchange
from solver.exact.losses import Losses


@pytest.mark.parametrize("seed", range(6))
def test_the_best_exchange_of_two_is_found(seed):
    """Against all pairs of moves: at least as good as the best that leaves next to nothing."""
    rng = np.random.default_rng(seed)
    weight = np.vstack([np.zeros((1, 2), int), rng.integers(0, 4, (5, 2))])
    cost = rng.random((6, 6))
    start = rng.integers(0, 6, 6)
    spare = rng.integers(0, 3, 2)
    losses = Losses.of(cost, weight, weight[start].sum(axis=0) + spare, np.full(2, 0.1), start)

    def lost(choice):
        left = losses.capacity - weight[choice].sum(axis=0)
        own = losses.loss[np.arange(6), choice].sum() + 0.1 * left.sum()
        return own if (left >= 0).all() and left.sum() <= exchange.MOST_UNUSED else np.inf

    best = np.inf
    for users in itertools.combinations(range(6), 2):
        for entries in itertools.product(range(6), repeat=2):
            choice = start.copy()
            choice[list(users)] = entries
            best = min(best, lost(choice))
    now = float(losses.own.sum() + 0.1 * losses.spare.sum())
    better = exchange.exchanged(losses, now)
    if better is not None:
        left = losses.capacity - weight[better].sum(axis=0)
        assert (left >= 0).all() and lost(better) < now
    assert best >= now - 1e-12 or lost(better) <= best + 1e-12


def test_many_budgets_are_used_up(monkeypatch):
    """Five prices leave a gap that exchanges close to less than a quarter."""
    monkeypatch.setattr(limits, "SEARCH_ADDITIONS", 10**7)
    problem = several(120, 16, 5, 0)
    with_exchanges = solve(problem)
    monkeypatch.setattr("solver.exact.several.exchanged", lambda *_: None)
    without = solve(problem)
    assert with_exchanges.gap < without.gap / 4
    assert with_exchanges.lower_bound == pytest.approx(without.lower_bound, rel=1e-6)
