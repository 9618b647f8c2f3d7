"""Requests that arrive: each part measures what it says, on the measured profiles."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks.online import controls, executed, frontier, quotes, rate, speeds
from benchmarks.online.setting import world
from calibration.serving.online_run import Asked
from solver.inputs import InputError
from solver.online import DEFAULT, find_policy
from testbed.runs.folder import RunFolder
from testbed.stages.online.simulate import World, simulate


@pytest.fixture(scope="module")
def place():
    return world()


def test_under_overload_the_default_is_the_best_of_all_and_fast(place):
    result = rate.rate_budget(place, [("poisson", 2.0)], 250, 1)
    (cell,) = result["cells"]
    gain = cell["gain"]
    assert gain["all_local"] == 0 and cell["beats_window"]
    # a fixed price knows the hindsight: on few requests nobody has to be as good
    rivals = [gain[name] for name in gain if name not in (DEFAULT, "fixed_price")]
    assert gain[DEFAULT] > max(rivals) and gain[DEFAULT] > gain["fixed_price"] - 0.05
    assert cell["p99"] < cell["p99_selfish"]
    json.dumps(result)
    # CPU seconds: on a busy machine a few are long
    assert rate.decision_time(place)["median"] < 1e-3


def lines(carries, noise=0.0):
    """A frontier whose quality falls evenly with the load over what it ``carries``; of two settings
    one is always worse.
    """
    rng = np.random.default_rng(0)
    loads = np.array(frontier.LOADS)
    best = -loads / carries + noise * rng.normal(size=(4, 1))
    quality = np.stack([best, best - 1], axis=2)
    return frontier.Measured(quality, np.broadcast_to(loads[:, None], quality.shape))


def test_of_two_frontiers_the_ratio_of_goodput_at_equal_quality_is_told():
    told = frontier._compared(lines(1.5, 0.1), lines(1.0, 0.1), 4)
    for row in told["rows"]:
        assert row["ratio"]["value"] == pytest.approx(1.5)
        assert row["ratio"]["low"] <= 1.5 <= row["ratio"]["high"]
    assert told["rows"][1]["goodput"] == 2.0
    same = frontier._compared(lines(1.0), lines(1.0), 4)["rows"]
    assert all(row["ratio"] == pytest.approx(dict.fromkeys(row["ratio"], 1.0)) for row in same)
    # who is always better carries at least the most that was tried
    (*_, last) = frontier._compared(lines(9.0), lines(1.0), 4)["rows"]
    assert last["ratio"]["value"] == pytest.approx(frontier.LOADS[-1] / last["load"])


def test_a_quality_that_is_reached_at_no_load_carries_nothing():
    ours = lines(1.0)
    best = ours.level(0, np.arange(4))[0]
    assert ours.carried(best + 0.1, np.arange(4)) == 0
    (first, *_) = frontier._compared(ours, replace(ours, quality=ours.quality + 9), 4)["rows"]
    assert first["ratio"]["value"] == 0 == first["ratio"]["low"]


def test_a_larger_weight_of_the_error_buys_less_error(place, monkeypatch):
    monkeypatch.setattr(frontier, "LOADS", (2.0,))
    monkeypatch.setattr(frontier, "RAISED", (1.0, 4.0))
    raised = frontier.raised(place, "error", 0.5)
    told = frontier._measured(place, "error", raised, [partial(find_policy, DEFAULT)], 200, 1)
    assert told.quality[0, 0, 1] > told.quality[0, 0, 0] + 0.01
    assert (told.goodput == 2.0).all(), "every deadline is kept"


def test_errors_are_split_into_bias_and_spread():
    told = np.ones(999)
    measured = 1.2 * np.exp(0.1 * np.random.default_rng(0).normal(size=999))
    parts = quotes.parts(measured, told)
    assert parts["bias"] == pytest.approx(0.2, abs=0.02)
    assert parts["spread"] == pytest.approx(0.0675, abs=0.01)
    assert quotes.parts(measured / 1.2, told)["error"] == pytest.approx(0.0675, abs=0.01)


@pytest.mark.parametrize("process", ["poisson", "bursts"])
def test_who_knows_the_process_quotes_better_than_the_backlog_alone(place, process):
    (cell,) = quotes.quoted(place, [(process, 1.0)], 250, 1, 24, 6)["cells"]
    assert cell["oracle"]["error"] < cell["backlog"]["error"]
    assert abs(cell["oracle"]["bias"]) < 0.12 < cell["backlog"]["bias"]


def test_the_pace_helps_on_a_slow_machine_and_changes_nothing_on_a_steady_one(place, monkeypatch):
    monkeypatch.setattr(speeds, "SPEEDS", (1.0, 2.0))
    steady, slow = speeds.at_speeds(place, [("poisson", 2.0)], 200, 1)
    assert steady["more"]["value"] == 0 < 0.1 < slow["more"]["value"]
    assert 0 < slow["gain"] < steady["gain"] < 1


def test_verdicts_are_those_of_the_interval():
    def verdict(low, high):
        return executed._verdict({"value": (low + high) / 2, "low": low, "high": high})

    assert verdict(0.01, 0.03) == "ahead" and verdict(-0.03, -0.01) == "behind"
    assert verdict(-0.001, 0.001) == "equal" and verdict(-0.03, 0.05) == "open"


def test_a_control_that_follows_the_streams_narrows_the_interval_and_moves_no_mean():
    rng = np.random.default_rng(0)
    held, widths = {"good": 0, "useless": 0}, {"good": [], "useless": []}
    for _ in range(
        200
    ):  # cells whose expected difference is 0.1, of which five streams are executed
        streams = rng.normal(0.1, 0.2, 200)
        live = streams[:5] + rng.normal(0, 0.02, 5)
        # the simulation is off by 0.3, in all streams alike; the useless one knows nothing of them
        for name, expected in {"good": streams - 0.3, "useless": rng.normal(0, 0.2, 200)}.items():
            told = controls.controlled(list(live - expected[:5]), expected)
            held[name] += told["low"] <= 0.1 <= told["high"]
            widths[name].append(told["high"] - told["low"])
    assert held["good"] > 180 and held["useless"] > 180
    assert np.mean(widths["useless"]) > 5 * np.mean(widths["good"])


def test_controls_are_the_simulated_streams_of_their_seeds(place, monkeypatch):
    monkeypatch.setattr(controls, "STREAMS", 2)
    asked = Asked((DEFAULT, "selfish"), (2.0,), "poisson", 60, 1, False)
    usual = [run.row.gain for run in simulate(place, asked)]

    def gains(speeds):
        told = controls.simulated(place, "poisson", 2.0, 60, asked.policies, speeds)
        return [told[name][1] for name in asked.policies]

    assert gains([1.0]) == pytest.approx(usual)
    slow, slower = gains([1.0, 2.0]), gains([2.0])
    assert all(each != pytest.approx(like) for each, like in zip(slow, usual, strict=True))
    assert all(each != pytest.approx(like) for each, like in zip(slow, slower, strict=True))


def test_of_cells_without_pairs_no_goal_is_met():
    cell = {"process": "poisson", "margin": {}, "behind": [], "ahead": []}
    cells = [cell | {"load": load} for load in range(10)]
    assert set(executed.goals({"cells": cells}).values()) == {False}
    known = {"margin": {"window": {}}, "ahead": ["window"]}
    cells = [each | known for each in cells]
    assert set(executed.goals({"cells": cells}).values()) == {True}
    twice = [each | {"load": each["load"] % 5} for each in cells]
    assert set(executed.goals({"cells": twice}).values()) == {False}


@pytest.mark.slow
def test_streams_are_executed_kept_and_not_made_again(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(executed, "FEWEST", 6)
    folder = RunFolder.read(shutil.copytree(small_run.folder, tmp_path / "run"))
    place = World.read(folder)
    monkeypatch.setattr(controls, "STREAMS", 3)
    cells, kept = [("poisson", 2.0)], []

    def more(before, policies, seeds=1):
        return executed.execute(folder, place, before, cells, policies, seeds, 0.01, kept.append)

    first = more(None, ["all_edge", DEFAULT])
    assert [len(streams.rows) for streams in kept] == [1, 2]
    again = executed.Streams.from_dict(json.loads(json.dumps(first.to_dict())))
    assert more(again, [DEFAULT, "all_edge"]) == first and len(kept) == 2
    second = more(again, ["all_edge"], 2)
    assert len(kept) == 3 and second.rows[:2] == first.rows
    (cell,) = executed.compared(second, place)["cells"]
    assert cell["margin"] == {}, "one pair of the same seed tells nothing"
    third = more(second, [DEFAULT], 2)
    told = executed.compared(third, place)
    (cell,) = told["cells"]
    edge, own, other_edge, other_own = (row.live.gain - row.simulated.gain for row in third.rows)
    many = cell["simulated"][DEFAULT] - cell["simulated"]["all_edge"]
    margin = (own - edge + other_own - other_edge) / 2 + many
    assert cell["margin"]["all_edge"]["value"] == pytest.approx(margin)
    assert sum((cell[name] for name in ("ahead", "equal", "open", "behind")), []) == ["all_edge"]
    assert told["simulation"]["time"]["streams"] == 4
    assert all(row["error"]["low"] <= row["error"]["value"] for row in told["quality"])
    assert set(executed.goals(told).values()) == {False}
    with pytest.raises(InputError, match="found run .* of capacity 1; allowed"):
        more(replace(first, capacity=1.0), ["all_edge"])
