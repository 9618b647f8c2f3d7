"""The benchmark's goals on a small stream: it measures what it says, on the measured profiles."""

import json

from benchmarks import online
from solver.online import DEFAULT


def test_under_overload_the_default_is_the_best_of_all_and_fast(monkeypatch):
    monkeypatch.setattr(online, "LOADS", (2.0,))
    monkeypatch.setattr(online, "PROCESSES", ("poisson",))
    place = online.world()
    result = online.rate_budget(place, 400, 1)
    (cell,) = result["cells"]
    gain = cell["gain"]
    assert gain["all_local"] == 0 and cell["beats_window"]
    # a fixed price knows the hindsight: on few requests nobody has to be as good
    rivals = [gain[name] for name in gain if name not in (DEFAULT, "fixed_price")]
    assert gain[DEFAULT] > max(rivals) and gain[DEFAULT] > gain["fixed_price"] - 0.05
    assert cell["p99"] < cell["p99_selfish"]
    json.dumps(result)
    # CPU seconds: on a busy machine a few are long
    assert online.decision_time(place)["median"] < 1e-3


def test_at_twice_the_capacity_it_carries_more_at_equal_utility():
    ratio = online.goodput(online.world(), 300, 1)["ratio"]
    assert ratio["utility"]["value"] > 1.15 and ratio["objective"]["value"] > 1.15
