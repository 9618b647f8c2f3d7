"""Comparisons of a prediction with what was measured, and what their JSON leaves out."""

import pytest

from calibration.comparison import Comparison, Total


def test_errors_and_interval_follow_from_the_numbers():
    comparison = Comparison.of(12.0, 10.0, 3.0, paper=5.0, basis="measured")
    assert (comparison.low, comparison.high, comparison.inside) == (9.0, 15.0, True)
    assert comparison.relative_error == pytest.approx(0.2)
    assert comparison.paper_relative_error == pytest.approx(-0.5)
    assert not Comparison.of(12.0, 10.0, 1.0).inside
    assert Comparison.of(1.0, 0.5, 3.0, least=0.0).low == 0.0
    assert Comparison.of(-12.0, -10.0, 3.0).relative_error == pytest.approx(-0.2)


def test_half_is_that_of_the_longer_side():
    assert Comparison.of(12.0, 10.0, 3.0).half == pytest.approx(3.0)
    assert Comparison.of(1.0, 0.5, 3.0, least=0.0).half == pytest.approx(3.0)
    assert Comparison.of(1.0, 0.5, None).half is None


def test_what_is_not_known_is_none():
    unmeasured = Comparison.of(12.0, None, 3.0, paper=5.0)
    assert unmeasured.inside is None and unmeasured.relative_error is None
    assert unmeasured.paper_relative_error is None
    assert Comparison.of(12.0, 10.0, None).inside is None
    assert Comparison.of(12.0, 0.0, 3.0, paper=5.0).relative_error is None


def test_json_holds_no_paper_where_it_predicts_nothing():
    total = Total.of(12.0, 10.0, 3.0, quantity="Fréchet distance", unit="", note="few images")
    values = total.to_dict()
    assert not {"paper", "paper_relative_error", "basis"} & values.keys()
    assert Total.from_dict(values) == total
    assert Comparison.of(12.0, None, 3.0, paper=5.0).to_dict()["paper_relative_error"] is None
