"""``testbed online --url``: `testbed serve` in a process of its own as the edge of a stream."""

import json
import re
import shutil
import sys
from contextlib import contextmanager
from threading import Thread
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from solver.inputs import InputError
from testbed.cli import main
from testbed.stages.online.remote import Quoted, RemoteEdge
from tests.forked import Forked
from tests.solver.online.worlds import CALLS, tables


@pytest.fixture
def folder(small_run, tmp_path):
    without = shutil.ignore_patterns("images")
    return shutil.copytree(small_run.folder, tmp_path / "run", ignore=without)


def online(folder, *arguments):
    return main(["online", str(folder), *map(str, arguments)])


@pytest.mark.slow
def test_a_server_is_the_edge_of_a_stream(folder, small_run):
    pytest.importorskip("uvicorn")
    served = Forked("serve", small_run.config, "--run", folder, "--port", 0)
    try:
        line = next(line for line in served.stdout if "http://" in line)
        url = re.search(r"http://[\d.:]*", line)[0]
        assert not online(
            folder,
            "--url",
            url,
            *("--requests", 4, "--load", 1),
            *("--policy", "all_edge,externality_price"),
        )
    finally:
        served.terminate()
        served.communicate(timeout=60)
    first, second = json.loads((folder / "online-executed.json").read_text())["runs"]
    assert first["offloaded"] == 1 and first["executed"]["speed"] > 0
    assert second["executed"]["fastest"] <= second["executed"]["speed"]
    records = [
        json.loads(line)
        for line in (folder / "online" / "1" / "records.jsonl").read_text().splitlines()
    ]
    assert {each["measured"]["engine_note"] for each in records} == {"over HTTP"}
    assert all(
        each["measured"]["end_to_end_time"] > each["measured"]["service_time"] for each in records
    )
    assert len(list((folder / "online" / "1").glob("*.png"))) == 4
    assert not online(folder, "--check")


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def test_whoever_a_full_server_refuses_is_served_at_home(folder, unplotted):
    quote = {
        "running": 0,
        "waiting": 0,
        "edge": {"steps": [1, 2], "seconds": [0.1, 0.2], "energy_j": [1.0, 2.0], "price": [0, 0]},
    }

    def answer(environ, respond):
        status = "200 OK" if environ["REQUEST_METHOD"] == "GET" else "429 Too Many Requests"
        respond(status, [("Content-Type", "application/json")])
        return [json.dumps(quote if status[0] == "2" else {"error": {}}).encode()]

    server = make_server("127.0.0.1", 0, answer, handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert not online(
            folder, "--url", url, "--requests", 5, "--load", 4, "--policy", "all_edge"
        )
    finally:
        server.shutdown()
        server.server_close()
    (run,) = json.loads((folder / "online-executed.json").read_text())["runs"]
    assert run["offloaded"] == 0 and run["met"] == 1


QUOTE = {"running": 2, "waiting": 1, "left": 9, "edge": None}


def test_a_quote_tells_how_many_iterations_are_left():
    world = tables()
    assert Quoted.of(QUOTE, CALLS, world).left == 9
    older = {name: value for name, value in QUOTE.items() if name != "left"}
    quoted = Quoted.of(older, CALLS, world)
    assert (quoted.left, quoted.present) == (0, 3)
    assert quoted.expected(4, 0.0) == CALLS.alone(4), "what was not quoted takes the least"


@contextmanager
def quoting(quote):
    """The URL of a server that quotes this."""

    def answer(environ, respond):
        respond("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(quote).encode()]

    server = make_server("127.0.0.1", 0, answer, handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_quotes_something_else_is_one_line(folder, capsys):
    with quoting({}) as url:
        command = "--url", url, "--requests", 2, "--load", 1, "--policy", "all_edge"
        assert online(folder, *command) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if url in line)
    assert f"{url}: quote: found KeyError: 'running'" in line


@pytest.mark.parametrize(
    "quote, reason",
    [
        ([], "AttributeError"),
        (QUOTE | {"left": None}, "TypeError"),
        (QUOTE | {"edge": {"steps": [1]}}, "KeyError: 'seconds'"),
    ],
)
def test_whatever_else_is_quoted_is_told(quote, reason):
    with quoting(quote) as url:
        edge = RemoteEdge(url, CALLS, SimpleNamespace(tables=tables()))
        edge.start()
        with pytest.raises(InputError, match=f"{url}: quote: found {reason}"):
            edge.decide([0], None)
        edge.close()


@pytest.mark.parametrize(
    "url, reason",
    [
        ("here", "--url: found 'here'; allowed: http://HOST:PORT"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9: "),
    ],
)
def test_an_address_without_a_server_is_one_line(folder, capsys, url, reason):
    assert online(folder, "--url", url, "--requests", 2, "--policy", "selfish", "--load", 1) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if reason in line]
    assert len(error) == 1 and sys.exc_info() == (None, None, None)
