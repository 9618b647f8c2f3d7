"""``testbed online`` on a run folder: simulated and executed streams, and their certificate."""

import json
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.curve_fit import CurvePoint
from calibration.profiles.profile import SharedLatents, SplitPoint, Splits
from calibration.records.split import Split
from solver.inputs import InputError
from solver.online import Backlog
from solver.problem import npz
from testbed.cli import main
from testbed.runs.folder import RunFolder
from testbed.stages.online.edge import Edge
from testbed.stages.online.execute import Stage
from testbed.stages.online.live import Live
from testbed.stages.online.simulate import World
from tests.solver.online.worlds import CALLS, problem
from tests.testbed.model_threads import users_beside


@pytest.fixture
def folder(small_run, tmp_path):
    without = shutil.ignore_patterns("images")
    return shutil.copytree(small_run.folder, tmp_path / "run", ignore=without)


def online(folder, *arguments):
    return main(["online", str(folder), *map(str, arguments)])


def cheat(folder, change):
    """Change the kept records of the first run."""
    path = folder / "online" / "records.npz"
    records = npz.read(path)
    change(records["0"])
    path.write_bytes(npz.dumps(records))


def test_policies_are_simulated_and_proven_again_from_the_files(folder, capsys):
    settings = ["--requests", 40, "--load", 2, "--deadline", 2, "--arrivals", "bursts"]
    assert not online(folder, *settings)
    table = capsys.readouterr().out
    result = json.loads((folder / "online.json").read_text())
    assert len(result["runs"]) == 11 and "externality_price" in table
    for run in result["runs"]:
        assert run["bound"] <= run["cost"] and run["gain"] <= 1
    assert (folder / "online.svg").read_text().startswith("<?xml")
    assert not online(folder, "--check")
    assert "11 runs proven again" in capsys.readouterr().out

    def faster(run):
        at = int(np.flatnonzero(~run["edge"])[0])
        run["seconds"][at] /= 2

    cheat(folder, faster)
    assert online(folder, "--check") == 2
    error = capsys.readouterr().err
    assert "all_local at load 2: records[0]: steps" in error and error.count("\n") == 1


def cost_and_bound(folder):
    (run,) = json.loads((folder / "online.json").read_text())["runs"]
    return run["cost"], run["bound"]


def test_splits_are_left_out_and_one_line_says_so(folder, capsys, unplotted):
    """Nothing else changes."""
    settings = ["--requests", 20, "--load", 1, "--policy", "selfish"]
    assert not online(folder, *settings)
    assert "splits" not in capsys.readouterr().err
    before = cost_and_bound(folder)
    run = RunFolder(folder)
    profiles = run.profiles()
    point = SplitPoint(Split("local", 2), CurvePoint(4, 0.0, se=0.01), CurvePoint(4, 1.0))
    splits = Splits(
        SharedLatents("0" * 12, "1" * 12, (12, 8, 8)),
        1024,
        dict.fromkeys(profiles.classes(), (point,)),
    )
    run.save(replace(profiles, splits=splits))
    assert not online(folder, *settings)
    assert capsys.readouterr().err.count("splits: left out: each request is served at one") == 1
    assert cost_and_bound(folder) == before


def test_a_bound_that_was_raised_in_the_file_is_refused(folder, capsys, unplotted):
    assert not online(folder, "--requests", 30, "--load", 1, "--policy", "selfish,all_edge")
    path = folder / "online.json"
    values = json.loads(path.read_text())
    values["runs"][1]["bound"] += 0.1
    path.write_text(json.dumps(values))
    assert online(folder, "--check") == 2
    assert "all_edge at load 1: bound: value: found" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stream_is_executed_scored_and_held_against_its_simulation(folder, capsys, monkeypatch):
    trace = folder / "trace.txt"
    lines = [f"Request(timestamp={i * 0.1}, slo_ms=60000)" for i in range(6)]
    trace.write_text("\n".join(lines))
    settings = ("--requests", 6, "--load", 0.7, "--arrivals", trace)
    with users_beside("edge") as names:
        with monkeypatch.context() as patch:
            patch.setattr(Stage, "_quality", cut)
            assert online(folder, "--execute", *settings, "--policy", "all_edge") == 2
        made = (folder / "online" / "1" / "records.jsonl").read_text()
        assert (folder / "online" / "1" / "stream.npz").exists()
        assert Live.kept(folder / "online", "another stream's", np.arange(12) * 0.1) is None
        capsys.readouterr()
        assert not online(folder, "--execute", *settings, "--policy", "all_edge,all_local")
    assert "s: served before, its images are scored now" in capsys.readouterr().out
    assert (folder / "online" / "1" / "records.jsonl").read_text().startswith(made)
    assert [path.name for path in (folder / "online").glob("[0-9]*")] == ["1"]
    assert not (folder / "online" / "1" / "stream.npz").exists()
    assert names == {"edge"}, "decisions and scores use no model meanwhile"
    runs = json.loads((folder / "online-executed.json").read_text())["runs"]
    edge, home = runs
    assert edge["offloaded"] == 1 and home["offloaded"] == 0
    for run in runs:
        measured = run["executed"]
        assert run["met"] == 1 and measured["late_p99"] < 5
        assert measured["utility"]["low"] <= measured["utility"]["value"]
        assert measured["error"]["value"] >= 0
    assert edge["executed"]["speed"] >= edge["executed"]["fastest"] > 0
    most = edge["all_local"] - edge["bound"]
    assert edge["cost"] >= edge["bound"] - 0.5 * most, "at another speed than the median it may be"
    assert home["executed"]["simulated_time"] == pytest.approx(home["time"], rel=0.5)
    records = (folder / "online" / "1" / "records.jsonl").read_text().splitlines()
    assert len(list((folder / "online" / "1").glob("*.png"))) == 6
    # the last lines hold the scores
    last = [json.loads(line)["measured"] for line in records[-6:]]
    assert all(each["clip_score"] > 0 and each["engine"] == "batched" for each in last)
    assert not online(folder, "--check")


