"""Clients that leave, images that fail, an engine that is stuck, and the end of a server."""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from PIL import Image

from testbed.cli import main
from testbed.engines.networks import Networks
from testbed.link.namespaces import EDGE
from testbed.server import engine_thread, listen
from testbed.server.service import Service
from tests.forked import Forked
from tests.testbed.server.conftest import serving
from tests.testbed.server.test_admission import error
from tests.testbed.server.test_generations import alone, image, same


def send_and_leave(server, after, **body):
    """Ask for an image and close the connection ``after`` s, without reading."""
    raw = json.dumps({"prompt": "a red ball", **body}).encode()
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    ).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + raw)
        time.sleep(after)


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_the_place_at_the_next_iteration(server, stream):
    start = time.monotonic()
    send_and_leave(server, 0.1, num_inference_steps=1000, n=1, stream=stream)
    wait_until(lambda: not server.service.engine.jobs)
    wait_until(lambda: not server.service.engine.engine.present, seconds=2)
    assert time.monotonic() - start < 5, "1000 steps take longer"


def test_others_images_are_unchanged_by_many_that_leave(server, opened):
    draw = random.Random(0)
    with ThreadPoolExecutor(10) as pool:
        leaving = [
            pool.submit(
                send_and_leave,
                server,
                draw.uniform(0, 0.2),
                num_inference_steps=draw.randint(5, 30),
                stream=draw.random() < 0.5,
                partial_images=0,
            )
            for _ in range(8)
        ]
        answers = list(
            pool.map(lambda i: server.post(seed=i, num_inference_steps=3 + i % 4), range(8))
        )
        for left in leaving:
            left.result()
    # before the model is used here: two threads in one tokenizer would pad each other's text
    wait_until(lambda: not server.service.engine.engine.present)
    for i, answer in enumerate(answers):
        made = image(answer.json()["data"][0]["b64_json"])
        assert same(made, alone(opened, i, 3 + i % 4))


def test_an_image_that_fails_fails_alone(server, opened, monkeypatch):
    encode = Networks.encode

    def poisoned(self, requests):
        if any(request.prompt == "poison" for request in requests):
            raise ValueError("two\nlines")
        return encode(self, requests)

    monkeypatch.setattr(Networks, "encode", poisoned)
    with ThreadPoolExecutor(4) as pool:
        bad = pool.submit(server.post, prompt="poison", num_inference_steps=4)
        good = list(pool.map(lambda i: server.post(seed=i, num_inference_steps=4), range(3)))
        assert "two lines" in error(bad.result(), 500, "generation_failed")
    for i, answer in enumerate(good):
        assert same(image(answer.json()["data"][0]["b64_json"]), alone(opened, i, 4))
    stream = server.post(prompt="poison", num_inference_steps=4, stream=True)
    assert stream.text.startswith("event: error\n") and "two lines" in stream.text


def test_a_stuck_engine_is_told_from_a_busy_one(opened, monkeypatch):
    monkeypatch.setattr(engine_thread, "GRACE", 0.2)
    release, real = threading.Event(), Networks.denoise
    with serving(opened) as server, ThreadPoolExecutor(2) as pool:
        busy = pool.submit(server.post, n=4, num_inference_steps=10)
        seen = []
        while not busy.done():
            seen.append(server.client.get("/health").status_code)
            time.sleep(0.02)
        assert set(seen) == {200}
        monkeypatch.setattr(
            Networks, "denoise", lambda self, *rest: (release.wait(), real(self, *rest))[1]
        )
        stuck = pool.submit(server.post, num_inference_steps=2)
        wait_until(lambda: server.client.get("/health").status_code == 503)
        assert server.client.get("/health").json()["status"] == "stuck"
        release.set()
        assert stuck.result().status_code == 200
        wait_until(lambda: server.client.get("/health").status_code == 200)


