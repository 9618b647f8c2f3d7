"""A place behind a URL: what is asked, measured, retried and refused."""

import socket
import threading
import time

import numpy as np
import pytest

from calibration.costs.batch import fit_batching
from solver.inputs import InputError
from testbed.client.batches import time_concurrency
from testbed.client.exchange import Server, ServerFault
from testbed.client.remote import RemotePlace
from testbed.config import ModelConfig
from testbed.engines.request import Failed, Request
from tests.testbed.client.world import SIZE, STEP_TIME, Shop, openai_body, picture, serving


@pytest.fixture
def shop():
    with serving() as (url, shop):
        shop.url = url
        yield shop


def place(shop, **change):
    return RemotePlace.open(ModelConfig(**{"model": "served", "url": shop.url, **change}))


def request(**change):
    return Request(**{"prompt": "a red ball", "seed": 7, "steps": 5, "guidance": 2.5, **change})


def test_the_fields_are_openais_and_the_engines(shop):
    made = place(shop, negative_prompt="dark").make(request(negative_prompt="dark"))
    assert shop.bodies[-1] == {
        "prompt": "a red ball",
        "n": 1,
        "response_format": "b64_json",  # SGLang's default is a url
        "output_format": "png",
        "num_inference_steps": 5,
        "guidance_scale": 2.5,
        "seed": 7,
        "negative_prompt": "dark",
    }
    assert (made.image == picture("a red ball", 7, 5)).all()


def test_times_and_bytes_are_measured_and_the_servers_told_apart(shop):
    shop.pad = 50_000
    about = place(shop).make(request()).about
    way = about.transfer
    assert about.time == way.server == pytest.approx(0.005 + 5 * STEP_TIME, rel=0.3)
    assert sum(about.step_times) == pytest.approx(5 * STEP_TIME)
    assert way.total == pytest.approx(way.server + way.seconds) and way.seconds < 0.2
    assert 50_000 < way.bytes_down < 53_000 and 200 < way.bytes_up < 600
    assert (way.basis, way.link, way.retries) == ("measured", None, 0)


def test_without_the_servers_word_the_wait_is_its_time(shop):
    shop.answer = lambda body: (200, {}, openai_body(picture("a", 0, 1)))
    about = place(shop).make(request()).about
    assert about.time == about.transfer.wait and about.step_times == ()


def test_a_busy_server_is_asked_again_when_it_says(shop):
    remote, answer, left = place(shop), shop.answer, [2]

    def busy(body):
        left[0] -= 1
        return (429, {"Retry-After": "0"}, {}) if left[0] >= 0 else answer(body)

    shop.answer = busy
    assert remote.make(request()).about.transfer.retries == 2
    shop.answer = lambda body: (429, {"Retry-After": "0"}, {"error": {"message": "full"}})
    with pytest.raises(ServerFault, match="429: full"):
        remote.make(request())


def test_a_server_that_hangs_up_is_one_fault_and_the_other_images_are_made(shop):
    remote, answer = place(shop), shop.answer
    shop.answer = lambda body: answer(body) if body["seed"] != 2 else (200, {}, b"x" * 10)
    outcomes = list(remote.engine(4).run([request(seed=seed) for seed in range(6)]))
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, Failed))
    assert failed.index == 2 and isinstance(failed.error, ServerFault)
    assert "not JSON" in str(failed.error)
    assert sorted(made.index for made in outcomes if made is not failed) == [0, 1, 3, 4, 5]


def test_what_is_not_there_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up():
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(ServerFault) as fault:
            Server(f"http://127.0.0.1:{port}").exchange("GET", "/health")
        assert "\n" not in str(fault.value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match=f"url: http://127.0.0.1:{port}: Connection refused"):
        RemotePlace.open(ModelConfig("served", url=f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "http://a:b",
        "a.b",
        "http://a/?x=1",
        "http://u:p@a",
        "http://a:0",
        "http://a b",
        "http://a\n",
        "http://\ud800",
    ],
)
def test_a_wrong_url_is_refused(url):
    with pytest.raises(InputError, match="url: found"):
        Server(url)


def test_the_model_is_the_one_that_is_served(shop):
    shop.models = ["first", "second"]
    with pytest.raises(InputError, match="first, second"):
        place(shop)
    with pytest.raises(InputError, match="'third'"):
        place(shop, model="third")
    assert place(shop, model="second").spec.model == "second"
    assert shop.bodies[-1]["model"] == "second"
    shop.models = []
    assert place(shop).spec.model == "served"


