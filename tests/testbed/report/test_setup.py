"""What a run was made with, as the report tells it."""

import json
from dataclasses import replace

import pytest

from calibration.comparison import Total
from calibration.profiles.profile import FRECHET_NOTE, DistancePoint, Extrapolated
from testbed.report import setup
from testbed.report.curves.panels import curves
from testbed.report.curves.quantities import QUANTITIES, Cell, shown_quantities
from tests.testbed.report.tables import read

FRECHET, KID, TIME = (
    next(quantity for quantity in QUANTITIES if quantity.name == name)
    for name in ("frechet", "kid", "time")
)


def test_sample_sizes_are_counted_from_the_records(run, page):
    lines = (run / "calibration" / "records.jsonl").read_text().splitlines()
    tasks = [json.loads(line)["asked"] for line in lines]
    for row in read(run / "report" / "samples.csv"):
        own = [
            task
            for task in tasks
            if task["purpose"] == "sweep"
            and all(task[name] == row[name] for name in ("place", "prompt_class", "steps"))
        ]
        expected = {
            "images": len(own),
            "prompts": len({task["prompt"] for task in own}),
            "seeds": 1,
        }
        assert expected == {name: row[name] for name in expected} and own


@pytest.fixture
def cells(profiles):
    """Fréchet distances of 8, 8 and 900 images, the last extrapolated."""
    beyond = Extrapolated(value=1.2345, low=1.0, high=1.5)
    profile = profiles.find("edge", "object")
    points = [
        *2 * [DistancePoint(4, 2.0, 1.0, 3.0, 8, note="8 cannot")],
        DistancePoint(4, 2.0, 1.0, 3.0, 900, infinity=beyond),
    ]
    return [
        Cell("edge", replace(profile, prompt_class="all", frechet=(point,), kid=(point,)))
        for point in points
    ]


def test_the_report_says_which_frechet_distances_cannot_be_compared_or_supported(cells):
    total = Total(quantity="Fréchet distance", unit="", predicted=2.0, low=None, high=None)
    totals = [replace(total, note="7 cannot"), total]
    assert setup.frechet_notes(cells, totals) == [
        FRECHET_NOTE,
        "8 cannot",
        "7 cannot",
        "extrapolated to infinitely many images, all, edge server, 4 steps: 1.23 [1, 1.5].",
    ]


def test_the_numbers_of_images_behind_the_distances_are_told(cells, undrawn):
    assert curves(cells, FRECHET).about.endswith(
        "from 8 or 900 images; Fréchet distances of different numbers are not comparable."
    )
    assert curves(cells, KID).about.endswith(" Each point is from 8 or 900 images.")
    assert curves(cells[:2], FRECHET).about.endswith(" Each point is from 8 images.")
    assert curves(cells, TIME).about == TIME.about


def test_a_quantity_that_old_profiles_lack_is_not_shown(cells):
    old = [replace(cell, profile=replace(cell.profile, kid=())) for cell in cells]
    assert KID in shown_quantities(cells) and KID not in shown_quantities(old)
