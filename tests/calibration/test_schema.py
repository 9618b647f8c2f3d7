"""Dataclasses from and to JSON: every kind of annotation, and one line for whatever is wrong."""

import importlib
import json
import math
import pkgutil
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calibration
from calibration.readers import layout
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError
from tests.calibration.mutations import json_values, mutations, read_or_refused


@frozen
class Inner(Schema):
    name: str = limits(choices=("a", "b"))
    size: int = limits(least=1, key="n")
    note: str | None = limits(omit_none=True, default=None)


@frozen
class Table(Schema):
    steps: tuple[int, ...]
    values: tuple[float, ...]


@frozen
class Outer(Schema):
    SCHEMA: ClassVar[str] = "outer/1"

    flag: bool
    count: int
    number: float = limits(above=0)
    text: str = limits(empty=False)
    inner: Inner
    inners: tuple[Inner, ...] = limits(empty=False)
    pair: tuple[int, str]
    matrix: tuple[tuple[float, ...], ...] = limits(shape=(2, 2))
    either: Table | dict[str, float]
    nested: tuple[Inner | int, ...] | dict[str, tuple[float | str, ...]] | None
    amount: int | float
    bounded: dict[str, float] = limits(least=0, empty=False)
    optional: float | None = limits(least=0, default=None)
    anything: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.count == 13:
            raise InputError("count: found 13; allowed: luckier numbers")


VALID = {
    "schema": "outer/1",
    "flag": True,
    "count": -3,
    "number": 2.5,
    "text": "x",
    "inner": {"name": "a", "n": 1},
    "inners": [{"name": "b", "n": 2, "note": "y"}],
    "pair": [1, "one"],
    "matrix": [[1.0, 0.0], [0.0, 1.0]],
    "either": {"scale": 1.0, "decay": 0.5},
    "nested": [{"name": "a", "n": 4}, 7],
    "amount": 3,
    "bounded": {"a": 0.0},
    "optional": None,
    "anything": {"list": [1, "two", None, {"deep": [True]}]},
}


def test_what_is_written_is_what_was_read():
    outer = Outer.from_dict(VALID)
    assert outer.inner == Inner("a", 1) and outer.matrix == ((1.0, 0.0), (0.0, 1.0))
    assert outer.nested == (Inner("a", 4), 7) and outer.either == {"scale": 1.0, "decay": 0.5}
    assert outer.to_dict() == VALID and Outer.from_dict(outer.to_dict()) == outer
    assert json.loads(json.dumps(outer.to_dict(), allow_nan=False)) == VALID
    with pytest.raises(FrozenInstanceError):
        outer.count = 4


def test_numbers_are_of_the_kind_that_is_annotated():
    read = Outer.from_dict({**VALID, "number": 2, "amount": 2.5, "optional": 1})
    assert [type(value) for value in (read.number, read.amount, read.optional)] == [float] * 3
    assert type(Outer.from_dict(VALID).amount) is int


@pytest.mark.parametrize(
    "either, kind",
    [({"steps": [1], "values": [0.5]}, Table), ({}, dict), ({"steps": 1.0}, dict)],
)
def test_the_first_kind_that_fits_is_taken(either, kind):
    assert isinstance(Outer.from_dict({**VALID, "either": either}).either, kind)


