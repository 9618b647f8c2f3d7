"""Predicted against measured: beside the paper's forms, and served in batches."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.comparison import Comparison
from calibration.costs.batch import fit_batching
from calibration.serving.completion import compare, predict
from calibration.serving.serving import ImageDifferences, Serving, ServingRequest
from solver.inputs import InputError, write_json
from testbed.report import write_report
from testbed.report.agreement import Agreement, agreement_plot
from testbed.report.format import percent
from testbed.runs.folder import RunFolder
from tests.testbed.report.world import Page, copy, without_paper


@pytest.fixture(scope="module")
def validation(run):
    return RunFolder(run).validation()


@pytest.fixture(scope="module")
def serving():
    """Four requests, served as predicted or not."""
    sizes = np.repeat([1, 2, 4, 8], 5)
    timings = [
        (sizes, (0.01 + a * sizes) * np.tile([0.99, 1, 1.01, 1, 1], 4))
        for a in (0.004, 0.001, 0.002)
    ]
    completion = compare(
        predict(fit_batching(*timings), np.zeros(4), [4, 8, 12, 6], 4), [0.15, 0.25, 0.35, 0.2]
    )
    return Serving(
        **vars(completion),
        asked=ServingRequest(("a", "b", "c", "d"), "first_come", None),
        users=(0, 1, 2, 3),
        runs=((0.15, 0.25, 0.35, 0.2),),
        images=ImageDifferences(compared=4, different=1, largest_difference=1),
    )


def test_what_the_paper_would_have_predicted_stands_beside(page, validation):
    paper = validation.paper_median_absolute_error["time"]
    assert f"(paper's form {percent(paper)})" in page.text
    assert "by the paper" in page.text


def test_an_older_run_does_without_the_paper(run, validation, tmp_path, undrawn):
    names = ("profiles.json", "scenario.json", "problem.json", "allocation.json")
    part = copy(run, tmp_path / "part", *names)
    write_json(part / "validation.json", without_paper(validation))
    older = Page(write_report(part))
    assert "agreement" in older.sections()
    assert "by the paper" not in older.text and "(paper's form" not in older.text


def test_the_edges_users_served_in_batches_are_shown(run, validation, serving, tmp_path, undrawn):
    part = shutil.copytree(run, tmp_path / "part")
    RunFolder(part).save(replace(validation, serving=serving))
    text = Page(write_report(part)).line()
    assert "Completion, edge in batches" in text
    assert "3 of 4 images equal the stock pipeline's bit for bit" in text
    rows = (part / "report" / "agreement-completion.csv").read_text().splitlines()
    assert rows[0].startswith("user,place,steps,predicted") and len(rows) == 5


def test_requests_without_their_users_are_refused(run, validation, serving, tmp_path):
    part = copy(run, tmp_path / "part", "config.json")
    values = replace(validation, serving=serving).to_dict()
    values["serving"]["users"] = [0, 1]
    write_json(part / "validation.json", values)
    with pytest.raises(InputError, match="serving.users: found 2; allowed: 4"):
        write_report(part)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(-1e3, 1e6)), min_size=1, max_size=4))
def test_any_measured_values_can_be_drawn(pairs):
    points = [
        Agreement(0, "edge", 1, Comparison(predicted=x, measured=y, low=0.9 * x, high=1.1 * x))
        for x, y in pairs
    ]
    assert agreement_plot(points, "s").startswith("data:image/svg+xml")
