"""The report: complete and partial run folders, self-contained, safe with hostile text."""

import base64
import json
import re
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from calibration.costs.batch import fit_batching
from calibration.serving.completion import compare, predict
from solver.inputs import InputError, write_json
from testbed.report import mlperf, write_report
from testbed.report.format import number, percent
from tests.testbed.report.world import CONVERGED, HOSTILE, PROMPTS, Page, copy, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run))


def sections(page):
    return [attributes["id"] for attributes in page.all("section")]


def test_a_complete_run_shows_every_section_and_every_picture(run, page):
    assert sections(page) == [
        "verdicts",
        "setup",
        "curves",
        "allocation",
        "agreement",
        "steps",
        "users",
        "repeat",
    ]
    curves = (
        2 * 3 * 2 + 3 * 3
    )  # error and utility by class and place; time, CLIP score and Fréchet distance by class
    panels = curves + 3 + 3  # and the allocation by class, agreement (time, error, utility)
    strips = 3 * 2 * (6 + 1)  # classes x places x (1, 2, 4, 8, 16, 32, converged)
    assert len(page.all("img")) == panels + strips + 30 * 2
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_summary_says_what_the_files_say(run, page):
    allocation, validation = (
        json.loads((run / f"{name}.json").read_text()) for name in ("allocation", "validation")
    )
    offloaded, inside = (
        sum(allocation["offload"]),
        [row["inside"] for row in validation["totals"] if row["inside"] is not None],
    )
    assert 0 < offloaded < 30
    text = " ".join(page.text.split())
    for expected in (
        f"30 users, {offloaded} offloaded",
        f"{sum(inside)} of {len(inside)} totals lie inside their 95 % prediction interval.",
        "Furthest from its prediction: Fréchet distance (60 images), −27",
        f"{allocation['edge_steps_used']} used of 180",
        f"Objective (lower is better): {number(allocation['objective'], 4)}",
        "Of 4 other methods",
        "both ran on Some CPU @ 2.1 GHz (cpu)",
    ):
        assert expected in text
    assert "This run is not complete" not in text


def test_the_same_prompt_is_shown_at_both_places_at_the_same_steps(page):
    """In each strip: one prompt, its first in the sweep, at 1, 2, 4, 8, 16, 32 and the converged
    steps.
    """
    alts = [
        attributes["alt"]
        for attributes in page.all("img")
        if not attributes["alt"].startswith("User")
    ]
    strips = [
        match.groups()
        for match in (re.fullmatch(r"(.+), (\d+) steps: (.+)", alt) for alt in alts)
        if match
    ]
    expected = [
        (place, str(steps), prompts[0])
        for prompts in PROMPTS.values()
        for place in ("edge server", "own device")
        for steps in (1, 2, 4, 8, 16, 32, CONVERGED)
    ]
    assert strips == expected


