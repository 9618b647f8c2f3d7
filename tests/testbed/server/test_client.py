"""This project's own server as a place behind a URL."""

import numpy as np
import pytest

from calibration.links import LINKS
from testbed.client.remote import RemotePlace
from testbed.config import ModelConfig
from testbed.engines.request import Request
from testbed.engines.stock import generate
from testbed.link.emulated import EmulatedLink
from testbed.metering.meters import NoMeter
from tests.testbed.server.conftest import CAP, serving

REQUESTS = [Request(f"a red ball {i}", 100 + i, 2 + i % 3, 3.0) for i in range(6)]


@pytest.fixture(scope="module")
def place(server):
    return RemotePlace.open(ModelConfig("served", url=server.url))


def stock(opened, request):
    """The image that the pipeline itself makes, in levels."""
    done = generate(
        opened.pipeline, [request.prompt], [request.seed], request.steps, 3.0, NoMeter()
    )
    return done.images[0].astype(int)


def test_it_says_what_it_serves(place):
    assert place.spec.model == "embedded:light"
    assert (place.size, place.cap) == ((64, 64), CAP)


def test_images_over_http_are_the_pipelines_alone_and_at_once(place, opened):
    # made first: a tokenizer is changed by its calls, and two threads would pad each other's text
    expected = [stock(opened, request) for request in REQUESTS]
    for made in [*place.engine(6).run(REQUESTS), place.make(REQUESTS[0])]:
        assert np.abs(made.image.astype(int) - expected[made.index]).max() <= 1


def test_the_servers_own_clock_tells_its_time_and_the_rest_is_the_way(place):
    about = place.make(Request("a red ball", 5, 8, 3.0)).about
    way = about.transfer
    assert len(about.step_times) == 8 and about.step_times[0] > 0
    stages = about.text_time + sum(about.step_times) + about.decode_time
    assert 0.9 * stages <= about.time == way.server <= way.total
    assert way.bytes_down > 1000 and way.bytes_up > 200
    assert way.quoted > 0 and way.kept in (True, False)


def test_a_key_and_a_link_are_no_obstacle(opened, monkeypatch):
    monkeypatch.setenv("TESTBED_API_KEY", "secret")
    with serving(opened, key="secret") as running, EmulatedLink(LINKS["wifi"], "relay") as link:
        remote = RemotePlace.open(ModelConfig("served", url=running.url), link)
        about = remote.make(Request("a red ball", 5, 2, 3.0)).about
    assert about.transfer.seconds >= 2 * LINKS["wifi"].round_trip - 0.005
    assert about.transfer.link == "wifi by relay"
