"""What batches cost on a server: with steps that it takes, and left out where it refuses one."""

import json
import shutil
from types import SimpleNamespace

import pytest

from testbed import config
from testbed.client.remote import RemotePlace
from testbed.config import ModelConfig
from testbed.engines.threads import Threads
from testbed.runs.folder import RunFolder
from testbed.stages.batch import batch
from testbed.stages.calibrate import _edge_batches
from testbed.stages.rig import Rig
from tests.testbed.client.world import SMALL_RUN, serving

SERVED = '[local]\nmodel = "embedded:light"\n[edge]\nurl = "{url}"\n' + SMALL_RUN
REFUSAL = 400, {}, {"error": {"message": "steps are few here"}}


@pytest.fixture
def shop():
    """A server of few steps."""
    with serving() as (url, shop):
        shop.url, answer = url, shop.answer
        shop.answer = lambda body: answer(body) if body["num_inference_steps"] <= 8 else REFUSAL
        yield shop


@pytest.fixture
def world(shop, tmp_path):
    """What a calibration of the server has opened, and its folder."""
    path = tmp_path / "served.toml"
    path.write_text(SERVED.format(url=shop.url))
    (tmp_path / "run" / "calibration").mkdir(parents=True)
    return Rig(config.load(path), ["edge"]), RunFolder(tmp_path / "run")


def test_batches_have_the_least_and_the_largest_steps_of_the_grid(shop, world):
    rig, folder = world
    opened = len(shop.bodies)
    cost, note = _edge_batches(rig, folder)
    assert note is None and set(cost.tick.sizes) == {1, 2}
    assert {body["num_inference_steps"] for body in shop.bodies[opened:]} == {1, 4}
    kept = json.loads((folder.path / "calibration" / "batches.json").read_text())
    assert kept["asked"]["steps"] == [1, 4]


def test_a_refused_request_leaves_the_batches_out_and_says_why(shop, world):
    rig, folder = world
    shop.answer = lambda body: REFUSAL
    with pytest.warns(UserWarning, match="batches are left out, .*400: steps are few here"):
        cost, note = _edge_batches(rig, folder)
    assert cost is None and "steps are few here" in note
    assert not (folder.path / "calibration" / "batches.json").exists()


def test_a_server_that_refuses_its_users_ends_no_run(shop, small_run, tmp_path):
    shutil.copytree(small_run.folder, tmp_path / "run")
    (tmp_path / "run" / "serving.json").unlink()
    remote = RemotePlace.open(ModelConfig("served", url=shop.url))
    rig = SimpleNamespace(
        config=config.load(small_run.config),
        pipelines={"edge": remote},
        threads={"edge": Threads.current()},
        check_contents=lambda folder: None,
        choose_threads=lambda folder: None,
        check_link=lambda folder: None,
    )
    shop.answer = lambda body: REFUSAL
    with pytest.warns(UserWarning, match="the users are not served in batches: .*steps are few"):
        assert batch(rig, RunFolder(tmp_path / "run")) is None