def test_every_user_gets_the_pictures_made_for_it(run, page):
    """By content: each gallery picture is the file of a record of that user, never a converged one."""
    files = {}
    for line in (run / "execution" / "records.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["asked"]["purpose"] == "user":
            raw = (run / "execution" / one["image"]).read_bytes()
            files.setdefault(one["asked"]["user"], set()).add(
                "data:image/png;base64," + base64.b64encode(raw).decode()
            )
    shown = {}
    for attributes in page.all("img"):
        if match := re.match(r"User (\d+),", attributes["alt"]):
            shown.setdefault(int(match[1]), set()).add(attributes["src"])
    assert shown == files


def test_everything_that_the_page_loads_is_in_it(run, page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            inside = ("data:", "#", "report/") if tag == "a" else ("data:", "#")
            assert attributes.get(name, "#").startswith(inside), (tag, name)
    assert not page.all("script") and not page.all("iframe") and not page.all("object")
    source = (run / "report.html").read_text()
    assert "url(" not in source and "@import" not in source
    for attributes in page.all("img"):
        kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", attributes["src"]).groups()
        if kind == "svg+xml":
            svg = base64.b64decode(data).decode()
            assert not re.findall(r'(?:href|src)="(?!#)', svg) and "url(http" not in svg


def test_hostile_text_is_shown_not_obeyed(page):
    assert not page.all("script")
    shown = [attributes["alt"] for attributes in page.all("img") if HOSTILE in attributes["alt"]]
    assert (
        shown and page.text.count(HOSTILE) == len(shown) / 2
    )  # once for each user, who has two pictures


def test_worst_total_first_and_nothing_unmeasured_is_zero(run, page):
    text = " ".join(page.text.split())
    table = text[
        text.index("Totals, the worst prediction first") : text.index("Every user, predicted")
    ]
    totals = json.loads((run / "validation.json").read_text())["totals"]
    order = sorted(totals, key=lambda row: -abs(row["relative_error"] or 0))
    places = [table.index(row["quantity"].replace("clip_score", "CLIP score")) for row in order]
    assert places == sorted(places)
    assert "kernel distance not measured – not measured – – – – not measured" in table


def test_the_verdicts_are_listed_worst_first_and_counted(run, page):
    text = " ".join(page.text.split())
    table = text[text.index("1 Verdicts, worst first") : text.index("2 The setup")]
    words = re.findall(r"\b(PASS|FAIL|NOT TESTED)\b", table)
    assert words == sorted(words, key=["FAIL", "NOT TESTED", "PASS"].index) and set(words) == {
        "FAIL",
        "NOT TESTED",
        "PASS",
    }
    assert f"Of {len(words)} judgements {words.count('FAIL')}" in text
    assert (
        "FAIL Fréchet distance (60 images) prediction predicted 4.1, measured 5.6 3.6 to 4.7"
        in table
    )


def test_what_the_paper_would_have_predicted_stands_beside_and_an_older_run_does_without(
    run, page, tmp_path
):
    validation = json.loads((run / "validation.json").read_text())
    assert (
        f"(paper's form {percent(validation['paper_median_absolute_error']['time'])})" in page.text
    )
    assert "by the paper" in page.text
    part = copy(
        run, tmp_path / "part", "profiles.json", "scenario.json", "problem.json", "allocation.json"
    )
    del validation["paper_median_absolute_error"], validation["drift"]
    for row in [
        *validation["totals"],
        *(
            user[name]
            for user in validation["users"]
            for name in ("time", "energy", "error", "utility", "clip_score")
        ),
    ]:
        for name in ("paper", "paper_relative_error"):
            row.pop(name, None)
    (part / "validation.json").write_text(json.dumps(validation))
    older = Page(write_report(part))
    assert (
        "agreement" in sections(older)
        and "by the paper" not in older.text
        and "(paper's form" not in older.text
    )


def test_one_command_repeats_the_run(run, page):
    """The file that the command names holds the run's own configuration."""
    command = f"testbed run {run.name}/report/run.toml --out {run.name}-again"
    assert command in page.text
    saved = tomllib.loads((run / "report" / "run.toml").read_text())
    assert saved["sweep"] == json.loads((run / "config.json").read_text())["sweep"]


def test_the_same_run_gives_the_same_bytes(run, page):
    before = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == before


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
    assert sections(page) == expected
    assert "This run is not complete" in page.text and missing in page.text


def test_a_killed_run_and_lost_or_broken_pictures(run, tmp_path):
    """The torn last line is no record; a picture that cannot be read leaves a gap that says so."""
    part = copy(run, tmp_path / "part", "config.json", "allocation.json", "execution")
    path = part / "execution" / "records.jsonl"
    whole = path.read_text()
    user = [one for one in map(json.loads, whole.splitlines()) if one["asked"]["purpose"] == "user"]
    (part / "execution" / user[0]["image"]).unlink()
    image = part / "execution" / user[1]["image"]
    image.write_bytes(image.read_bytes()[:200])
    path.write_text(whole + whole[:100])
    page = Page(write_report(part))
    assert (
        len(page.all("img")) == 1 + 60 - 2
    )  # the allocation, without a scenario in one panel; two pictures for each user
    assert page.text.count("picture unreadable") == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (None, None, "no such folder"),
        ("notes.txt", "hello", "not a run folder"),
        (
            "profiles.json",
            '{"schema": "profiles/9"}',
            "schema: found 'profiles/9'; allowed: 'profiles/1'",
        ),
        ("config.json", "[1]", "schema: found 'list'; allowed: 'run/1'"),
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
    (part / "allocation.json").write_text(
        json.dumps({**allocation, "objective": allocation["objective"] + 1})
    )
    with pytest.raises(InputError, match="objective"):
        write_report(part)


def test_made_without_torch():
    """A laptop with a copied run folder needs no machine learning packages."""
    code = "import sys, testbed.report; print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_edges_users_served_in_batches_are_shown(run, tmp_path):
    part = shutil.copytree(run, tmp_path / "part")
    sizes = np.repeat([1, 2, 4, 8], 5)
    fit = fit_batching(
        *[
            (sizes, (0.01 + a * sizes) * np.tile([0.99, 1, 1.01, 1, 1], 4))
            for a in (0.004, 0.001, 0.002)
        ]
    )
    steps = [4, 8, 12, 6]
    found = compare(
        predict(fit, fit["text"], fit["decode"], np.zeros(4), steps, 4), [0.15, 0.25, 0.35, 0.2]
    )
    extra = {
        "users": [0, 1, 2, 3],
        "asked": {"arrival_rate": None},
        "images": {"compared": 4, "different": 1, "largest_difference": 1},
    }
    validation = json.loads((part / "validation.json").read_text())
    write_json(part / "validation.json", {**validation, "serving": {**found, **extra}})
    page = Page(write_report(part))
    text = " ".join(page.text.split())
    assert (
        "Completion, edge in batches" in text
        and "3 of 4 pictures equal the stock pipeline's bit for bit" in text
    )
    rows = (part / "report" / "agreement-completion.csv").read_text().splitlines()
    assert rows[0].startswith("user,place,steps,predicted") and len(rows) == 5


def test_mlperfs_ranges_stand_beside_its_models_values_with_what_departs_from_its_conditions(
    run, monkeypatch
):
    assert "MLPerf" not in Page(write_report(run)).text
    monkeypatch.setattr(mlperf, "MODEL", "embedded:edge")
    monkeypatch.setattr(mlperf, "STEPS", 16)
    text = " ".join(Page(write_report(run)).text.split())
    assert "MLPerf accepts 23.0109 to 23.9501: which holds for 5000 images only." in text
    assert "Not MLPerf's conditions:" in text and "guidance: 3.0; MLPerf: 8.0" in text