def cut(*_):
    """Scores end here, as where an image that they need cannot be made."""
    raise InputError("no score")


class Rash:
    """Sends the first request to the edge, and fails at the second one."""

    def __init__(self, setting):
        self.asked = 0

    def __call__(self, state):
        self.asked += 1
        if self.asked > 1:
            raise ValueError("no more")
        return int(np.flatnonzero(state.allowed)[-1])


@pytest.mark.slow
def test_a_policy_that_fails_leaves_no_thread_on_the_model(folder, capsys):
    settings = ("--requests", 2, "--load", 0.5, "--policy", f"{__name__}:Rash")
    assert online(folder, "--execute", *settings) == 2
    assert "no more" in capsys.readouterr().err
    assert all(thread.name != "edge" for thread in threading.enumerate())


def test_an_engine_that_died_ends_the_stream_at_once():
    class Broken:
        present = 1

        def add(self, index, request):
            pass

        def advance(self):
            raise InputError("broken")

    class Desk:
        def decide(self, backlog, now, indices):
            return [(index, 3) for index in indices]

        def join(self, backlog, now, index, steps):
            backlog.add(index, steps)

    edge = Edge(Broken(), Backlog(CALLS), Desk(), 1)
    edge.start()
    with pytest.raises(InputError, match="broken"):
        for index in range(1000):
            edge.decide([index], lambda index, steps, now: None)
            time.sleep(0.01)
    with pytest.raises(InputError, match="broken"):
        edge.close()


def test_loads_of_an_edge_that_serves_nobody_best_are_refused():
    slow = {**problem().to_dict()["edge"], "step_time": 100.0}
    world = World(problem(edge=slow), (("a", "b"),) * 4, np.full(4, 0.25), CALLS)
    calls = CALLS.scaled(1e4)
    with pytest.raises(InputError, match="scenario: found nobody whom the edge serves best"):
        assert replace(world, calls=calls).capacity


def test_a_stored_budget_is_shared_and_its_regret_is_printed(folder, capsys):
    assert not online(folder, "--stored", "3steps", "--requests", 300)
    assert "fill_threshold" in capsys.readouterr().out
    runs = json.loads((folder / "online-stored.json").read_text())["runs"]
    assert [run["policy"] for run in runs][0] == "resolve" and len(runs) == 5
    for run in runs:
        assert run["used"] <= 900 and 0 <= run["regret"] <= 1
    assert runs[0]["regret"] < 0.02 < runs[-1]["regret"]
    assert not online(folder, "--stored", "0.5joules", "--requests", 20, "--policy", "dual")


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("--policy", "selfis"), "--policy: 'selfis' is unknown; perhaps you meant 'selfish'"),
        (("--load", "much"), "--load: found 'much'; allowed: numbers"),
        (("--load", "0"), "online: loads[0]: found 0.0; allowed"),
        (("--arrivals", "nowhere.txt"), "arrivals: found 'nowhere.txt'; allowed: poisson"),
        (("--stored", "3"), "--stored: found '3'; allowed: e.g. 3steps, 20joules"),
        (("--stored", "3steps", "--policy", "all_edge"), "--policy: 'all_edge' is unknown"),
        (("--stored", "3steps", "--requests", "1000000000"), "requests: found 1000000000"),
        (
            ("--stored", "3steps", "--load", "2"),
            "--load: found with --stored; allowed with it: --p",
        ),
        (("--execute", "--stored", "3steps"), "--execute: found with --stored"),
        (("--check", "--url", "http://a"), "--url: found with --check; allowed with it: no other"),
        (("--check", "--stored", "3steps"), "--stored: found with --check"),
        (("--window", "1e308"), "online: window: found 1e+308; allowed: 1e-06 to 1e+09"),
        (("--late", "1e308"), "online: late: found 1e+308"),
        (("--deadline", "1e-320"), "online: deadline: found 9.99989e-321"),
        (("--requests", "1000000000"), "requests: found 1000000000; allowed: 1 to 10000000"),
        (("--load", "1e300"), "requests a second; allowed: 1e-09 to 1e+09"),
        (("--check",), "online.json: no such file; `testbed online` makes it"),
        (("--policy", "no.such:policy", "--requests", "3"), "no.such:policy: ModuleNotFound"),
    ],
)
def test_wrong_input_is_one_line(folder, capsys, arguments, reason):
    assert online(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_an_edge_behind_a_network_is_refused_in_one_line(folder, capsys):
    path = folder / "scenario.json"
    link = {"transfer_time": 0.05, "transfer_energy": 0.1, "source": "made up"}
    values = json.loads(path.read_text()) | {"links": {"wifi": link}, "link": "wifi"}
    path.write_text(json.dumps(values))
    for how in ([], ["--execute"], ["--url", "http://127.0.0.1:9"]):
        assert online(folder, *how) == 2
        error = capsys.readouterr().err
        assert error.startswith("testbed: edge: found a network on the way to it (a url, or links")
        assert error.count("\n") == 1


def test_a_folder_without_batches_is_refused(folder, capsys):
    path = folder / "profiles.json"
    values = json.loads(path.read_text())
    for place in values["places"]:
        place["batch"] = None
    path.write_text(json.dumps(values))
    assert online(folder) == 2
    assert "profiles: edge: batch: found" in capsys.readouterr().err
