"""Who is let in, and what refused clients are told."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.serving.broken import bodies
from testbed.engines.networks import find_adapter
from testbed.server.admission import Wish
from tests.testbed.server.conftest import CAP, error, serving


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


def test_more_images_than_there_is_room_for_are_not_told_to_come_again(opened):
    with serving(opened, queue=2) as server:
        said = error(server.post(n=CAP + 3), 400, "invalid_value", "n")
        assert said.startswith(f"n: found {CAP + 3}; allowed: at most {CAP + 2}")
        assert server.post(n=CAP + 2, num_inference_steps=1).status_code == 200


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


def test_a_negative_prompt_that_the_model_does_not_take_is_refused(server, opened, monkeypatch):
    assert server.post(num_inference_steps=1, negative_prompt="fog").status_code == 200
    monkeypatch.setattr(find_adapter(opened.pipeline), "takes_negative_prompt", False)
    said = error(server.post(negative_prompt="fog"), 400, "invalid_value", "negative_prompt")
    assert "takes none; leave it out" in said
    assert server.service.queue().running == 0
