"""What the edge buys at equal time, against a search through all step counts."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.prediction import evaluate
from calibration.records.scale import Scales
from calibration.scenario.problem import sites
from testbed.report.curves.equal_time import equal_time
from testbed.report.curves.quantities import cells
from testbed.runs.folder import RunFolder
from tests.testbed.report.world import GRID, PROMPTS


@pytest.fixture(scope="module")
def scenario(run):
    return RunFolder(run).scenario()


@pytest.fixture(scope="module")
def shown(profiles, scenario):
    return equal_time(cells(profiles, list(PROMPTS)), sites(profiles, scenario))


def test_own_devices_are_as_slow_as_the_median_users(shown, profiles, scenario):
    ratios = sorted(site.device.ratio for site in sites(profiles, scenario))
    assert shown.ratio == ratios[len(ratios) // 2] and shown.basis == "emulated"
    alone = equal_time(cells(profiles, list(PROMPTS)), [])
    assert (alone.ratio, alone.basis, alone.device) == (1.0, "measured", None)


def test_the_gain_is_that_of_the_most_steps_which_the_edge_makes_in_the_same_seconds(
    shown, profiles
):
    assert [panel.prompt_class for panel in shown.panels] == list(PROMPTS)
    for panel in shown.panels:
        local, edge = (profiles.find(place, panel.prompt_class) for place in ("local", "edge"))
        assert {row["place"] for row in panel.table.shown} == {"local", "edge"}
        for row in panel.table.shown:
            if row["place"] == "edge":
                assert row["edge_steps"] is None
                continue
            seconds = shown.ratio * local.time.seconds(row["steps"])
            in_time = [s for s in range(1, max(GRID) + 1) if edge.time.seconds(s) <= seconds]
            assert row["seconds"] == pytest.approx(seconds)
            assert row["edge_steps"] == (max(in_time) if in_time else None)
            if not in_time:
                continue
            for name, sign in (("error", -1), ("utility", 1)):
                ours, theirs = (
                    float(evaluate(getattr(profile, name), [steps])[0][0])
                    for profile, steps in ((local, row["steps"]), (edge, max(in_time)))
                )
                assert row[f"edge_{name}_gain"] == pytest.approx(sign * (theirs - ours), abs=1e-9)


def test_in_less_than_its_shortest_image_the_edge_gives_nothing(profiles):
    edge = profiles.get("edge")
    slow = tuple(
        replace(each, time=replace(each.time, overhead=1e3, step_time=1.0)) for each in edge.classes
    )
    places = (profiles.get("local"), replace(edge, classes=slow))
    shown = equal_time(cells(replace(profiles, places=places), list(PROMPTS)), [])
    assert {panel.edge_steps for panel in shown.panels} == {None}
    assert not any(panel.gains for panel in shown.panels)


def test_a_class_without_utility_is_shown_by_its_error_alone(profiles):
    def without(profile):
        scales = Scales.without_utility(profile.scales.error.full, "no scorer")
        return replace(profile, utility=None, scales=scales)

    places = tuple(
        replace(place, classes=(without(place.classes[0]), *place.classes[1:]))
        for place in profiles.places
    )
    name = profiles.places[0].classes[0].prompt_class
    shown = equal_time(cells(replace(profiles, places=places), list(PROMPTS)), [])
    for panel in shown.panels:
        assert ("utility" in panel.table.rows[0]) == (panel.prompt_class != name)
        assert np.isfinite([row["error"] for row in panel.table.rows]).all()
