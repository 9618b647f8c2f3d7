"""A problem and a solver of one's own reach execution, validation and report."""

import json
import re
import shutil

import pytest

from solver import Problem
from testbed.cli import main
from testbed.runs.folder import RunFolder
from tests.testbed.stages.world import few_timings

EDGES = """users = 4
local = {max_steps = 3}
edge = {max_steps = 5}
[[edges]]
name = "near"
budget = 4
slots = 1
[[edges]]
name = "far"
budget = 9
max_steps = 5
device_class = "slow"
[devices.slow]
ratio = 2.0
watts = 30.0
source = "made up"
[links.wifi]
transfer_time = 0.25
"""


@pytest.mark.slow
def test_two_edges_and_a_solver_of_ones_own(small_run, tmp_path, capsys, monkeypatch):
    run = shutil.copytree(small_run.folder, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "everywhere.py").write_text(
        "def everywhere(problem):\n    return [0, 1, 2, 2], [3, 4, 5, 4]\n"
    )
    (tmp_path / "s.toml").write_text('link = "wifi"\n' + EDGES)
    made = ["problem", "--profiles", str(run / "profiles.json"), "--scenario", "s.toml"]
    assert main([*made, "-o", "p.json"]) == 0
    problem = Problem.load("p.json")
    assert problem.names == ("local", "near", "far")
    own = ["--solver", "everywhere:everywhere", "--problem", "p.json"]
    with few_timings():
        assert main(["run", str(small_run.config), "--out", str(run), *own]) == 0
    folder = RunFolder.read(run)
    allocation, validation = folder.allocation(), folder.validation()
    assert allocation.solver == "everywhere:everywhere"
    assert (allocation.offload, allocation.used["far"]) == ([0, 1, 2, 2], 9)
    assert [(user.place, user.steps) for user in validation.users] == [
        ("local", 3),
        ("edge", 4),
        ("edge", 5),
        ("edge", 4),
    ]
    report = (run / "report.html").read_text()
    assert "everywhere" in report and validation.users[1].time.predicted > 0.25
    page = " ".join(re.sub(r"<.*?>", " ", report).split())
    assert "4 of 4 at near, 9 of 9 at far" in page and "13 used of 13" in page
    assert "--solver everywhere:everywhere --problem" in page
    assert any("predicts times of 3 users that" in note for note in validation.notes)
    baselines = json.loads((run / "baselines.json").read_text())
    exact = next(row for row in baselines if row["solver"] == "exact")
    assert exact["objective"] <= allocation.objective

    # all is checked before anything is measured
    for arguments, line in [
        (["--solver", "nowhere:f"], "nowhere:f: ModuleNotFoundError"),
        (["--problem", "none.json"], "none.json: no such file"),
    ]:
        assert main(["run", str(small_run.config), "--out", "new", *arguments]) == 2
        assert line in capsys.readouterr().err
    data = problem.to_dict()
    data["edges"]["far"]["step_weight"] = 2
    (tmp_path / "tier.json").write_text(json.dumps(data))
    assert main(["run", str(small_run.config), "--out", "new", "--problem", "tier.json"]) == 2
    assert "found far; allowed to be executed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_risk_on_the_command_line(small_run, tmp_path, capsys):
    scenario = tmp_path / "s.toml"
    scenario.write_text(
        "users = 4\ndeadline = 60.0\nlocal = {max_steps = 3}\nedge = {max_steps = 5}\n"
    )
    made = ["problem", "--profiles", str(small_run.folder / "profiles.json")]
    made += ["--scenario", str(scenario), "-o", str(tmp_path / "p.json")]
    assert main([*made, "--risk", "0.05", "--risk-for", "all"]) == 0
    careful = Problem.load(tmp_path / "p.json")
    assert main(made) == 0
    bold = Problem.load(tmp_path / "p.json")
    assert careful.local.max_steps.shape == (4,) and bold.local.max_steps.shape == ()
    assert main([*made, "--risk", "2"]) == 2
    assert main([*made, "--risk-for", "all"]) == 2
    assert "--risk-for: found 'all' without a risk; allowed: " in capsys.readouterr().err
    scenario.write_text("risk = 0.05\n" + scenario.read_text())
    assert main([*made, "--risk-for", "all"]) == 0
    assert Problem.load(tmp_path / "p.json").to_dict() == careful.to_dict()


def test_steps_that_a_scenario_leaves_open_are_at_most_those_measured(small_run, tmp_path, capsys):
    """The grid of the small run ends at 6 steps, below the defaults of 16 and 32."""
    (tmp_path / "s.toml").write_text("users = 4\ndevice_classes = { server-core = 1 }\n")
    made = ["problem", "--profiles", str(small_run.folder / "profiles.json")]
    made += ["--scenario", str(tmp_path / "s.toml"), "-o", str(tmp_path / "p.json")]
    assert main(made) == 0
    problem = Problem.load(tmp_path / "p.json")
    assert (problem.local.max_steps, problem.edge.max_steps) == (6, 6)
    (tmp_path / "s.toml").write_text("users = 4\nedge = { max_steps = 16 }\n")
    assert main(made) == 2
    assert "edge.max_steps: found 16; allowed: at most 6" in capsys.readouterr().err
