"""The tables beside the curves, and what only some profiles have."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.curve_fit import LeftOut
from testbed.report import write_report
from testbed.runs.folder import RunFolder
from tests.testbed.report.tables import read
from tests.testbed.report.world import PROMPTS, Page


def test_energy_batches_and_the_sweep_are_shown_where_there_are_any(full_run, full_page, page):
    profiles, text = RunFolder(full_run).profiles(), full_page.line()
    for words in ("Energy against", "Time of one step against the batch"):
        alts = [attributes["alt"] for attributes in full_page.all("img")]
        assert any(alt.startswith(words) for alt in alts)
    assert "45000 for the same width, 5.00 times as many" in text
    assert "5 of 6 intervals as narrow as planned" in text
    assert profiles.get("edge").batch.verdict in text
    assert "2.10 [1.80, 2.40]" in text and "power as the clock's cube" in text
    assert "Several images in one batch" not in page.text
    assert "The adaptive sweep" in text and "The adaptive sweep" not in page.text
    for kind in PROMPTS:
        for row in read(full_run / "report" / f"curve-energy-{kind}.csv"):
            energy = profiles.find(row["place"], kind).energy
            assert row["fitted"] == pytest.approx(energy.overhead_j + energy.step_j * row["steps"])
    batches = read(full_run / "report" / "batching-edge.csv")
    assert [row["batch"] for row in batches] == [1, 2, 4, 8]
    fitted, seconds = ([row[name] for row in batches] for name in ("fitted", "seconds"))
    assert np.allclose(fitted, seconds, rtol=0.05)


def test_a_width_that_was_not_reached_warns(full_page):
    assert "WARN widths of the sweep plan" in full_page.line()


def test_what_the_points_do_not_support_is_said(profiles, tmp_path):
    place, *others = profiles.places
    profile, *classes = place.classes
    kept = [member for member in profile.error.families if member.family != "power_floor"]
    fit = replace(
        profile.error,
        left_out=(LeftOut("power_floor", "the floor is not reached"),),
        families=tuple(
            replace(member, weight=float(member.family == "exponential")) for member in kept
        ),
        chosen="exponential",
    )
    place = replace(place, classes=(replace(profile, error=fit), *classes))
    RunFolder(tmp_path).save(replace(profiles, places=(place, *others)))
    text = Page(write_report(tmp_path)).line()
    assert "power + floor not supported by the points: the floor is not reached" in text
