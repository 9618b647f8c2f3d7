"""The page of a complete run: everything is shown, nothing else is loaded, hostile text is safe."""

import base64
import json
import re
import tomllib
from dataclasses import replace

from testbed.report import write_report
from testbed.report.format import number
from testbed.report.page import Run, render, view
from testbed.runs.folder import RunFolder
from tests.testbed.report.world import HOSTILE, Page, copy


def test_a_complete_run_shows_every_section_and_every_image(page):
    assert page.sections() == [
        "verdicts",
        "setup",
        "curves",
        "allocation",
        "agreement",
        "steps",
        "users",
        "repeat",
    ]
    # error and utility by class and place; time, CLIP score and Fréchet distance by class
    curves = 2 * 3 * 2 + 3 * 3
    # and the allocation and equal time by class, agreement (time, error, utility)
    panels = curves + 3 + 3 + 3
    strips = 3 * 2 * (6 + 1)  # classes x places x (1, 2, 4, 8, 16, 32, converged)
    assert len(page.all("img")) == panels + strips + 30 * 2
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_summary_says_what_the_files_say(run, page):
    allocation = json.loads((run / "allocation.json").read_text())
    offloaded = sum(allocation["offload"])
    assert 0 < offloaded < 30
    for expected in (
        f"30 users, {offloaded} offloaded",
        "Furthest from its prediction: Fréchet distance (60 images), −27",
        f"{allocation['edge_steps_used']} used of 180",
        f"Objective (lower is better): {number(allocation['objective'], 4)}",
        "Of 4 other methods",
        "both ran on Some CPU @ 2.1 GHz (cpu)",
    ):
        assert expected in page.line()
    assert "This run is not complete" not in page.text


def test_everything_that_the_page_loads_is_in_it(full_run, full_page):
    for tag, attributes in full_page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            inside = ("data:", "#", "report/") if tag == "a" else ("data:", "#")
            assert attributes.get(name, "#").startswith(inside), (tag, name)
    assert not any(full_page.all(tag) for tag in ("script", "iframe", "object"))
    source = (full_run / "report.html").read_text()
    assert "url(" not in source and "@import" not in source
    for attributes in full_page.all("img"):
        kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", attributes["src"]).groups()
        if kind == "svg+xml":
            svg = base64.b64decode(data).decode()
            assert not re.findall(r'(?:href|src)="(?!#)', svg) and "url(http" not in svg


def test_hostile_text_is_shown_not_obeyed(page):
    assert not page.all("script")
    shown = [attributes["alt"] for attributes in page.all("img") if HOSTILE in attributes["alt"]]
    # once for each user, who has two images
    assert shown and page.text.count(HOSTILE) == len(shown) / 2


def test_worst_total_first_and_nothing_unmeasured_is_zero(run, page):
    text = page.line()
    table = text[
        text.index("Totals, the worst prediction first") : text.index("Every user, predicted")
    ]
    totals = json.loads((run / "validation.json").read_text())["totals"]
    order = sorted(totals, key=lambda row: -abs(row["relative_error"] or 0))
    places = [table.index(row["quantity"].replace("clip_score", "CLIP score")) for row in order]
    assert places == sorted(places)
    assert "kernel distance 4.00 – not measured – – – – not measured" in table


def test_the_page_begins_with_a_sentence_that_the_verdicts_bear_out(page):
    """The made-up Fréchet distance fails, and the kernel distance was not measured."""
    text = page.line()
    start = text[: text.index("Each of 30 users")]
    table = text[text.index("1 Verdicts") : text.index("2 The setup")]
    predictions, calibration = table.split("Calibration, worst first")
    order = ["FAIL", "WARN", "NOT TESTED", "PASS", "INFO"]
    start_of_calibration = predictions.index("The calibration is checked")
    predictions = predictions[predictions.index("worst first") : start_of_calibration]
    for part in (predictions, calibration):
        words = re.findall(r"\b(FAIL|WARN|NOT TESTED|PASS|INFO)\b", part)
        assert words == sorted(words, key=order.index)
    words = re.findall(r"\b(FAIL|NOT TESTED|PASS)\b", predictions)
    assert words.count("FAIL") == 1 and "FAIL" not in calibration
    assert (
        f"1 of {len(words)} predictions fails: Fréchet distance (60 images); "
        f"{words.count('NOT TESTED')} could not be tested: kernel distance" in start
    )
    assert "FAIL Fréchet distance (60 images) predicted 4.1, measured 5.6" in predictions
    assert "totals lie inside" not in text


def test_a_machine_too_unsteady_is_said_at_the_top_with_the_remedy(
    run, profiles, tmp_path, undrawn
):
    names = ("profiles.json", "scenario.json", "problem.json", "allocation.json", "validation.json")
    part = RunFolder(copy(run, tmp_path / "part", *names))
    validation = part.validation()
    places = tuple(replace(place, speed_sd=0.6) for place in profiles.places)
    wide = tuple(
        replace(total, low=-9 * total.predicted, high=11 * total.predicted, inside=True)
        if total.unit == "s"
        else total
        for total in validation.totals
    )
    part.save(replace(profiles, places=places))
    part.save(replace(validation, totals=wide))
    text = Page(write_report(part.path)).line()
    start = text[: text.index("Each of 30 users")]
    assert "The machine was too unsteady to test the predicted times" in start
    assert "wandered by 60 % from one part" in start and "when the machine is idle" in start
    assert "could not be tested: time (sum)" in start


def test_modelled_energy_is_not_what_is_furthest_from_its_prediction(run, undrawn):
    """It is watts times time, so its error is the time's."""
    shown = view(Run.read(run))
    energy, *others = sorted(shown.totals, key=lambda total: total.basis != "modelled")
    wrong = replace(energy, relative_error=-0.9)
    text = render(replace(shown, worst_first=[wrong, *others]))
    furthest = re.search(r"Furthest from its prediction: <strong>(.*?),", text)[1]
    assert energy.basis == "modelled" and furthest == others[0].quantity


def test_checksums_are_folded_away(page):
    text = page.line()
    assert "Utility : rescaled CLIP score, model embedded:clip." in text
    assert "Checksums of what the metrics use Utility, model: 87a843d8a6fd" in text


def test_one_command_repeats_the_run(run, page):
    """The file that the command names holds the run's own configuration."""
    assert f"testbed run {run}/report/run.toml --out {run}-again" in page.text
    saved = tomllib.loads((run / "report" / "run.toml").read_text())
    config = json.loads((run / "config.json").read_text())["sweep"]
    assert saved["sweep"] == {key: value for key, value in config.items() if value is not None}


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    """Plots of the allocation stand for all, which one function writes."""
    names = ("config.json", "scenario.json", "problem.json", "allocation.json")
    part = copy(run, tmp_path / "part", *names)
    made = write_report(part).read_text()
    assert "image/svg+xml" in made and render(view(Run.read(part))) == made
