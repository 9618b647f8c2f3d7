"""What streams came to is kept run by run; executions and simulations do not replace each other."""

from dataclasses import replace

import pytest

from calibration import Scenario, load_profiles
from calibration.serving.online_run import Asked, Executed, Interval, OnlineRun
from solver.inputs import InputError, read_json
from testbed.cli import main
from testbed.runs.folder import RunFolder
from testbed.stages.online import execute
from testbed.stages.online.results import Results, check
from testbed.stages.online.simulate import World, simulate
from tests.conftest import ROOT

LIVE = Executed(Interval(0.1, 0.1, 0.1), Interval(0.5, 0.5, 0.5), 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
POLICIES = ("selfish", "all_local")
ASKED = Asked(POLICIES, (1.0, 2.0), "poisson", 30, 0, True)


@pytest.fixture
def folder(tmp_path):
    """A folder with what streams need."""
    run = RunFolder(tmp_path)
    run.save(load_profiles(ROOT / "docs" / "profiles.json"))
    shares = {"object": 1, "relation": 1}
    run.save(Scenario.from_dict({"users": 12, "edge_budget": 90, "prompt_classes": shares}))
    return run


def live(world, asked, kept=()):
    """Runs as an execution at the expected speed gives them."""
    for run in simulate(world, asked):
        if (run.row.load, run.row.policy) not in kept:
            yield replace(run, row=replace(run.row, executed=LIVE))


def save(folder, asked, count=None):
    """Add the first ``count`` runs that are missing; what the file then holds."""
    world = World.read(folder)
    results = Results(folder, world, asked)
    runs = live(world, asked, results) if asked.executed else simulate(world, asked)
    for run in list(runs)[:count]:
        results.add(run)
    if not asked.executed:
        results.save()
    return OnlineRun.from_dict(read_json(results.path))


def rows(result):
    return [(row.load, row.policy) for row in result.runs]


def test_an_execution_that_was_stopped_goes_on_and_is_proven(folder):
    whole = save(folder, ASKED)
    (folder.path / "online-executed.json").unlink()
    assert len(save(folder, ASKED, 3).runs) == 3
    assert [len(proofs) for proofs in check(folder).values()] == [3]
    results = Results(folder, world := World.read(folder), ASKED)
    assert len(results) == 3 and (1.0, "selfish") in results and (2.0, "all_local") not in results
    assert [run.row.policy for run in live(world, ASKED, results)] == ["all_local"]
    assert rows(save(folder, ASKED)) == rows(whole)
    assert [len(proofs) for proofs in check(folder).values()] == [4]


def test_other_policies_are_added_and_other_requests_replace_what_was_kept(folder):
    save(folder, replace(ASKED, policies=("selfish",), loads=(2.0,)))
    asked = replace(ASKED, policies=("all_edge",), loads=(1.0,))
    assert rows(result := save(folder, asked)) == [(2.0, "selfish"), (1.0, "all_edge")]
    assert result.asked.policies == ("selfish", "all_edge") and result.asked.loads == (2.0, 1.0)
    for other in (replace(asked, seed=1), replace(asked, url="http://127.0.0.1:9")):
        assert rows(save(folder, other)) == [(1.0, "all_edge")]
    assert [len(proofs) for proofs in check(folder).values()] == [1]


def test_runs_of_other_profiles_are_executed_again(folder):
    save(folder, ASKED, 2)
    scenario = folder.scenario()
    folder.save(replace(scenario, weights=replace(scenario.weights, time=0.9)))
    with pytest.warns(UserWarning, match="all is executed again"):
        assert len(Results(folder, World.read(folder), ASKED)) == 0


def test_a_simulation_leaves_an_execution_alone_and_an_older_one_is_moved(folder):
    save(folder, ASKED, 1)
    names = {"online-executed.json": "online.json", "online/executed.npz": "online/records.npz"}
    before = {name: (folder.path / name).read_bytes() for name in names}
    for name, older in names.items():  # where an earlier version wrote it
        (folder.path / name).rename(folder.path / older)
    assert [len(proofs) for proofs in check(folder).values()] == [1]
    save(folder, replace(ASKED, executed=False, requests=20))
    assert {name: (folder.path / name).read_bytes() for name in names} == before
    assert sorted(len(proofs) for proofs in check(folder).values()) == [1, 4]
    assert not OnlineRun.from_dict(read_json(folder.path / "online.json")).asked.executed


def test_the_command_keeps_each_run_and_goes_on(folder, monkeypatch, capsys):
    made = []

    class Stage:
        """Breaks down after its first stream."""

        def __init__(self, _folder, world, _url):
            self.world = world

        def runs(self, asked, kept):
            for run in live(self.world, asked, kept):
                made.append(run.row.policy)
                yield run
                raise InputError("broken")

    monkeypatch.setattr(execute, "Stage", Stage)
    asked = ["online", str(folder.path), "--execute", "--requests", "30", "--load", "1"]
    for count in (1, 2):
        assert main([*asked, "--policy", ",".join(POLICIES)]) == 2
        assert len(made) == count
    assert made == list(POLICIES)
    assert main([*asked, "--policy", ",".join(POLICIES)]) == 0 and len(made) == 2
    assert "2 streams are kept" in capsys.readouterr().out
    assert (folder.path / "online-executed.svg").exists()
    assert main(["online", str(folder.path), "--check"]) == 0
    assert "2 runs proven again" in capsys.readouterr().out
