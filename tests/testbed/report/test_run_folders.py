"""Reports of run folders that are not finished, not a run's, or edited."""

import json
import re
import shlex

import pytest

from solver import Problem, solve
from solver.inputs import InputError
from testbed.report import write_report
from tests.testbed.report.tables import read
from tests.testbed.report.world import Page, copy

pytestmark = pytest.mark.usefixtures("undrawn")
NAMES = ("config.json", "profiles.json", "scenario.json", "problem.json", "allocation.json")


@pytest.mark.parametrize(
    ("names", "expected", "missing"),
    [
        (["config.json"], ["setup", "repeat"], "calibration records (calibration/records.jsonl)"),
        (
            ["config.json", "calibration"],
            ["setup", "steps", "repeat"],
            "fitted profiles (profiles.json)",
        ),
        (
            ["profiles.json"],
            ["verdicts", "setup", "curves", "repeat"],
            "allocation (allocation.json)",
        ),
        (
            ["config.json", "profiles.json", "scenario.json"],
            ["verdicts", "setup", "curves", "repeat"],
            "problem (problem.json)",
        ),
        (
            [
                "config.json",
                "calibration",
                "profiles.json",
                "scenario.json",
                "problem.json",
                "allocation.json",
            ],
            ["verdicts", "setup", "curves", "allocation", "steps", "repeat"],
            "execution records (execution/records.jsonl)",
        ),
        (
            ["allocation.json", "execution"],
            ["setup", "allocation", "users", "repeat"],
            "predictions held against measurements",
        ),
    ],
)
def test_a_run_in_progress_shows_what_is_there_and_names_what_is_not(
    run, tmp_path, names, expected, missing
):
    page = Page(write_report(copy(run, tmp_path / "part", *names)))
    assert page.sections() == expected
    assert "This run is not complete" in page.text and missing in page.text


def test_a_run_killed_before_its_first_sweep_image(run, tmp_path):
    """So far there are converged images only."""
    part = copy(run, tmp_path / "part", "config.json", "calibration")
    path = part / "calibration" / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"purpose": "converged"' in line))
    assert Page(write_report(part)).sections() == ["setup", "steps", "repeat"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (None, None, "no such folder"),
        ("notes.txt", "hello", "not a run folder"),
        ("profiles.json", '{"schema": "profiles/9"}', "schema: found 'profiles/9'; allowed: "),
        ("config.json", "[1]", "config.json"),
        ("allocation.json", '{"schema": "allocation/1", "steps": 3}', "allocation.json"),
        ("baselines.json", "{}", "not a run folder"),
        (
            "validation.json",
            '{"schema": "validation/1", "users": []}',
            "validation.json: 'totals' is missing",
        ),
        ("validation.json", '{"schema": ', "not valid JSON"),
    ],
)
def test_another_kind_of_folder_is_refused_in_one_line(tmp_path, name, content, says):
    folder = tmp_path / "other"
    if name:
        folder.mkdir()
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(says)) as refusal:
        write_report(folder)
    assert "\n" not in str(refusal.value) and not (folder / "report.html").exists()


def test_a_broken_line_inside_the_records_is_named(run, tmp_path):
    part = copy(run, tmp_path / "part", "calibration")
    path = part / "calibration" / "records.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(InputError, match="records.jsonl: line 1: not valid JSON"):
        write_report(part)


def test_files_of_two_runs_are_refused(run, tmp_path):
    part = copy(run, tmp_path / "part", "problem.json", "allocation.json")
    allocation = json.loads((part / "allocation.json").read_text())
    allocation["objective"] += 1
    (part / "allocation.json").write_text(json.dumps(allocation))
    with pytest.raises(InputError, match="objective"):
        write_report(part)


def test_half_a_character_is_replaced(run, tmp_path):
    """JSON can hold half of a surrogate pair, which no file in UTF-8 can."""
    part = copy(run, tmp_path / "part", "profiles.json")
    profiles = json.loads((part / "profiles.json").read_text())
    profiles["places"][0]["classes"][0]["prompt_class"] = "\ud83d"
    (part / "profiles.json").write_text(json.dumps(profiles))
    assert "?" in Page(write_report(part)).text
    assert "?,local,1," in (part / "report" / "samples.csv").read_text()


def test_users_are_told_apart_by_the_problems_labels_where_there_is_no_scenario(run, tmp_path):
    part = copy(run, tmp_path / "part", "profiles.json", "problem.json", "allocation.json")
    page = Page(write_report(part))
    told = read(next((part / "report").glob("allocation-scene*.csv")))
    assert len(told) == json.loads((run / "problem.json").read_text())["labels"][
        "prompt_class"
    ].count("scene")
    assert "scenario.json): `testbed validate --scenario SCENARIO` makes it" in page.text


def test_tables_of_an_earlier_state_are_removed(run, tmp_path):
    part = copy(run, tmp_path / "part", "profiles.json", "problem.json", "allocation.json")
    write_report(part)
    (part / "report" / "mine.txt").write_text("")
    assert list((part / "report").glob("allocation-*.csv"))
    (part / "allocation.json").unlink()
    write_report(part)
    assert not list((part / "report").glob("allocation-*.csv"))
    assert (part / "report" / "mine.txt").exists()


def test_a_problem_from_elsewhere_is_said_and_repeated(run, tmp_path, monkeypatch):
    part = copy(run, tmp_path / "a run [x]", *NAMES)
    problem = json.loads((part / "problem.json").read_text())
    problem["edge_budget"] += 7
    (part / "problem.json").write_text(json.dumps(problem))
    solve(Problem.load(part / "problem.json")).save(part / "allocation.json")
    page = Page(write_report(part))
    assert "problem.json is not what profiles.json and scenario.json make" in page.text
    assert f"{problem['edge_budget']} denoising steps in all" in page.text
    again = shlex.split(re.search(r"testbed run .*run\.toml.*", page.text)[0])
    at = str(part)
    assert again == ["testbed", "run", f"{at}/report/run.toml", "--out", f"{at}-again"] + [
        "--problem",
        f"{at}/problem.json",
    ]
    monkeypatch.chdir(tmp_path)
    assert "testbed run 'a run [x]/report/run.toml'" in Page(write_report(part)).text


def test_a_scenario_of_another_run_is_refused(run, tmp_path):
    part = copy(run, tmp_path / "part", "scenario.json", "allocation.json")
    scenario = json.loads((part / "scenario.json").read_text())
    scenario["users"].pop()
    (part / "scenario.json").write_text(json.dumps(scenario))
    with pytest.raises(InputError, match="users: found 29; allowed: 30"):
        write_report(part)
