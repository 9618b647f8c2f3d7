"""Split images beside the places at equal time: their seconds, and what they are dominated by."""

import base64
from dataclasses import replace

import pytest

from calibration.fitting.curve_fit import CurvePoint
from calibration.profiles.profile import SharedLatents, SplitPoint, Splits
from calibration.records.split import Split
from testbed.report.curves.equal_time import equal_time
from testbed.report.curves.quantities import cells
from testbed.report.plots import COLOURS, svg_uri
from tests.testbed.report.world import PROMPTS


def point(split, error, utility):
    means = [CurvePoint(8, value, se=0.01, n=9, prompts=9) for value in (error, utility)]
    return SplitPoint(split, *means)


GOOD, BAD = point(Split("local", 4), 0.05, 0.93), point(Split("edge", 4), 0.7, 0.3)


@pytest.fixture(scope="module")
def shared(profiles):
    classes = {name: (GOOD, BAD) for name in PROMPTS}
    return replace(profiles, splits=Splits(SharedLatents("a", "b", (4, 8, 8)), 1024, classes))


def test_a_split_takes_the_seconds_of_both_places_of_which_one_decodes(shared):
    shown = equal_time(cells(shared, list(PROMPTS)), [], shared)
    for panel in shown.panels:
        local, edge = (shared.find(p, panel.prompt_class).time for p in ("local", "edge"))
        whole = local.seconds(4) + edge.seconds(4)
        seconds = {row.point.split.first: row.seconds for row in panel.splits}
        assert seconds["local"] == pytest.approx(whole - local.stages.decode)
        assert seconds["edge"] == pytest.approx(whole - edge.stages.decode)
        dominated = {row.point.name: row.dominated_by for row in panel.splits}
        assert dominated[GOOD.name] is None and dominated[BAD.name] == "edge 4"
        columns = panel.splits[0].columns()
        assert columns["split"] == "local 4, then edge 4"
        assert columns["utility_half"] == pytest.approx(2.306 * 0.01, rel=1e-3)  # of 9 prompts


def test_each_split_is_drawn_in_the_colour_of_who_begins(shared, profiles, monkeypatch):
    monkeypatch.setattr("testbed.report.curves.equal_time.svg_uri", svg_uri)
    of_class = [cell for cell in cells(profiles, list(PROMPTS)) if cell.prompt_class == "object"]
    plain, drawn = (
        base64.b64decode(equal_time(of_class, [], each).panels[0].uri[26:])
        for each in (profiles, shared)
    )
    assert len(drawn) > len(plain)
    for colour in COLOURS.values():
        assert drawn.count(colour.encode()) > plain.count(colour.encode())
