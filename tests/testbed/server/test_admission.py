"""Who is let in, with how many steps, and what refused clients are told."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.serving.broken import bodies
from calibration.costs.batch import fit_batching
from calibration.serving.quote import Ahead, Quoter
from solver.inputs import InputError
from solver.online import AT_EDGE
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import find_adapter
from testbed.server.admission import Wish
from tests.testbed.server.conftest import CAP, serving


def error(answer, status, code, param=None):
    """The error of an answer: one line in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    fault = answer.json()["error"]
    assert set(fault) == {"message", "type", "param", "code"}
    assert (fault["code"], fault["param"]) == (code, param)
    assert "\n" not in fault["message"] and "Traceback" not in fault["message"]
    return fault["message"]


@pytest.mark.parametrize(
    "body, param",
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": True}, "n"),
        ({"n": 2, "response_format": "file"}, "n"),
        ({"size": "1024x1024"}, "size"),
        ({"response_format": "url"}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 101}, "output_compression"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "partial_images": 4}, "partial_images"),
        ({"partial_images": 1}, "partial_images"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": "many"}, "num_inference_steps"),
        ({"num_inference_steps": 2.5}, "num_inference_steps"),
        ({"num_inference_steps": True}, "num_inference_steps"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"seed": 2**63}, "seed"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": 1, "slo_ms": 1000}, "slo_ms"),
        ({"weights": {"cost": -1}}, "weights"),
        ({"prompt_class": "nobody"}, "prompt_class"),
        ({"step": 5}, None),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_in_one_line(server, body, param):
    raw = json.dumps({"prompt": "a red ball", **body})
    headers = {"Content-Type": "application/json"}
    answer = server.client.post("/v1/images/generations", content=raw, headers=headers)
    message = error(answer, 400, "invalid_value", param)
    assert param != "num_inference_steps" or message.endswith("allowed: 1 to 1000, or 'auto'")


def test_three_hundred_broken_bodies_get_one_line_each(server):
    headers = {"Content-Type": "application/json"}
    for raw in bodies(300):
        answer = server.client.post("/v1/images/generations", content=raw, headers=headers)
        fault = answer.json()["error"]
        error(answer, 400, fault["code"], fault["param"])
    assert server.client.get("/health").status_code == 200


def test_other_routes_methods_types_and_sizes_are_refused(server):
    error(server.client.get("/v1/nothing"), 404, "not_found")
    error(server.client.get("/v1/images/generations"), 405, "wrong_method")
    error(server.post(model="dall-e-2"), 404, "model_not_found", "model")
    error(server.client.get("/v1/models/dall-e-2"), 404, "model_not_found", "model")
    error(server.post(prompt="x" * 70000), 413, "too_large")
    form = server.client.post("/v1/images/generations", data={"prompt": "a"})
    error(form, 400, "invalid_value")


def test_a_key_is_needed_where_one_is_set(opened):
    with serving(opened, key="secret") as server:
        assert server.post(num_inference_steps=1).status_code == 200
        server.client.headers["Authorization"] = "Bearer other"
        error(server.post(num_inference_steps=1), 401, "invalid_api_key")
        error(server.client.get("/v1/quote"), 401, "invalid_api_key")
        for route in ("/health", "/metrics", "/"):
            assert server.client.get(route).status_code == 200


def test_a_full_queue_is_told_at_once_and_empties(opened):
    with serving(opened, queue=2) as server, ThreadPoolExecutor(12) as pool:
        start = time.perf_counter()
        # many steps, so that all have come before the first is done on the slowest machine
        answers = list(pool.map(lambda i: server.post(seed=i, num_inference_steps=48), range(12)))
        status = [answer.status_code for answer in answers]
        assert set(status) == {200, 429} and status.count(200) >= CAP + 2
        for answer in answers:
            if answer.status_code == 429:
                error(answer, 429, "queue_full")
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.elapsed.total_seconds() < time.perf_counter() - start
        assert server.post(num_inference_steps=1).status_code == 200
        assert server.client.get("/v1/quote").json()["running"] == 0


def test_a_deadline_that_cannot_be_kept_is_refused(server):
    error(server.post(num_inference_steps=50, deadline=1e-3), 400, "infeasible", "deadline")
    error(server.post(deadline=1e-3), 400, "infeasible", "deadline")
    long = threading.Thread(target=lambda: server.post(n=7, num_inference_steps=15))
    long.start()
    while server.service.queue().waiting < 3:
        time.sleep(0.01)
    alone = float(server.service.admission.forecast(Wish(steps=1), alone=True)[0].high[0])
    answer = server.post(num_inference_steps=1, deadline=1.5 * alone)
    error(answer, 429, "deadline", "deadline")
    assert int(answer.headers["retry-after"]) >= 1
    long.join()
    assert server.post(num_inference_steps=1, deadline=100 * alone).status_code == 200


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


def test_more_images_than_there_is_room_for_are_not_told_to_come_again(opened):
    with serving(opened, queue=2) as server:
        said = error(server.post(n=CAP + 3), 400, "invalid_value", "n")
        assert said.startswith(f"n: found {CAP + 3}; allowed: at most {CAP + 2}")
        assert server.post(n=CAP + 2, num_inference_steps=1).status_code == 200


def test_the_price_that_is_told_is_that_of_now(opened):
    """Not of the last decision, however long ago that was."""
    with serving(opened) as server:
        admission = server.service.admission
        rows, state = admission.feasible(Wish())
        now = state.now
        for index in range(200):
            admission.choose(rows, replace(state, arrival=now, now=now + 1e-3 * index))
        assert admission._policy.price > 0
        late = replace(state, arrival=now + 3600, now=now + 3600)
        assert not admission._charge(late).any()
        assert admission._policy.price > 0, "asking changed nothing"
        assert admission._charge(replace(state, now=now + 0.2)).any()


def test_whoever_sends_a_body_late_comes_late(opened):
    """Its head was sent before the others', and nobody waits for it."""
    head = b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    body = b'{"prompt": "a red ball", "num_inference_steps": 1}'
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(opened) as server:
        name, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((name, int(port))) as slow:
            slow.sendall(head)
            time.sleep(2)
            assert server.post(num_inference_steps=1).status_code == 200
            slow.sendall(body)
            answer = slow.recv(100)
            assert b" 200 " in answer
        (late, _) = server.client.get("/v1/requests").json()["data"]
        assert late["completion"] < 1.9


def test_a_device_is_held_to_the_limits_of_the_scenario_too(opened):
    device = "/v1/quote?device_class=snapdragon-7-gen-4"
    with serving(opened) as server:
        most = max(server.client.get(device).json()["local"]["high"])
    scenario = replace(opened.scenario, deadline=most / 2)
    with serving(replace(opened, scenario=scenario)) as server:
        told = server.client.get(device).json()
        assert told["local"]["high"] and max(told["local"]["high"]) <= most / 2


def test_a_negative_prompt_that_the_model_does_not_take_is_refused(server, opened, monkeypatch):
    assert server.post(num_inference_steps=1, negative_prompt="fog").status_code == 200
    monkeypatch.setattr(find_adapter(opened.pipeline), "takes_negative_prompt", False)
    said = error(server.post(negative_prompt="fog"), 400, "invalid_value", "negative_prompt")
    assert "takes none; leave it out" in said
    assert server.service.queue().running == 0


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
