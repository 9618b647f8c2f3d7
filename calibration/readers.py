"""Readers of JSON values: a dataclass's annotations, turned into functions that check and convert.

:mod:`calibration.schema` is the interface.
"""

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from functools import partial
from itertools import repeat
from typing import Any

from calibration.checks import (
    LARGEST_INT,
    is_number,
    is_whole,
    number_allowed,
    whole_allowed,
)
from calibration.fault import Fault
from solver.inputs import InputError, check_keys

#: Checks a value and converts it; raises :class:`Fault`.
Reader = Callable[[Any], Any]
_DEEPEST = 50  # lists and tables in each other, where anything may stand
#: The key of a field's :class:`Limits` in its metadata.
LIMITS = "limits"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What :func:`calibration.schema.limits` says of a field."""

    least: float | None = None
    above: float | None = None
    shape: tuple[int, ...] | None = None
    choices: tuple[str, ...] | None = None
    empty: bool = True
    omit_none: bool = False
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a dataclass: its ``key`` in JSON, and the reader of its value."""

    name: str
    key: str
    omit_none: bool
    required: bool
    read: Reader


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a class's annotations say, worked out once."""

    fields: tuple[Field, ...]
    keys: frozenset[str]
    required: frozenset[str]


_LAYOUTS: dict[type, Layout] = {}


def layout(cls: type) -> Layout:
    """The :class:`Layout` of a dataclass."""
    if cls not in _LAYOUTS:
        hints = typing.get_type_hints(cls)
        fields = []
        for field in dataclasses.fields(cls):
            limit = field.metadata.get(LIMITS, Limits())
            required = field.default is MISSING and field.default_factory is MISSING
            read = _reader(hints[field.name], limit)
            key = limit.key or field.name
            fields.append(Field(field.name, key, limit.omit_none, required, read))
        keys = frozenset(field.key for field in fields)
        needed = frozenset(field.key for field in fields if field.required)
        _LAYOUTS[cls] = Layout(tuple(fields), keys, needed)
    return _LAYOUTS[cls]


def read_object(cls: type[Any], values: Any) -> Any:
    """An instance of ``cls`` from a JSON object (or one that is an instance already)."""
    if isinstance(values, cls):
        return values
    if not isinstance(values, dict):
        raise Fault.of(values, "a table")
    if (expected := getattr(cls, "SCHEMA", None)) is not None:
        if (schema := values.get("schema")) != expected:
            raise Fault.of(schema, f"'{expected}'").under(".schema")
        values = {key: value for key, value in values.items() if key != "schema"}
    shape = layout(cls)
    if not values.keys() <= shape.keys:
        _check_names(values)
        try:
            check_keys("", values, [field.key for field in shape.fields])
        except InputError as error:
            raise Fault(str(error).removeprefix(": ")) from None
    if not values.keys() >= shape.required:
        missing = next(f.key for f in shape.fields if f.required and f.key not in values)
        raise Fault(f"'{missing}' is missing")
    arguments, key = {}, ""
    try:
        for field in shape.fields:
            key = field.key
            if key in values:
                arguments[field.name] = field.read(values[key])
    except Fault as fault:
        raise fault.under(f".{key}") from None
    try:
        return cls(**arguments)
    except InputError as error:  # "field: what is wrong with it"
        spot, colon, text = str(error).partition(": ")
        raise (Fault(text).under(f".{spot}") if colon else Fault(spot)) from None


