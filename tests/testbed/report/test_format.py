"""How the report writes numbers, configurations and pictures."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testbed.report import plots
from testbed.report.format import ABSENT, number, percent, quantity, toml


def test_numbers_carry_units_and_sensible_digits():
    assert [number(value) for value in (0.12345, 123.45, 1234.5, -0.5, 0.0, 7)] == [
        "0.123",
        "123",
        "1234",
        "−0.500",
        "0",
        "7",
    ]
    assert number(1.23456e-7) == "1.23×10<sup>−7</sup>"
    assert [number(value) for value in (None, float("nan"), float("inf"), True, "3")] == [
        ABSENT
    ] * 5
    assert (
        quantity(0.04712, "s") == "47.1\u00a0ms"
        and quantity(2.5, "s") == "2.50\u00a0s"
        and quantity(51200.0, "J") == "51.2\u00a0kJ"
    )
    assert quantity(1.0, "<b>") == "1.00\u00a0&lt;b&gt;" and quantity(None, "s") == ABSENT
    assert [percent(0.0312), percent(-0.268, signed=True), percent(0.01, signed=True)] == [
        "3.1\u00a0%",
        "−27\u00a0%",
        "+1.0\u00a0%",
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text('abc-_.ü "', min_size=1, max_size=6), values, max_size=4))
def test_the_configuration_survives_as_toml(config):
    assert tomllib.loads(toml({"schema": "run/1", **config, "revision": None})) == config


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(-1e3, 1e6)), min_size=1, max_size=4))
def test_any_measured_values_can_be_drawn(pairs):
    points = [
        {"place": "edge", "predicted": x, "measured": y, "low": 0.9 * x, "high": 1.1 * x}
        for x, y in pairs
    ]
    assert plots.agreement_panel(points, "s").startswith("data:image/svg+xml")


def test_large_pictures_are_reduced(tmp_path):
    Image.effect_noise((1024, 512), 80).convert("RGB").save(tmp_path / "large.png")
    shot = plots.picture_uri(tmp_path / "large.png")
    assert (shot["width"], shot["height"], shot["small"]) == (320, 160, False) and len(
        shot["uri"]
    ) < 100_000