def test_a_dead_engine_is_said_to_be(opened, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    with serving(opened) as server:
        monkeypatch.setattr(server.service.engine.engine, "advance", lambda: [][0])
        error(server.post(num_inference_steps=2), 503, "engine_stopped")
        assert server.client.get("/health").json()["status"] == "stopped"
        error(server.post(num_inference_steps=2), 503, "engine_stopped")


def test_a_fault_of_the_servers_own_is_one_line_too(server, monkeypatch):
    monkeypatch.setattr(server.service, "queue", lambda: 1 / 0)
    message = error(server.client.get("/v1/requests"), 500, "internal")
    assert message.startswith("ZeroDivisionError")


def test_metrics_count_what_was_served_and_refused(opened):
    with serving(opened) as server:
        for seed in range(3):
            server.post(seed=seed, num_inference_steps=4, deadline=60)
        server.post(n=0)
        text = server.client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(values['testbed:requests_success_total{finished_reason="stop"}']) == 3
    assert float(values['testbed:rejected_total{code="invalid_value"}']) == 1
    assert float(values["testbed:steps_total"]) == float(values["testbed:batch_size_sum"]) == 12
    assert float(values['testbed:tick_s_count{batch="1"}']) == 12
    assert float(values["testbed:deadline_met_total"]) == 3
    assert float(values["testbed:num_requests_running"]) == 0


@pytest.mark.slow
def test_the_commands_curl_line_fetches_a_picture_that_a_killed_server_makes_again(tmp_path):
    """And a server that is told to end finishes what it accepted."""
    body = {"prompt": "a big red ball", "seed": 3, "num_inference_steps": 12}

    def start():
        process = Forked("serve", "--port", 0, "--batch", 2)
        for line in process.stdout:
            if line.startswith("curl "):
                return process, line
        raise AssertionError(process.wait())

    def ask(url, **more):
        return httpx2.post(f"{url}/v1/images/generations", json=body | more, timeout=60)

    process, line = start()
    url = re.search("http://[^/]*", line)[0]
    try:
        subprocess.run(shlex.split(line) + ["--silent"], cwd=tmp_path, check=True)
        assert Image.open(tmp_path / "image.png").size == (64, 64)
        first = ask(url).json()["data"]
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(ask, url, num_inference_steps=900)
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(httpx2.HTTPError):
                lost.result()
        process.wait(timeout=10)
        process, line = start()
        url = re.search("http://[^/]*", line)[0]
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(ask, url)
            wait_until(lambda: httpx2.get(f"{url}/v1/quote").json()["running"])
            process.terminate()
            assert accepted.result().json()["data"][0]["b64_json"] == first[0]["b64_json"]
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--host", "0.0.0.0"], "--host: found 0.0.0.0 without a key"),
        (["--run", "nowhere"], "nowhere"),
        (["--policy", "kind"], "--policy: 'kind' is unknown"),
        (["remote.toml", "--port", "0"], "edge.url: found 'http://127.0.0.1:9'"),
        (["nothing.toml"], "nothing.toml: no such file"),
        (["--run", "a", "--profiles", "b"], "--profiles"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, said, capsys, monkeypatch, tmp_path):
    remote = '[local]\nmodel = "embedded:light"\n[edge]\nurl = "http://127.0.0.1:9"\n'
    (tmp_path / "remote.toml").write_text(remote)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TESTBED_API_KEY", raising=False)
    assert main(["serve", *arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and said in line


@pytest.mark.parametrize(
    "more",
    [["--records", "nowhere/served.jsonl"], ["--records", "notes.txt"], ["--port", "70000"]],
)
def test_what_would_fail_later_is_refused_before_the_model_is_opened(
    more, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("testbed.server.opening.open_edge", lambda *rest: 1 / 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine, and no record")
    assert main(["serve", *more]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and more[0] in line and more[1] in line
    assert (tmp_path / "notes.txt").read_text() == "mine, and no record"


def test_an_image_that_cannot_be_recorded_is_refused_in_one_line(opened, tmp_path):
    path = tmp_path / "served.jsonl"
    with serving(opened, records=path) as server:
        path.mkdir()  # it cannot be written, as on a full disk
        said = error(server.post(num_inference_steps=2), 500, "not_recorded")
        assert said.startswith("the image was made, but: ")
        path.rmdir()
        assert server.post(num_inference_steps=2).status_code == 200
    assert len(path.read_text().splitlines()) == 1


def test_a_port_that_is_taken_is_refused_before_the_model_is_opened(capsys, monkeypatch):
    monkeypatch.setattr("testbed.server.opening.open_edge", lambda *rest: 1 / 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    line = capsys.readouterr().err
    assert line == (
        f"testbed: --host, --port: found 127.0.0.1 {port}: Address already in use; "
        "allowed: what is free here\n"
    )


def test_a_server_on_loopback_answers_behind_an_emulated_link_and_to_no_other_name(
    opened, monkeypatch
):
    begun = []

    class Kept(listen.DrainingServer):
        async def startup(self, *args, **kwargs):
            await super().startup(*args, **kwargs)
            begun.append(self)

    monkeypatch.setattr(listen, "DrainingServer", Kept)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def make():
            return Service(opened, "externality_price", 64, None)

        arguments = (make, listening, None, True)
        thread = threading.Thread(target=listen.listen, args=arguments, daemon=True)
        thread.start()
        wait_until(lambda: begun)
        answers = [
            httpx2.get(f"http://127.0.0.1:{port}/health", headers={"Host": host}).status_code
            for host in (f"{EDGE}:{port}", f"localhost:{port}", "evil.example")
        ]
        begun[0].should_exit = True
        thread.join(10)
    assert answers == [200, 200, 400]
