"""Simulated streams: decisions on arrival or at a window's end, quotes and their coverage."""

import numpy as np
import pytest

from calibration.arrivals import draw
from calibration.serving.online import Noise, calls_of, events, serve
from calibration.serving.online_run import OnlineRun, summary
from calibration.serving.simulator import simulate
from solver.online import Setting, certify, find_policy, lower_bound
from tests.calibration.costs.timings import batch_cost
from tests.solver.online.worlds import CALLS, stream, tables


@pytest.fixture(scope="module")
def world():
    return tables(seed=2)


def served(world, name, rate, count=300, noise=None, seed=0):
    kind, arrival = stream(world, rate, count, seed)
    policy = find_policy(name, Setting(world, CALLS))
    return serve(world, CALLS, kind, arrival, policy, noise)


def test_the_edge_serves_as_the_simulator_of_whole_streams_does(world):
    done = served(world, "selfish", 60.0)
    edge = done.outcome.edge
    expected = simulate(
        done.outcome.arrival[edge],
        done.outcome.steps[edge],
        lambda b: CALLS.tick[b],
        CALLS.cap,
        "first_come",
        lambda b: CALLS.text[b],
        lambda b: CALLS.decode[b],
    )
    assert 0.2 < edge.mean() < 1
    assert done.outcome.seconds[edge] == pytest.approx(expected.total)
    assert done.outcome.shared.sum() == pytest.approx(done.busy)


def test_requests_are_held_until_their_window_ends():
    arrival = np.array([0.1, 0.2, 0.9, 2.05])
    assert list(events(arrival, None)) == [(0.1, [0]), (0.2, [1]), (0.9, [2]), (2.05, [3])]
    assert list(events(arrival, 0.5)) == [(0.5, [0, 1]), (1.0, [2]), (2.5, [3])]


@pytest.mark.parametrize("load", [0.3, 1.0, 2.0])
def test_quoted_intervals_hold_in_a_noisy_world(world, load):
    done = served(world, "externality_price", 40 * load, 800, Noise(0.08, 1), seed=5)
    edge, seconds = done.outcome.edge, done.outcome.seconds
    told, spent = done.quotes[edge], seconds[edge]
    inside = (told[:, 1] <= spent) & (spent <= told[:, 2])
    assert 0.91 <= inside.mean() <= 0.995
    assert np.median(np.abs(told[:, 0] / spent - 1)) < 0.2
    assert (told[:, 2] / told[:, 1] < 6).all()


def test_the_calls_are_those_that_were_timed():
    cost = batch_cost(np.random.default_rng(0))
    calls = calls_of(cost)
    assert calls.cap == min(cost.cap, cost.text.sizes[-1], cost.decode.sizes[-1])
    assert calls_of(cost, 4).cap == 4
    assert (np.diff(calls.tick) > 0).all()


def test_noise_has_mean_one():
    noise = Noise(0.3, 0)
    assert np.mean([noise() for _ in range(4000)]) == pytest.approx(1.0, abs=0.03)


def test_a_summary_adds_up_and_survives_its_file(world):
    kind, arrival = stream(world, 30.0, 60)
    done = served(world, "externality", 30.0, 60)
    proof = certify(world, CALLS, done.outcome, lower_bound(world, CALLS, kind, arrival))
    row = summary("externality", 1.0, 30.0, world, done, proof)
    assert row.regret == pytest.approx(proof.regret) and row.gain == pytest.approx(proof.share)
    error, utility = world.quality(kind, done.outcome.edge, done.outcome.steps)
    problem = world.problem
    weights = {name: float(value) for name, value in problem.weights.items()}
    again = 60 * (
        weights["cost"]
        * (
            weights["time"] * row.time
            + weights["error"] * row.error
            + weights["energy"] * row.energy
        )
        - weights["utility"] * row.utility
    )
    assert row.cost == pytest.approx(again), "eq. (8) of the means, as all weigh alike"
    asked = {
        "policies": ["externality"],
        "loads": [1.0],
        "arrivals": "poisson",
        "requests": 60,
        "seed": 0,
        "executed": False,
    }
    values = {
        "schema": "online/1",
        "asked": asked,
        "capacity": 30.0,
        "kinds": ["a"],
        "runs": [row.to_dict()],
    }
    run = OnlineRun.from_dict(values)
    assert OnlineRun.from_dict(run.to_dict()) == run


def test_load_shifts_requests_to_their_own_devices(world):
    shares = [
        served(world, "externality_price", rate).outcome.edge.mean() for rate in (10, 60, 200)
    ]
    assert sorted(shares, reverse=True) == shares and shares[-1] < 0.6
    assert len(draw("bursts", 10.0, 50, 0).times) == 50
