"""Readers of JSON values: a dataclass's annotations, turned into functions that check and convert.

:mod:`calibration.schema` is the interface.
"""

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from itertools import repeat
from typing import Any, Self

from calibration.checks import (
    LARGEST_INT,
    is_number,
    is_whole,
    number_allowed,
    shown,
    whole_allowed,
)
from solver.inputs import InputError, check_keys

#: Checks a value and converts it; raises :class:`Fault`.
Reader = Callable[[Any], Any]
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


class Fault(Exception):
    """A value is refused: ``text`` and ``allowed`` say why, ``path`` where. It gains its path on
    the way up, so that what is accepted pays for none.
    """

    def __init__(self, text: str, allowed: str = "") -> None:
        super().__init__(text)
        self.text, self.allowed, self.path, self.depth = text, allowed, "", 0

    def under(self, step: str) -> Self:
        """The same, seen from the list or table that holds the value at ``step``."""
        self.path, self.depth = step + self.path, self.depth + 1
        return self

    def message(self, where: str) -> str:
        """One line that begins with ``where``."""
        parts = [where, self.path.removeprefix("."), self.text]
        text = ": ".join(part for part in parts if part)
        return f"{text}; allowed: {self.allowed}" if self.allowed else text


def _found(value: Any, allowed: str) -> Fault:
    return Fault(f"found {shown(value)}", allowed)


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
        raise _found(values, "a table")
    if (expected := getattr(cls, "SCHEMA", None)) is not None:
        if (schema := values.get("schema")) != expected:
            raise _found(schema, f"'{expected}'").under(".schema")
        values = {key: value for key, value in values.items() if key != "schema"}
    of = layout(cls)
    if not values.keys() <= of.keys:
        try:
            check_keys("", values, [field.key for field in of.fields])
        except InputError as error:
            raise Fault(str(error).removeprefix(": ")) from None
    if not values.keys() >= of.required:
        missing = next(f.key for f in of.fields if f.required and f.key not in values)
        raise Fault(f"'{missing}' is missing")
    arguments, key = {}, ""
    try:
        for field in of.fields:
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
            raise _found(value, "true or false")
        return value

    return read


def _int(limit: Limits) -> Reader:
    least = -math.inf if limit.least is None else limit.least

    def read(value: Any) -> int:
        if not is_whole(value) or not least <= value <= LARGEST_INT or value < -LARGEST_INT:
            raise _found(value, whole_allowed(least, value))
        return value

    return read


def _float(limit: Limits) -> Reader:
    least, above = limit.least, limit.above
    low = -sys.float_info.max if least is None else least

    def read(value: Any) -> float:
        if type(value) is float and low <= value < math.inf and above is None:
            return value  # nearly every value: a quick way for them
        if not is_number(value) or value < low or (above is not None and value <= above):
            raise _found(value, number_allowed(least, above))
        return float(value)

    return read


def _str(limit: Limits) -> Reader:
    allowed = ", ".join(limit.choices or ()) or (
        "a string" if limit.empty else "a non-empty string"
    )

    def read(value: Any) -> str:
        good = isinstance(value, str) and (value or limit.empty)
        if not good or (limit.choices is not None and value not in limit.choices):
            raise _found(value, allowed)
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
            raise _found(value, allowed)
        items: list[Any] = []
        try:
            for item, read_item in zip(value, fixed or repeat(each)):
                items.append(read_item(item))
        except Fault as fault:
            raise fault.under(f"[{len(items)}]") from None
        return tuple(items)

    return read


def _table(content: Reader, limit: Limits) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _found(value, "a table")
        if not value and not limit.empty:
            raise Fault("found none", "at least one")
        items: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _found(key, "a string as a name")
            try:
                items[key] = content(item)
            except Fault as fault:
                raise fault.under(f".{_name(key)}") from None
        return items

    return read


def _name(key: str) -> str:
    """A key of a file, as part of a path in a message."""
    return key if key.isprintable() and len(key) <= 60 else shown(key)


def _anything(value: Any) -> Any:
    """Whatever JSON can hold."""
    if value is None or isinstance(value, (str, bool)) or is_number(value):
        return value
    if isinstance(value, Mapping):
        return _ANY_TABLE(value)
    if isinstance(value, (list, tuple)):
        return list(_ANY_LIST(value))
    raise _found(value, "a string, finite number, true, false, null, list or table")


_ANY_TABLE = _table(_anything, Limits())
_ANY_LIST = _tuple((Any, ...), Limits())