def _reader(hint: Any, limit: Limits) -> Reader:
    """The reader of what ``hint`` names."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, limit)
    if origin is tuple:
        return _tuple(arguments, limit)
    if origin in (dict, Mapping) and arguments[0] is str:
        return _table(_reader(arguments[1], dataclasses.replace(limit, empty=True)), limit)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return lambda value: read_object(hint, value)
    if hint is Any:
        return _anything
    if hint in _SCALARS:
        return _SCALARS[hint](limit)
    raise TypeError(f"schema: no reader of {hint}")


def _bool(limit: Limits) -> Reader:
    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise Fault.of(value, "true or false")
        return value

    return read


def _int(limit: Limits) -> Reader:
    least = -math.inf if limit.least is None else limit.least

    def read(value: Any) -> int:
        if not is_whole(value) or not least <= value <= LARGEST_INT or value < -LARGEST_INT:
            raise Fault.of(value, whole_allowed(least, value))
        return value

    return read


def _float(limit: Limits) -> Reader:
    least, above = limit.least, limit.above
    low = -sys.float_info.max if least is None else least

    def read(value: Any) -> float:
        if type(value) is float and low <= value < math.inf and above is None:
            return value  # nearly every value: a quick way for them
        if not is_number(value) or value < low or (above is not None and value <= above):
            raise Fault.of(value, number_allowed(least, above))
        return float(value)

    return read


def _str(limit: Limits) -> Reader:
    allowed = ", ".join(limit.choices or ()) or (
        "a string" if limit.empty else "a non-empty string"
    )

    def read(value: Any) -> str:
        good = isinstance(value, str) and (value or limit.empty)
        if not good or (limit.choices is not None and value not in limit.choices):
            raise Fault.of(value, allowed)
        return value

    return read


_SCALARS: dict[Any, Callable[[Limits], Reader]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
}


def _union(arms: tuple[Any, ...], limit: Limits) -> Reader:
    """The first arm that takes the value; if none does, the arm that came furthest says why."""
    nullable = types.NoneType in arms
    readers = [_reader(arm, limit) for arm in arms if arm is not types.NoneType]

    def read(value: Any) -> Any:
        if value is None and nullable:
            return None
        worst: Fault | None = None
        for reader in readers:
            try:
                return reader(value)
            except Fault as fault:
                if worst is None or fault.depth >= worst.depth:
                    worst = fault
        assert worst is not None
        if nullable and worst.allowed and not worst.depth:
            worst.allowed = f"null or {worst.allowed}"
        raise worst

    return read


def _tuple(arguments: tuple[Any, ...], limit: Limits) -> Reader:
    shape = limit.shape or (None,)
    inner = dataclasses.replace(limit, empty=True, shape=shape[1:] or None)
    fixed = None if arguments[-1] is Ellipsis else [_reader(kind, inner) for kind in arguments]
    each = _reader(arguments[0], inner)
    size = shape[0] if fixed is None else len(fixed)
    if size is None:
        allowed = "a list" if limit.empty else "a list of at least one"
    else:
        allowed = f"a list of {size}"

    def read(value: Any) -> tuple[Any, ...]:
        good = isinstance(value, (list, tuple)) and (value or limit.empty)
        if not good or (size is not None and len(value) != size):
            raise Fault.of(value, allowed)
        return _items(value, fixed or repeat(each))

    return read


def _items(values: Iterable[Any], readers: Iterable[Reader]) -> tuple[Any, ...]:
    items: list[Any] = []
    try:
        for item, read_item in zip(values, readers):
            items.append(read_item(item))
    except Fault as fault:
        raise fault.under(f"[{len(items)}]") from None
    return tuple(items)


def _table(content: Reader, limit: Limits) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Fault.of(value, "a table")
        if not value and not limit.empty:
            raise Fault("found none", "at least one")
        items: dict[str, Any] = {}
        _check_names(value)
        for key, item in value.items():
            try:
                items[key] = content(item)
            except Fault as fault:
                raise fault.under(f".{key}") from None
        return items

    return read


def _check_names(values: Mapping[Any, Any]) -> None:
    for key in values:
        if not isinstance(key, str):
            raise Fault.of(key, "names that are strings")


def _anything(value: Any, depth: int = 0) -> Any:
    """Whatever JSON can hold, with lists for tuples."""
    if value is None or isinstance(value, (str, bool)) or is_number(value):
        return value
    if not isinstance(value, (Mapping, list, tuple)):
        raise Fault.of(value, "a string, finite number, true, false, null, list or table")
    if depth == _DEEPEST:
        raise Fault(f"found more than {_DEEPEST} lists or tables in each other")
    inner = partial(_anything, depth=depth + 1)
    if isinstance(value, Mapping):
        return _table(inner, Limits())(value)
    return list(_items(value, repeat(inner)))