WRONG = [
    ("schema", "outer/2", "schema: found 'outer/2'; allowed: 'outer/1'"),
    ("flag", 1, "flag: found 1; allowed: true or false"),
    ("count", True, "count: found True; allowed: a whole number"),
    ("count", 2.0, "count: found 2.0; allowed: a whole number"),
    ("count", 2**63, "count: found 9223372036854775808; allowed: a whole number that fits 64 bits"),
    ("count", 10**5000, "count: found a int; allowed: a whole number that fits 64 bits"),
    ("count", 13, "count: found 13; allowed: luckier numbers"),
    ("number", 0, "number: found 0; allowed: a number above 0"),
    ("number", math.nan, "number: found nan; allowed: a number above 0"),
    ("number", 10**400, "number: found 1000"),
    ("text", "", "text: found ''; allowed: a non-empty string"),
    ("text", None, "text: found None; allowed: a non-empty string"),
    ("inner", [], "inner: found []; allowed: a table"),
    ("inner", {"name": "a"}, "inner: 'n' is missing"),
    ("inner", {"name": "c", "n": 1}, "inner.name: found 'c'; allowed: a, b"),
    ("inner", {"name": ["a"], "n": 1}, "inner.name: found ['a']; allowed: a, b"),
    ("inner", {"name": "a", "n": 0}, "inner.n: found 0; allowed: a whole number of at least 1"),
    (
        "inner",
        {"name": "a", "n": 1, "nota": ""},
        "inner: 'nota' is unknown; perhaps you meant 'note'; allowed: name, n, note",
    ),
    (
        "inner",
        {"name": "a", "n": 1, "note": 2},
        "inner.note: found 2; allowed: null or a string",
    ),
    ("inners", [], "inners: found []; allowed: a list of at least one"),
    ("inners", [{"name": "a", "n": 1}, 2], "inners[1]: found 2; allowed: a table"),
    ("pair", [1], "pair: found [1]; allowed: a list of 2"),
    ("pair", [1, 2], "pair[1]: found 2; allowed: a string"),
    ("matrix", [[1, 2], [3]], "matrix[1]: found [3]; allowed: a list of 2"),
    ("matrix", [[1, 2], [3, "4"]], "matrix[1][1]: found '4'; allowed: a finite number"),
    ("either", {"steps": [1], "values": ["x"]}, "either.values[0]: found 'x'; allowed: a finite"),
    ("either", {"scale": "x"}, "either.scale: found 'x'; allowed: a finite number"),
    ("nested", [{"name": "a", "n": 0}], "nested[0].n: found 0; allowed: a whole number of at"),
    ("nested", {"k": [None]}, "nested.k[0]: found None; allowed: a string"),
    ("nested", 5, "nested: found 5; allowed: null or a table"),
    ("bounded", {}, "bounded: found none; allowed: at least one"),
    ("bounded", {"a": -1}, "bounded.a: found -1; allowed: a number of at least 0"),
    ("bounded", {3: 1}, "bounded: found 3; allowed: names that are strings"),
    ("optional", -1, "optional: found -1; allowed: null or a number of at least 0"),
    ("anything", {"a": [{"b": math.inf}]}, "anything.a[0].b: found inf; allowed: a string, finite"),
    ("anything", {"a": b"x"}, "anything.a: found b'x'; allowed: a string, finite number"),
    ("anything", {1: 2}, "anything: found 1; allowed: names that are strings"),
    ("zzz", 1, "'zzz' is unknown; allowed: flag, count"),
    ("txt", 1, "'txt' is unknown; perhaps you meant 'text'; allowed: flag, count"),
]


@pytest.mark.parametrize("key, value, message", WRONG, ids=[row[2][:30] for row in WRONG])
def test_what_is_wrong_is_said_in_a_line(key, value, message):
    with pytest.raises(InputError) as raised:
        Outer.from_dict({**VALID, key: value}, "f.json")
    assert str(raised.value).startswith(f"f.json: {message}")


@pytest.mark.parametrize("values", [None, [], "x", 1, [VALID]])
def test_what_is_no_table_is_refused(values):
    with pytest.raises(InputError, match="^Outer: found .*; allowed: a table$"):
        Outer.from_dict(values)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


HUGE = "x" * 10_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"text": [HUGE]},
        {"inner": HUGE},
        {"inners": [{"name": HUGE, "n": 1}]},
        {"count": list(range(10**6))},
        {HUGE: 1},
        {"bounded": {HUGE: "y"}},
        {"bounded": {"line\nbreak\x00" * 9: "y"}},
        {"anything": {HUGE: {HUGE: math.nan}}},
        {"anything": {"a": nested(60)}},
        {"anything": {"a": nested(100_000)}},
        {"count": nested(100_000)},
        {10**5000: 1},
    ],
)
def test_a_message_stays_a_short_line_whatever_was_found(change):
    with pytest.raises(InputError) as raised:
        Outer.from_dict({**VALID, **change}, "f.json")
    message = str(raised.value)
    assert message.startswith("f.json: ") and message.isprintable() and len(message) < 600


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_file_is_read_or_refused_in_a_line(data):
    read_or_refused(Outer.from_dict, data.draw(mutations(VALID)))


@settings(max_examples=80, deadline=None)
@given(json_values)
def test_any_value_is_read_or_refused(value):
    read_or_refused(Outer.from_dict, value)


def test_an_instance_can_be_checked():
    Inner("a", 1).check("x")
    with pytest.raises(InputError, match="^x: size: found 0; allowed: a whole number of at least"):
        Inner("a", 0).check("x")


def test_annotations_that_json_cannot_hold_are_errors_of_the_program():
    @frozen
    class Wrong(Schema):
        values: list[int]

    with pytest.raises(TypeError, match="no reader"):
        Wrong.from_dict({"values": [1]})


def test_every_class_of_the_package_can_be_read():
    for module in pkgutil.walk_packages(calibration.__path__, "calibration."):
        importlib.import_module(module.name)
    classes = [Schema]
    for cls in classes:  # which grows
        classes += cls.__subclasses__()
    ours = [cls for cls in classes[1:] if cls.__module__.startswith("calibration.")]
    assert len(ours) > 20
    for cls in ours:
        layout(cls)
