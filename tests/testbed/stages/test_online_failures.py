"""Images that the edge of an executed stream fails to make: they end no stream."""

import json
import time
import warnings
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import pytest

from calibration.serving.online import Desk
from solver.inputs import InputError
from solver.online import Backlog
from testbed.engines.request import Failed, Finished, Log, Request
from testbed.stages.online.edge import Edge
from testbed.stages.online.remote import RemoteEdge
from tests.solver.online.worlds import CALLS, tables

STEPS = 3


class Engine:
    """Iterations of 2 ms for the first of those present; some requests ``fail`` with their n-th."""

    def __init__(self, fail):
        self.fail, self.present, self.log = fail, [], Log()

    def add(self, index, request):
        self.present.append([index, 0])

    def advance(self):
        batch, ended = self.present[: CALLS.cap], []
        time.sleep(0.002)
        self.log.tick.append((len(batch), 0.002))
        for row in batch:
            row[1] += 1
            if self.fail.get(row[0]) == row[1]:
                ended.append(Failed(row[0], ValueError(f"no numbers in {row[0]}")))
            elif row[1] == STEPS:
                black = np.zeros((4, 4, 3), np.float32)
                times = 0.0, 0.0, 0.1, 0.0, [0.002] * STEPS, 0.0, len(batch), 0.002
                ended.append(Finished(row[0], black, *times))
        gone = {outcome.index for outcome in ended}
        self.present = [row for row in self.present if row[0] not in gone]
        return ended


def serve(fail, count=12):
    """What became of a stream of requests that all go to the edge, and the edge."""
    desk = Desk(tables(), np.arange(count) % 4, np.arange(count) * 0.001, lambda state: STEPS)
    edge = Edge(Engine(fail), Backlog(CALLS), desk, 1)
    edge.start()
    for index in range(count):
        edge.decide([index], lambda index, steps, now: Request("a", index, steps, 3.0, now))
        time.sleep(0.001)
    edge.close()
    return desk.served(0.0).outcome, edge


def test_a_request_that_fails_is_served_at_home_from_then_on_and_the_others_at_the_edge():
    fail = {0: 1, 4: 2, 9: STEPS, 11: 1}  # in the first iteration, in the middle, with the last
    with pytest.warns(UserWarning, match="4 requests failed at the edge, the first of no numbers"):
        outcome, edge = serve(fail)
    failed = np.isin(np.arange(12), list(fail))
    assert (outcome.edge == ~failed).all()
    assert sorted(edge.images) == np.flatnonzero(~failed).tolist()
    assert np.isfinite(outcome.seconds).all()
    own = tables().local_time[outcome.kind, outcome.steps]
    assert (outcome.seconds[failed] > own[failed]).all(), "the time until the failure counts"
    assert (outcome.shared[failed] == 0).all() and (outcome.shared[~failed] > 0).all()
    assert all(ratio > 0 for ratio in edge.ratios)


def test_a_stream_in_which_all_fail_is_served_at_home():
    with pytest.warns(UserWarning, match="3 requests failed"):
        outcome, edge = serve(dict.fromkeys(range(3), 1), count=3)
    assert not outcome.edge.any() and not edge.images


QUOTE = {
    "running": 0,
    "waiting": 0,
    "edge": {"steps": [3], "seconds": [0.1], "energy_j": [1.0], "price": [0]},
}


def ask(status):
    """What became of two requests at a server that answers them with a ``status``, and the edge."""

    def answer(environ, respond):
        asked = environ["REQUEST_METHOD"] == "GET"
        respond("200 OK" if asked else status, [("Content-Type", "application/json")])
        return [json.dumps(QUOTE if asked else {"error": {"message": "no"}}).encode()]

    server = make_server("127.0.0.1", 0, answer, handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    desk = Desk(tables(), np.arange(2), np.zeros(2), lambda state: STEPS)
    try:
        edge = RemoteEdge(f"http://127.0.0.1:{server.server_port}", CALLS, desk)
        edge.start()
        for index in range(2):
            edge.decide([index], lambda index, steps, now: Request("a", index, steps, 3.0, now))
        edge.close()
    finally:
        server.shutdown()
        server.server_close()
    return desk.served(0.0).outcome, edge


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def test_whom_a_server_fails_is_served_at_home_and_said_and_whom_a_full_one_refuses_too():
    with pytest.warns(UserWarning, match="2 requests failed at the edge, the first of .*500: no"):
        outcome, edge = ask("500 Internal Server Error")
    assert not outcome.edge.any() and np.isfinite(outcome.seconds).all() and not edge.images
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome, edge = ask("429 Too Many Requests")
    assert not outcome.edge.any() and not edge.failures
    with pytest.raises(InputError, match="400: no; allowed: a server like"):
        ask("400 Bad Request")
