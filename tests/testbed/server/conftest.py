"""A server in a thread of the test's process, in front of the embedded light model."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
import torch
import uvicorn

from calibration.costs.batch import fit_batching
from calibration.profiles import store
from calibration.scenario.worth import Worth
from calibration.serving.quote import Quoter
from testbed.config import ModelConfig, load
from testbed.engines.timing import time_batches
from testbed.models.pipelines import open_pipeline
from testbed.server.app import make_app
from testbed.server.opening import Opened, image_size, open_scenario
from testbed.server.service import Service

ROOT = Path(__file__).parents[3]
CAP = 4


@dataclass(frozen=True)
class Running:
    """A server: its ``url``, its ``service``, and a ``client``."""

    url: str
    service: Service
    client: httpx2.Client

    def post(self, **body):
        """An image is asked for."""
        return self.client.post("/v1/images/generations", json={"prompt": "a red ball", **body})


@pytest.fixture(scope="session")
def opened():
    """The light model, with the curves that the repository's profiles have."""
    config = load("embedded")
    pipeline, _ = open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))
    timings = time_batches(pipeline, ["a red ball"], 3.0, [1, CAP], rounds=2)
    cost = fit_batching(timings.tick, timings.text, timings.decode)
    profiles = store.load(ROOT / "docs" / "profiles.json")
    scenario = open_scenario(config, profiles)
    worth, light = Worth.of(scenario, profiles), replace(config.edge, model="embedded:light")
    return Opened(
        pipeline,
        light,
        image_size(pipeline),
        Quoter(cost, CAP, 0.2),
        1,
        scenario,
        profiles,
        worth,
    )


@contextmanager
def serving(opened, policy="externality_price", queue=64, key=None, records=None):
    """A server in a thread; it is ended after."""
    app = make_app(lambda: Service(opened, policy, queue, records), key)
    settings = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx2.Client(base_url=url, timeout=60, headers=headers) as client:
            yield Running(url, app.state.service, client)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(opened):
    """A server that the tests of a module share."""
    with serving(opened) as running:
        yield running


def error(answer, status, code, param=None):
    """The error of an answer: one line in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    fault = answer.json()["error"]
    assert set(fault) == {"message", "type", "param", "code"}
    assert (fault["code"], fault["param"]) == (code, param)
    assert "\n" not in fault["message"] and "Traceback" not in fault["message"]
    return fault["message"]
