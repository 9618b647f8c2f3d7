"""Frozen dataclasses from and to JSON, checked by their own annotations.

A class that travels between modules or into a file derives from :class:`Schema`. Its annotations
say what each field holds, and :func:`limits` adds what an annotation cannot say::

    @dataclass(frozen=True)
    class TimePoint(Schema):
        steps: int = limits(least=1)
        median: float = limits(above=0)

``from_dict`` is the one place where a value that comes from a file is checked.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from calibration.checks import need, number, table, whole
from solver.inputs import InputError, check_keys

T = TypeVar("T")
_LIMITS = "limits"


def limits(
    *,
    least: float | None = None,
    above: float | None = None,
    shape: tuple[int, ...] | None = None,
    choices: tuple[str, ...] | None = None,
    empty: bool = True,
    omit_none: bool = False,
    key: str | None = None,
    default: Any = MISSING,
) -> Any:
    """A dataclass field with limits on its value.

    ``least``, ``above``: of each number in it; ``shape``: of nested lists of numbers; ``choices``:
    of each string; ``empty`` False: a list or table needs at least one entry. ``omit_none``: None
    is left out of the JSON. ``key``: the JSON key, where it is not the field's name.
    """
    metadata = {
        _LIMITS: _Limits(least, above, shape, choices, empty, omit_none, key),
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class _Limits:
    least: float | None = None
    above: float | None = None
    shape: tuple[int, ...] | None = None
    choices: tuple[str, ...] | None = None
    empty: bool = True
    omit_none: bool = False
    key: str | None = None


_NO_LIMITS = _Limits()


@dataclasses.dataclass(frozen=True)
class _Field:
    name: str
    key: str
    hint: Any
    limits: _Limits
    required: bool


@cache
def _fields(cls: type) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    fields = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        limit = field.metadata.get(_LIMITS, _NO_LIMITS)
        required = field.default is MISSING and field.default_factory is MISSING
        fields.append(
            _Field(field.name, limit.key or field.name, hints[field.name], limit, required)
        )
    return tuple(fields)


class Schema:
    """Base of a frozen dataclass that JSON can hold; see the module's head.

    ``SCHEMA``: the name and version of a file format, written and checked as its ``schema`` key.
    """

    SCHEMA: ClassVar[str | None] = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object: plain dicts, lists, numbers and strings."""
        values: dict[str, Any] = {} if self.SCHEMA is None else {"schema": self.SCHEMA}
        for field in _fields(type(self)):
            value = getattr(self, field.name)
            if value is not None or not field.limits.omit_none:
                values[field.key] = plain(value)
        return values

    @classmethod
    def from_dict(cls, values: object, where: str | None = None) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises :class:`InputError`, a line that begins with ``where``, for a missing, unknown or
        wrong field.
        """
        return _read(cls, values, where or cls.__name__, ": ")


def plain(value: Any) -> Any:
    """``value`` with dataclasses as dicts and tuples as lists, as JSON gives it back."""
    if isinstance(value, Schema):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _read(cls: type[T], values: object, where: str, joint: str) -> T:
    read = dict(table(where, values))
    schema = getattr(cls, "SCHEMA", None)
    if schema is not None:
        named = read.pop("schema", None)
        if named != schema:
            raise InputError(f"{where}: schema: found {named!r}; allowed: '{schema}'")
    fields = _fields(cls)
    check_keys(where, read, [field.key for field in fields])
    need(where, read, [field.key for field in fields if field.required])
    arguments = {
        field.name: _value(field.hint, read[field.key], f"{where}{joint}{field.key}", field.limits)
        for field in fields
        if field.key in read
    }
    try:
        return cls(**arguments)
    except InputError as error:
        raise InputError(f"{where}{joint}{error}") from None


def _value(hint: Any, value: Any, where: str, limit: _Limits) -> Any:
    """``value`` checked and converted to what ``hint`` names."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(hint, value, where, limit)
    if origin is tuple:
        return _list(hint, value, where, limit)
    if origin in (dict, Mapping):
        content = typing.get_args(hint)[1]
        items = table(where, value).items()
        if not items and not limit.empty:
            raise InputError(f"{where}: found none; allowed: at least one")
        return {key: _value(content, item, f"{where}.{key}", limit) for key, item in items}
    if isinstance(hint, type) and issubclass(hint, Schema):
        return _read(hint, value, where, ".")
    if hint is bool:
        if not isinstance(value, bool):
            raise InputError(f"{where}: found {value!r}; allowed: true or false")
        return value
    if hint is int:
        least = -math.inf if limit.least is None else limit.least
        whole(where, value, least)
        return value
    if hint is float:
        number(where, value, limit.least, limit.above)
        return float(value)
    if hint is str:
        if not isinstance(value, str) or (limit.choices and value not in limit.choices):
            allowed = ", ".join(limit.choices) if limit.choices else "a string"
            raise InputError(f"{where}: found {value!r}; allowed: {allowed}")
        return value
    return value


def _union(hint: Any, value: Any, where: str, limit: _Limits) -> Any:
    arms = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
    if value is None and len(arms) < len(typing.get_args(hint)):
        return None
    for arm in arms[:-1]:
        try:
            return _value(arm, value, where, limit)
        except InputError:
            continue
    return _value(arms[-1], value, where, limit)


def _list(hint: Any, value: Any, where: str, limit: _Limits) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or not (value or limit.empty):
        allowed = "a list" if limit.empty else "a list of at least one"
        raise InputError(f"{where}: found {value!r}; allowed: {allowed}")
    inner = dataclasses.replace(limit, shape=None)
    if limit.shape:
        if len(value) != limit.shape[0]:
            raise InputError(f"{where}: found {value!r}; allowed: {limit.shape[0]} entries")
        inner = dataclasses.replace(limit, shape=limit.shape[1:] or None)
    content, *rest = typing.get_args(hint)
    contents = [content] * len(value) if rest in ([Ellipsis], []) else [content, *rest]
    if len(contents) != len(value):
        raise InputError(f"{where}: found {value!r}; allowed: {len(contents)} entries")
    return tuple(
        _value(kind, item, f"{where}[{index}]", inner)
        for index, (kind, item) in enumerate(zip(contents, value, strict=True))
    )
