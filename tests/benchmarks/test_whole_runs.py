"""Runs drawn from a pool: those of an honest pool hold, and the negative controls fail."""

import numpy as np
import pytest

from benchmarks.resampled_runs import Change, Pool
from benchmarks.whole_runs import CONTROLS, drawn, summary
from tests.calibration.world import World, profiles

RUNS = 4
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool():
    """Made-up images of two seeds, whose prompts are different enough for 60 of each class."""
    records = World(seed=3).calibrate(prompts=60, seeds=(0, 1), steps=[1, 4, 12, 32])
    draw = np.random.default_rng(0)
    features = {record.id: draw.standard_normal(4) for record in records}
    return Pool.of(records, profiles(records), features, draw.standard_normal((100, 4)))


@pytest.fixture(scope="module")
def honest(pool):
    return drawn(pool, RUNS, Change())


def test_most_runs_of_an_honest_pool_fail_nothing_and_are_not_wide(honest):
    shown = summary(honest)
    assert shown["runs"] == RUNS and shown["failed"] <= 1 / RUNS
    for name in ("time (sum)", "error (mean)", "utility (mean)"):
        total = shown["totals"][name]
        assert total["inside"] >= 0.75
        assert total["inside"] + total["below"] + total["above"] == pytest.approx(1)
        assert 0 < total["median_absolute_error"] < total["half_width"] < 0.3


@pytest.mark.parametrize("name", CONTROLS)
def test_a_negative_control_fails_in_nearly_all_runs(pool, name):
    assert summary(drawn(pool, RUNS, CONTROLS[name]))["failed"] >= 0.9


def test_a_drawn_run_follows_from_its_seed(pool, honest):
    assert drawn(pool, 1, Change()) == honest[:1] and honest[0] != honest[1]
