"""Runs drawn from a pool: those of an honest pool hold, and the negative controls fail."""

import sys

import numpy as np
import pytest

from benchmarks.calibration import whole_runs
from benchmarks.calibration.default_run import shuffle_captions
from benchmarks.calibration.resampled_runs import Pool
from benchmarks.calibration.whole_runs import CHANGES, drawn, summary
from testbed.embedded import scenes
from tests.calibration.world import World, profiles

RUNS = 4
TOTAL = {"quantity": "time (sum)", "basis": "measured", "inside": True}


@pytest.fixture(scope="module")
def pool():
    """Made-up images of two seeds, whose prompts are different enough for 60 of each class."""
    records = World(seed=3).calibrate(prompts=60, seeds=(0, 1), steps=[1, 4, 12, 32])
    draw = np.random.default_rng(0)
    features = {record.id: draw.standard_normal(4) for record in records}
    return Pool.of(records, profiles(records), features, draw.standard_normal((100, 4)))


@pytest.fixture(scope="module")
def runs(pool):
    return drawn(pool, RUNS)


@pytest.mark.slow
def test_most_runs_of_an_honest_pool_fail_nothing_and_are_not_wide(runs):
    shown = summary(runs["none"])
    assert shown["runs"] == RUNS and shown["failed"] <= 1 / RUNS
    for name in ("time (sum)", "error (mean)", "utility (mean)"):
        total = shown["totals"][name]
        assert total["inside"] >= 0.75
        assert total["inside"] + total["below"] + total["above"] == pytest.approx(1)
        assert 0 < total["median_absolute_error"] < total["half_width"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CHANGES)[1:])
def test_a_negative_control_fails_in_nearly_all_runs(runs, name):
    assert summary(runs[name])["failed"] >= 0.9


@pytest.mark.slow
def test_a_drawn_run_follows_from_its_seed(pool, runs):
    again = drawn(pool, 1)
    assert again == {name: made[:1] for name, made in runs.items()}
    assert runs["none"][0] != runs["none"][1]


def test_runs_for_real_that_the_file_holds_are_not_made_again(tmp_path, monkeypatch, capsys):
    made = []

    def execute(seed, busy):
        if len(made) == 2 and seed == 2:
            raise KeyboardInterrupt
        made.append((seed, busy))
        held = {"PASS": 1} if seed != 1 else {"PASS": 1, "FAIL": 1}
        totals = [TOTAL, {**TOTAL, "inside": seed != 1}, {**TOTAL, "basis": "modelled"}]
        seconds = 10.0 if busy else 4.0 + seed
        run = {"seed": seed, "busy": busy, "seconds": seconds, "headline": "", "totals": totals}
        return {**run, "verdicts": held}

    monkeypatch.setattr(whole_runs, "execute", execute)
    out = tmp_path / "runs.json"
    command = ["whole_runs", "--executed", "3", "--busy", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        whole_runs.main()
    made.append("again")
    whole_runs.main()
    assert made == [(0, False), (1, False), "again", (2, False), (100, True)]
    shown = whole_runs.read_json(out)["summary"]
    assert shown["undisturbed"] == {
        "runs": 3,
        "without_fail": 2,
        "inside": {"time (sum)": "5 of 6"},
    }
    assert shown["busy"]["runs"] == 1 and shown["times_as_long"] == 2.0


def test_each_seed_has_the_same_captions_in_another_order_and_the_splits_stay_apart(monkeypatch):
    fixed = scenes.captions
    orders = set()
    for seed in range(3):
        monkeypatch.setattr(scenes, "captions", fixed)
        shuffle_captions(seed)
        for split in ("calibration", "held-out"):
            assert set(scenes.captions("object", split)) == set(fixed("object", split))
        orders.add(scenes.captions("object", "held-out"))
    assert len(orders) == 3
