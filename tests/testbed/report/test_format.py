"""How the report writes numbers, configurations and names of files."""

import string
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from testbed.report.format import ABSENT, file_name, number, percent, quantity, toml


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


def test_names_of_files_are_plain_and_never_clash():
    words = ("a b", "a-b", "a/b", "../a", "日本", "ü", "", "x" * 300, "a_b")
    names = [file_name("curve", word) for word in words]
    assert len(set(names)) == len(names)
    plain = set(string.ascii_letters + string.digits + "-_")
    assert all(set(name) <= plain and len(name) < 80 for name in names)
