"""Which steps a server chooses, and what it quotes."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from calibration.costs.batch import fit_batching
from calibration.serving.quote import Ahead, Quoter
from solver.inputs import InputError
from solver.online import AT_EDGE
from solver.online.calls import RECENT
from testbed.engines.batched import BatchedEngine
from testbed.server.admission import Wish
from tests.testbed.server.conftest import CAP, error, serving


def test_auto_is_the_least_cost_within_the_limits(server):
    admission = server.service.admission

    def auto(wish):
        return admission.choose(*admission.feasible(wish), only_asked=True)

    assert server.post().json()["metrics"]["steps_by"] == "externality_price"
    tables, _ = admission.feasible(Wish())
    best = int(tables.steps[np.argmin(tables.cost)])
    assert auto(Wish()) == best
    assert 1 < best < 32
    strict = float(tables.error[tables.steps == best + 4][0])
    assert auto(Wish(max_error=strict)) >= best + 4
    soon = float(tables.high[tables.steps == best - 1][0]) * 1.0001
    assert auto(Wish(deadline=soon)) <= best - 1
    weights = admission.scenario.weights
    hasty = Wish(weights=replace(weights, time=10 * weights.time))
    thorough = Wish(weights=replace(weights, time=0.0, energy=0.0))
    steps = [auto(wish) for wish in (hasty, Wish(), thorough)]
    assert steps == sorted(steps) and steps[0] < steps[2]
    error(server.post(max_error=1e-6), 400, "infeasible", "max_error")


@pytest.fixture
def busy_batches(opened):
    """As if each request made a batch clearly slower, whatever this machine does."""
    sizes = np.repeat([1, 2, 4], 3)
    timings = [(sizes, a * sizes + b) for a, b in ((5e-3, 0.01), (5e-4, 2e-3), (3e-3, 4e-3))]
    return replace(opened, quoter=Quoter(fit_batching(*timings), CAP))


def test_the_price_makes_a_shared_batch_use_fewer_steps(busy_batches):
    chosen = {}
    with serving(busy_batches) as server, ThreadPoolExecutor(1) as pool:
        admission = server.service.admission
        assert not admission.forecast(Wish())[0].price.any(), "nobody is there to pay it"
        busy = pool.submit(server.post, n=3, num_inference_steps=40)
        while server.service.queue().running < 3:
            time.sleep(0.01)
        rows, state = admission.feasible(Wish())
        quote = server.client.get("/v1/quote").json()
        for factor in (0, 1, 100):  # as if those present were so many times as hurried
            table = state.options._replace(harm=factor * state.options.harm)
            seen = replace(state, backlog=replace(state.backlog, table=table))
            chosen[factor] = admission.choose(rows, seen)
        busy.result()
    assert quote["price"] > 0 and quote["policy"] == "externality_price"
    assert (rows.price > 0).all() and (np.diff(rows.price) >= 0).all()
    assert chosen[0] == rows.steps[np.argmin(rows.cost)]
    assert chosen[1] == rows.steps[np.argmin(rows.cost + rows.price)]
    assert chosen[100] < chosen[1] <= chosen[0]


@pytest.mark.parametrize("policy", AT_EDGE)
def test_every_policy_of_an_edge_chooses_within_the_limits(opened, policy):
    """Asked for a quote it chooses without remembering, also where it counts who came."""
    with serving(opened, policy=policy) as server:
        admission = server.service.admission
        limit = float(admission.forecast(Wish())[0].error[4])
        for _ in range(3):
            auto = server.client.get(f"/v1/quote?max_error={limit}").json()["auto"]
        told = server.post(max_error=limit).json()["metrics"]
        assert told["steps_by"] == policy and told["steps"] == auto >= 5


def test_a_policy_of_ones_own_chooses_and_its_fault_is_one_line(opened, tmp_path, monkeypatch):
    (tmp_path / "edge_policy.py").write_text(
        "def third(state):\n    return 3 if state.allowed[3] else int(state.allowed.argmax())\n"
        "def home(state):\n    return 0\n"
        "def patient(state):\n    return int((state.own + 2 * state.others).argmin())\n"
        "class Greedy:\n"
        "    def __init__(self, setting):\n        pass\n"
        "    def __call__(self, state):\n        return 1\n"
        "    def charge(self, state):\n        return [1, 2]\n"
        "class Charging:\n"
        "    def __init__(self, setting):\n        self.asked = 0\n"
        "    def __call__(self, state):\n        self.asked += 1\n        return self.asked\n"
        "    def charge(self, state):\n        return 7.0 * state.options.shared\n"
        "class Endless(Charging):\n"
        "    def charge(self, state):\n        return [float('inf')] * len(state.allowed)\n"
        "class Holding(Charging):\n"
        "    def __init__(self, setting):\n"
        "        super().__init__(setting)\n        self.file = open(__file__)\n"
    )
    monkeypatch.chdir(tmp_path)
    with serving(opened, policy="edge_policy:third") as server:
        assert server.post().json()["metrics"]["steps"] == 3
        assert server.client.get("/v1/quote").json()["price"] == 0
    with serving(opened, policy="edge_policy:home") as server:
        said = error(server.post(), 500, "policy_failed")
        assert said.startswith("edge_policy:home: found 0 for a request of kind")
    with serving(opened, policy="edge_policy:Greedy") as server:
        said = error(server.client.get("/v1/quote"), 500, "policy_failed")
        assert said.startswith("edge_policy:Greedy: ValueError")
    with serving(opened, policy="edge_policy:Endless") as server:
        said = error(server.post(), 500, "policy_failed")
        assert said == "edge_policy:Endless: charge: found inf; allowed: finite numbers"
    with serving(opened, policy="edge_policy:Holding") as server:
        said = server.client.get("/v1/quote").json()["why"]
        assert "edge_policy:Holding: cannot be copied, to be asked for a quote" in said
    with serving(opened, policy="edge_policy:patient") as server:
        rows, state = server.service.admission.feasible(Wish())
        least = rows.steps[np.argmin(rows.cost)]
        assert server.post().json()["metrics"]["steps"] == least, "alone it is its own best"
    with serving(opened, policy="edge_policy:Charging") as server:
        for steps in (1, 2):
            quote = server.client.get("/v1/quote").json()
            assert quote["auto"] == steps and quote["price"] > 0
            assert server.post().json()["metrics"]["steps"] == steps


def test_steps_left_open_keep_the_deadline_of_whoever_is_present(busy_batches):
    with serving(busy_batches, policy="selfish") as server:
        admission, calls = server.service.admission, busy_batches.quoter.calls
        assert admission.choose(*admission.feasible(Wish())) > 3
        alone = 40 * calls.tick[1] + calls.decode[1]
        spare = calls.text[1] + calls.decode[1] + 3.5 * (calls.tick[2] - calls.tick[1])
        hurried = Ahead(40, encoded=True, due=alone + spare)
        assert admission.choose(*admission.feasible(Wish(), [hurried])) == 3


def test_the_price_that_is_told_is_that_of_now(opened):
    """Not of the last decision, however long ago that was."""
    with serving(opened) as server:
        admission = server.service.admission
        rows, state = admission.feasible(Wish())
        now, span = state.now, 2 * admission._policy._period
        for index in range(200):
            admission.choose(rows, replace(state, arrival=now, now=now + span * index / 200))
        assert admission._policy.price > 0
        late = replace(state, arrival=now + 3600, now=now + 3600)
        assert not admission._charge(late).any()
        assert admission._policy.price > 0, "asking changed nothing"
        assert admission._charge(replace(state, now=now + span)).any()


def test_a_device_is_held_to_the_limits_of_the_scenario_too(opened):
    device = "/v1/quote?device_class=snapdragon-7-gen-4"
    with serving(opened) as server:
        most = max(server.client.get(device).json()["local"]["high"])
    scenario = replace(opened.scenario, deadline=most / 2)
    with serving(replace(opened, scenario=scenario)) as server:
        told = server.client.get(device).json()
        assert told["local"]["high"] and max(told["local"]["high"]) <= most / 2


def test_steps_left_open_are_those_that_the_scheduler_takes(opened, monkeypatch):
    def iterations(engine, steps):
        if not 2 <= steps <= 4:
            raise InputError(f"steps: found {steps}; allowed: 2 to 4")
        return steps

    monkeypatch.setattr(BatchedEngine, "iterations", iterations)
    with serving(opened) as server:
        assert server.client.get("/v1/quote").json()["edge"]["steps"] == [2, 3, 4]
        assert server.post().json()["metrics"]["steps"] == 4
        error(server.post(num_inference_steps=5), 400, "invalid_value", "num_inference_steps")


def test_a_quote_says_where_and_why(server):
    quote = server.client.get("/v1/quote").json()
    assert quote["place"] == "edge" and quote["local"] is None and quote["cap"] == CAP
    table = quote["edge"]
    assert quote["auto"] in table["steps"] and str(quote["auto"]) in quote["why"]
    assert quote["left"] == 0
    assert all(a < b for a, b in zip(table["seconds"], table["seconds"][1:]))
    slow = "/v1/quote?device_class=snapdragon-7-gen-4"
    local = server.client.get(slow).json()["local"]
    assert local["seconds"] and local["price"] == [0.0] * len(local["steps"])
    refused = server.client.get("/v1/quote?deadline=0.0001").json()
    assert refused["edge"] is None and refused["auto"] is None and "deadline" in refused["why"]
    for query, param in (("deadline=x", "deadline"), ("prompt_class=x", "prompt_class")):
        error(server.client.get(f"/v1/quote?{query}"), 400, "invalid_value", param)
    error(server.client.get("/v1/quote?device_class=x"), 400, "invalid_value")


def test_a_server_that_became_slower_knows_it(opened):
    """As if its batches had been timed on a machine ten times as fast."""
    quoter = copy.copy(opened.quoter)
    quoter.calls = quoter.calls.scaled(0.1)
    with serving(replace(opened, quoter=quoter)) as server:
        server.post(num_inference_steps=2 * RECENT, guidance_scale=1.0)  # half of each call's rows
        assert server.client.get("/v1/quote").json()["pace"] == 1
        assert server.post(num_inference_steps=2 * RECENT).status_code == 200
        pace = server.client.get("/v1/quote").json()["pace"]
        _, state = server.service.admission.forecast(Wish())
    assert pace > 2 and state.backlog.pace == pytest.approx(pace, rel=0.05)
    expected = state.backlog.pace * quoter.calls.alone(4)
    assert state.options.shared[4] == pytest.approx(expected)
