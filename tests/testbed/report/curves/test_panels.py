"""The curves of a report: what is drawn is what the fits say, and stands in the tables."""

from dataclasses import replace

import pytest
from scipy.stats import t as student

from calibration.fitting.prediction import evaluate
from testbed.report.curves import panels
from testbed.report.curves.panels import curves
from testbed.report.curves.quantities import QUANTITIES, cells
from testbed.report.format import file_name
from tests.testbed.report.tables import read
from tests.testbed.report.world import PROMPTS

QUANTITY = {quantity.name: quantity for quantity in QUANTITIES}


@pytest.fixture(scope="module")
def measured(profiles):
    return cells(profiles, list(PROMPTS))


def test_every_family_is_drawn_named_and_in_the_table(run, page, measured):
    """Values of each family and of the average, by the fits' own functions, at every step count
    drawn.
    """
    for name in ("error", "utility"):
        drawn = curves(measured, QUANTITY[name]).panels
        for cell in measured:
            fit, key = cell.fit(name), (cell.prompt_class, cell.place)
            rows = read(run / "report" / f"{file_name('curve', name, *key)}.csv")
            steps = [row["steps"] for row in rows]
            for member in fit.families:
                values, _ = evaluate(fit, steps, member.family)
                assert [row[member.family] for row in rows] == pytest.approx(values)
            assert [row["fitted"] for row in rows] == pytest.approx(evaluate(fit, steps)[0])
            panel = next(panel for panel in drawn if (panel.prompt_class, panel.place) == key)
            families = panel.families
            assert [family.family for family in families] == [
                member.family for member in fit.families
            ]
            assert sum(family.weight for family in families) == pytest.approx(1)
            assert len({(family.colour, family.dash) for family in families}) == len(families)
            for family in families:
                ours = ", the paper’s" if family.paper else ""
                assert f"{family.label}{ours}  {100 * family.weight:.0f} %" in page.text


def test_residuals_are_in_the_points_own_half_widths(run, measured):
    """By hand: (measured - fitted) over standard errors times Student's t of the prompts; at the
    measured step counts and nowhere else.
    """
    for cell in measured:
        name = file_name("curve", "error", cell.prompt_class, cell.place)
        rows = read(run / "report" / f"{name}.csv")
        points = {point.steps: point for point in cell.fit("error").points}
        assert {row["steps"] for row in rows if row["residual"] != ""} == set(points)
        for row in rows:
            if row["steps"] in points:
                point = points[row["steps"]]
                fitted = evaluate(cell.fit("error"), [row["steps"]])[0][0]
                half = student.ppf(0.975, point.prompts - 1) * point.se
                assert row["measured"] == point.value
                assert row["residual"] == pytest.approx((point.value - fitted) / half)


def test_a_point_without_an_interval_makes_the_residuals_relative(measured):
    cell, fit = measured[0], measured[0].fit("error")
    points = tuple(replace(point, se=None) for point in fit.points)
    profile = replace(cell.profile, error=replace(fit, points=points))
    row = curves([replace(cell, profile=profile)], QUANTITY["error"])
    assert row.residual == "percent"
    for shown in row.panels[0].table.shown:
        percent = 100 * (shown["measured"] - shown["fitted"]) / shown["measured"]
        assert shown["residual"] == pytest.approx(percent)


def test_a_bar_that_would_flatten_the_curves_is_cut(measured, monkeypatch):
    """The plot ends at twice the largest time; the table has the bar's end; the page says it."""
    drawn = []
    monkeypatch.setattr(panels, "curve_panel", lambda _, axes: drawn.append(axes) or "")
    cell = measured[0]
    time = replace(cell.profile.time, relative_sd=50.0)
    disturbed = replace(cell, profile=replace(cell.profile, time=time))
    largest = max(point.median for point in time.points)
    row = curves([disturbed], QUANTITY["time"])
    assert row.about.endswith("A bar that reaches the edge of the plot is longer.")
    assert largest < drawn[0].top / 1000 < 2.5 * largest  # ms
    assert max(shown["high"] for shown in row.panels[0].table.shown) > largest
    assert "longer" not in curves([cell], QUANTITY["time"]).about


def test_times_are_a_straight_line_beside_the_papers(run, profiles):
    for kind in PROMPTS:
        for row in read(run / "report" / f"curve-time-{kind}.csv"):
            time = profiles.find(row["place"], kind).time
            assert row["fitted"] == pytest.approx(time.overhead + time.step_time * row["steps"])
            assert row["paper"] == pytest.approx(time.paper.step_time * row["steps"])
            assert row["fitted_low"] < row["fitted"] < row["fitted_high"]


def test_every_plot_has_its_csv_and_the_page_names_each(run, page):
    """As many as plots, and one of the sample sizes; the rows shown are rows of the file."""
    named = {
        attributes["href"].removeprefix("report/")
        for attributes in page.all("a")
        if attributes["href"].startswith("report/")
    }
    files = {path.name for path in (run / "report").glob("*.csv")}
    sources = [attributes["src"] for attributes in page.all("img")]
    plots = [source for source in sources if source.startswith("data:image/svg")]
    assert named == files and len(files) == len(plots) + 1
    behind = [
        tag
        for tag, attributes in page.tags
        if tag == "details" and "behind" in attributes.get("class", "")
    ]
    assert len(behind) == len(plots)
    assert all(read(run / "report" / name) for name in files)
