"""Dynamic programming over the core: with all states, with few of them, and by enumeration."""

import itertools
from functools import partial

import numpy as np
import pytest

from solver.exact import dynamic_program
from solver.exact.dynamic_program import Allowance, ItemClasses, Rest, best_changes


def drawn(rng):
    """Moves, losses and which of them are kept, shape (classes, options); a spare, and a price."""
    shape = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    moves = np.array(
        [rng.choice(np.r_[-7:0, 1:8], shape[1], replace=False) for _ in range(shape[0])]
    )
    return moves, rng.random(shape), rng.random(shape) < 0.8, int(rng.integers(0, 12)), 0.3


def losses_of(moves, losses, kept, spare, price):
    """What every choice that fits loses: at most one kept option of each class."""
    options = [
        [(0, 0.0), *zip(row[kept_row].tolist(), loss[kept_row].tolist(), strict=True)]
        for row, loss, kept_row in zip(moves, losses, kept, strict=True)
    ]
    for choice in itertools.product(*options):
        unused = spare - sum(move for move, _ in choice)
        if unused >= 0:
            yield sum(loss for _, loss in choice) + price * unused


@pytest.mark.parametrize("few_states", [0, 100_000])
def test_the_best_changes_are_those_of_enumeration(monkeypatch, few_states):
    """None where no choice loses less than the limit; the moves that are taken fit."""
    monkeypatch.setattr(dynamic_program, "FEW_STATES", few_states)
    monkeypatch.setattr(dynamic_program, "FEW", 1)
    rng = np.random.default_rng(4)
    for _ in range(60):
        moves, losses, kept, spare, price = drawn(rng)
        least = min(losses_of(moves, losses, kept, spare, price))
        classes = ItemClasses.of(moves, losses - price * moves, kept)
        for limit in (least + 1e-9, least - 1e-9):
            taken = best_changes(
                classes,
                partial(Rest.of, moves, losses, kept),
                spare,
                price,
                limit,
                enough=-1.0,
                slack=1e-12,
                reach=100,
                allowance=Allowance(10**9, 10**9),
            )
            if limit < least:
                assert taken is None
                continue
            shift = classes.moves[taken]
            assert shift.sum() <= spare
            assert classes.changes[taken].sum() + price * spare == pytest.approx(least, abs=1e-12)
