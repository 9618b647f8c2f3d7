"""A whole run whose images come from a server, over a relayed link: measured, allocated, reported,
and what fails of it.
"""

import json

import pytest

from testbed.cli import main
from testbed.runs.folder import RunFolder
from tests.testbed.client.world import SMALL_RUN, STEP_TIME, Shop, serving
from tests.testbed.stages.world import few_timings

pytestmark = pytest.mark.slow

CONFIG = (
    """
[local]
url = "{url}"
[edge]
url = "{url}"
[link]
preset = "wifi"
method = "relay"
"""
    + SMALL_RUN
    + """edge_budget = 16
local = {{ max_steps = 0 }}
edge = {{ max_steps = 4 }}
radio = "lte"
"""
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run's folder, and what its server was asked."""
    path = tmp_path_factory.mktemp("served")
    shop = Shop()
    with serving(shop) as (url, _):
        text = CONFIG.format(url=url).replace("prompts_per_class = 3", "prompts_per_class = 2")
        (path / "served.toml").write_text(text)
        with few_timings():
            assert main(["run", str(path / "served.toml"), "--out", str(path / "run")]) == 0
    return RunFolder.read(path / "run"), shop


def test_the_edge_is_calibrated_by_what_comes_back(finished):
    folder, _ = finished
    edge = folder.profiles().get("edge")
    assert (edge.model, edge.dtype) == ("canned", "server")
    for profile in edge.classes:
        # by steps alone: neither the link nor slow start is in it
        assert profile.time.step_time == pytest.approx(STEP_TIME, rel=0.4)
        assert profile.time.overhead < 0.03 and profile.payload.down > 800
    assert edge.transfer.basis == "emulated"
    assert edge.transfer.seconds(1500) == pytest.approx(2 * 0.029, abs=0.03)
    assert set(edge.batch.tick.sizes) == {1, 2}


def test_offloaded_users_are_served_predicted_and_checked_with_their_way(finished):
    folder, shop = finished
    assert folder.allocation().offload == [1] * 4
    problem, profiles = folder.problem(), folder.profiles()
    name = problem.labels["prompt_class"][0]
    way = problem.edge.transfer_time[0]
    assert problem.edge.overhead[0] == profiles.find("edge", name).time.overhead
    assert way == pytest.approx(0.7 + profiles.get("edge").transfer.seconds(1500), abs=0.01)
    users = folder.validation().users
    assert all(user.time.basis == "emulated and measured and modelled" for user in users)
    assert all(user.time.measured > 0.75 for user in users)
    served = folder.serving()
    assert len(served.requests) == 4 and served.images.largest_difference == 0
    records = [record for record in folder.executed() if record.task.purpose == "user"]
    assert all(record.measured.transfer.link == "wifi by relay" for record in records)
    assert {body["response_format"] for body in shop.bodies} == {"b64_json"}


def test_the_report_has_a_section_on_the_link_and_the_server(finished):
    folder, _ = finished
    page = folder.report_path.read_text()
    section = page[page.index('id="network"') :]
    for said in (
        "wifi",
        "without slow start",
        "bytes down",
        "modelled",
        "On the way",
        "SIGCOMM",
        "quoted",
    ):
        assert said in section
    checks = folder.links()
    assert len(checks) == 3 and {check.method for check in checks} == {"relay"}
    assert json.loads((folder.path / "link.json").read_text())[0]["asked"]["round_trip"] == 0.029


def test_an_image_that_a_server_refuses_is_one_failed_task(tmp_path, capsys):
    shop = Shop()
    with serving(shop) as (url, _):
        answer, seeds = shop.answer, []

        def refuse(body):
            """Two prompts' images of two steps; seeds of a warm-up are small numbers."""
            if body["seed"] not in seeds and body["seed"] > 1000:
                seeds.append(body["seed"])
            if body["seed"] in seeds[:2] and body["num_inference_steps"] == 2:
                return 500, {}, {"error": {"message": "out of memory"}}
            return answer(body)

        shop.answer = refuse
        config = CONFIG.format(url=url).replace('[link]\npreset = "wifi"\nmethod = "relay"\n', "")
        (tmp_path / "served.toml").write_text(config)
        command = ["calibrate", str(tmp_path / "served.toml"), "--place", "edge", "--out"]
        code = main([*command, str(tmp_path / "run")])
    said = capsys.readouterr()
    assert code == 1 and "Traceback" not in said.err
    failures = (tmp_path / "run" / "calibration" / "failures.jsonl").read_text()
    assert "500: out of memory" in failures
    records = RunFolder(tmp_path / "run").records("calibration")
    assert len(records) == 3 * 3 * 4 - 2, failures  # the others were made