@pytest.mark.parametrize("name", ["\ud800", "a\x1b[31m", "a" * 1000, ""])
def test_names_that_no_record_can_hold_are_not_taken_over(shop, name):
    shop.models = [name]
    assert place(shop).spec.model == "served"
    shop.models = ["one"] * 1000
    with pytest.raises(InputError, match="allowed: the name of one of them") as refused:
        place(shop)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\xff\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_answer_of_http_is_one_printable_line(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(InputError, match="^url: http://127.0.0.1:") as refused:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            RemotePlace.open(ModelConfig("served", url=url))
        thread.join(5)
    assert str(refused.value).isprintable()


def test_images_of_another_size_are_refused(shop):
    with pytest.raises(InputError, match=f"resolution: found 64; allowed: {SIZE}"):
        place(shop, resolution=64)
    remote = place(shop)
    shop.answer = lambda body: (200, {}, openai_body(picture("a", 0, 1, SIZE + 1)))
    with pytest.raises(ServerFault, match="17x17; allowed: 16x16"):
        remote.make(request())


def test_arrivals_are_waited_for_and_waiting_counts(shop):
    shop.batched = True
    requests = [request(seed=seed, arrival=0.1 * seed) for seed in range(3)]
    made = {made.index: made.about for made in place(shop).engine(3).run(requests)}
    for index, about in made.items():
        assert about.arrival == pytest.approx(0.1 * index)
        assert 0.02 < about.end_to_end_time < 0.3


def test_what_is_closed_early_sends_nothing_more(shop):
    """As by Ctrl-C, or where the disk is full: others wait to be sent, to arrive, to ask again."""
    remote, answer = place(shop), shop.answer
    before = len(shop.bodies)
    shop.answer = lambda body: (
        (503, {"Retry-After": "20"}, {}) if body["seed"] == 1 else answer(body)
    )
    late = [request(seed=2, arrival=20.0)]
    outcomes = remote.engine(3).run([request(seed=seed, steps=9) for seed in (1, *range(3, 60))])
    waiting = remote.engine(3).run([request(seed=0), request(seed=1), *late])
    begin = time.monotonic()
    for each in (outcomes, waiting):
        next(each)
        each.close()
    assert time.monotonic() - begin < 10
    assert len(shop.bodies) - before < 40
    assert 2 not in [body["seed"] for body in shop.bodies[before:]]
    asked = len(shop.bodies)
    time.sleep(0.1)
    assert len(shop.bodies) == asked


@pytest.mark.parametrize("tells_queue", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_batching_is_seen_from_outside(batched, tells_queue):
    """A server that makes all images at once has steps that cost the same; another b times it,
    whether it counts what a request waits for or not.
    """
    shop = Shop()
    shop.batched, shop.tells_queue = batched, tells_queue
    with serving(shop) as (url, _):
        remote = RemotePlace.open(ModelConfig("served", url=url))
        timings = time_concurrency(remote, ["a"], 1.0, [1, 4], (2, 6, 12), rounds=4)
    cost = fit_batching(timings.tick, timings.text, timings.decode)
    one, four = (point.median for point in cost.tick.points)
    assert 0.6 * STEP_TIME < one < 3 * STEP_TIME, "a busy machine sleeps longer"
    low, high = (0.3, 2) if batched else (2, 8)
    assert low < four / one < high
    assert (cost.gain.value > 1.5) == batched


def test_the_key_of_the_environment_is_sent(shop, monkeypatch):
    from http.server import BaseHTTPRequestHandler

    seen = []
    monkeypatch.setattr(
        BaseHTTPRequestHandler,
        "parse_request",
        lambda self, inner=BaseHTTPRequestHandler.parse_request: (
            inner(self) and (seen.append(self.headers.get("Authorization")) or True)
        ),
    )
    monkeypatch.setenv("TESTBED_API_KEY", "secret")
    place(shop)
    assert set(seen) == {"Bearer secret"}


def test_images_are_the_same_however_they_are_asked_for(shop):
    remote = place(shop)
    alone = [remote.make(request(seed=seed)).image for seed in range(4)]
    for made in remote.engine(4).run([request(seed=seed) for seed in range(4)]):
        assert np.array_equal(made.image, alone[made.index])
