"""The curves of a report: what is drawn is what the fits say, stands in the tables and CSV files,
and optional parts are shown.
"""

import csv
import json
import shutil

import numpy as np
import pytest

from calibration.fitting.prediction import curve
from testbed.report import write_report
from testbed.report.curves import curves, file_name
from tests.testbed.report.world import PROMPTS, Page, copy, make_run, with_optional_parts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def profiles(run):
    return json.loads((run / "profiles.json").read_text())["profiles"]


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run))


def read(path):
    with open(path, newline="") as file:
        return [
            {
                key: float(value) if value and key not in ("place", "prompt_class") else value
                for key, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def test_every_family_is_drawn_named_and_in_the_table(run, page, profiles):
    """Values of each family and of the average, by the fits' own functions, at every step count
    drawn.
    """
    for name in ("error", "utility"):
        panels = curves(profiles, name)["panels"]
        for profile in profiles:
            fit, cell = profile[name], (profile["prompt_class"], profile["place"])
            rows = read(run / "report" / f"{file_name('curve', name, *cell)}.csv")
            steps = [row["steps"] for row in rows]
            for entry in fit["families"]:
                assert [row[entry["family"]] for row in rows] == pytest.approx(
                    curve(fit, steps, entry["family"])[0]
                )
            assert [row["fitted"] for row in rows] == pytest.approx(curve(fit, steps)[0])
            panel = next(one for one in panels if (one["kind"], one["place"]) == cell)
            assert [one["family"] for one in panel["families"]] == [
                entry["family"] for entry in fit["families"]
            ]
            assert sum(one["weight"] for one in panel["families"]) == pytest.approx(1)
            assert len({(one["colour"], one["dash"]) for one in panel["families"]}) == len(
                panel["families"]
            )
            for one in panel["families"]:
                assert (
                    f"{one['label']}{', the paper’s' if one['paper'] else ''}  {100 * one['weight']:.0f} %"
                    in page.text
                )


def test_residuals_are_in_the_points_own_half_widths(run, page, profiles):
    """By hand: (measured - fitted) over 1.96 standard errors; at the measured step counts and
    nowhere else.
    """
    for profile in profiles:
        rows = read(
            run
            / "report"
            / f"{file_name('curve', 'error', profile['prompt_class'], profile['place'])}.csv"
        )
        points = {point["steps"]: point for point in profile["error"]["points"]}
        assert {row["steps"] for row in rows if row["residual"] != ""} == set(points)
        for row in rows:
            if row["steps"] in points:
                point = points[row["steps"]]
                fitted = curve(profile["error"], [row["steps"]])[0][0]
                assert row["measured"] == point["value"] and row["residual"] == pytest.approx(
                    (point["value"] - fitted) / (1.96 * point["se"])
                )


def test_a_point_without_an_interval_makes_the_residuals_relative(profiles):
    one = {
        **profiles[0],
        "error": {
            **profiles[0]["error"],
            "points": [{**point, "se": None} for point in profiles[0]["error"]["points"]],
        },
    }
    row = curves([one], "error")
    assert row["residual"] == "percent"
    for shown in row["panels"][0]["table"]["shown"]:
        assert shown["residual"] == pytest.approx(
            100 * (shown["measured"] - shown["fitted"]) / shown["measured"]
        )


def test_times_are_a_straight_line_beside_the_papers(run, page, profiles):
    for kind in PROMPTS:
        for row in read(run / "report" / f"curve-time-{kind}.csv"):
            time = next(
                one["time"]
                for one in profiles
                if (one["place"], one["prompt_class"]) == (row["place"], kind)
            )
            assert row["fitted"] == pytest.approx(
                time["overhead"] + time["step_time"] * row["steps"]
            )
            assert row["paper"] == pytest.approx(time["paper"]["step_time"] * row["steps"])
            assert row["fitted_low"] < row["fitted"] < row["fitted_high"]


def test_every_plot_has_its_csv_and_the_page_names_each(run, page):
    """As many as pictures of plots, and one of the sample sizes; the rows shown are rows of the
    file.
    """
    named = {
        attributes["href"].removeprefix("report/")
        for attributes in page.all("a")
        if attributes["href"].startswith("report/")
    }
    files = {path.name for path in (run / "report").glob("*.csv")}
    plots = [one for one in page.all("img") if one["src"].startswith("data:image/svg")]
    assert named == files and len(files) == len(plots) + 1
    assert sum(
        tag == "details" and "behind" in attributes.get("class", "")
        for tag, attributes in page.tags
    ) == len(plots)
    assert all(read(run / "report" / name) for name in files)


def test_names_of_files_are_plain_and_never_clash():
    names = [
        file_name("curve", name)
        for name in ("a b", "a-b", "a/b", "../a", "日本", "ü", "", "x" * 300, "a_b")
    ]
    assert len(set(names)) == len(names)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
        and len(name) < 80
        for name in names
    )


def test_sample_sizes_are_counted_from_the_records(run, page):
    records = [
        json.loads(line)["asked"]
        for line in (run / "calibration" / "records.jsonl").read_text().splitlines()
    ]
    for row in read(run / "report" / "samples.csv"):
        mine = [
            one
            for one in records
            if one["purpose"] == "sweep"
            and all(one[name] == row[name] for name in ("place", "prompt_class", "steps"))
        ]
        expected = {
            "images": len(mine),
            "prompts": len({one["prompt"] for one in mine}),
            "seeds": 1,
        }
        assert expected == {name: row[name] for name in expected} and mine


def test_energy_batches_and_the_plan_are_shown_where_there_are_any(run, page, tmp_path):
    part = copy(run, tmp_path / "part", "config.json")
    found = with_optional_parts(json.loads((run / "profiles.json").read_text()))
    (part / "profiles.json").write_text(json.dumps(found))
    shown = Page(write_report(part))
    text = " ".join(shown.text.split())
    for words in ("Energy against", "Time of one step against the batch"):
        assert any(attributes["alt"].startswith(words) for attributes in shown.all("img"))
    assert (
        "45000 for the same width, 5.00 times as many" in text
        and "FAIL widths of the sweep plan" in text
    )
    assert (
        "5 of 6 intervals as narrow as planned" in text
        and found["profiles"][0]["batching"]["verdict"] in text
    )
    assert "2.10 [1.80, 2.40]" in text and "power as the clock's cube" in text
    for kind in PROMPTS:
        for row in read(part / "report" / f"curve-energy-{kind}.csv"):
            energy = next(
                one["energy"]
                for one in found["profiles"]
                if (one["place"], one["prompt_class"]) == (row["place"], kind)
            )
            assert row["fitted"] == pytest.approx(
                energy["overhead_j"] + energy["step_j"] * row["steps"]
            )
    batches = read(part / "report" / "batching-edge.csv")
    assert [row["batch"] for row in batches] == [1, 2, 4, 8]
    assert np.allclose(
        [row["fitted"] for row in batches], [row["seconds"] for row in batches], rtol=0.05
    )
    assert "Several images in one batch" not in page.text and "The sweep plan" not in page.text


def test_what_the_points_do_not_carry_is_said(run, page, profiles, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    shutil.copy(run / "profiles.json", part)
    found = json.loads((part / "profiles.json").read_text())
    found["profiles"][0]["error"]["left_out"] = [
        {"family": "power_floor", "reason": "the floor is not reached"}
    ]
    found["profiles"][0]["error"]["families"] = [
        one for one in profiles[0]["error"]["families"] if one["family"] != "power_floor"
    ]
    for one in found["profiles"][0]["error"]["families"]:
        one["weight"] = float(one["family"] == "exponential")
    found["profiles"][0]["error"]["chosen"] = "exponential"
    (part / "profiles.json").write_text(json.dumps(found))
    assert "power + floor not carried: the floor is not reached" in " ".join(
        Page(write_report(part)).text.split()
    )
