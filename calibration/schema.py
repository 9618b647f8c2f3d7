"""Frozen dataclasses from and to JSON, checked by their own annotations.

A class that travels between modules or into a file derives from :class:`Schema`. Its annotations
say what each field holds, and :func:`limits` adds what an annotation cannot say::

    @frozen
    class TimePoint(Schema):
        steps: int = limits(least=1)
        median: float = limits(above=0)

``from_dict`` is the one place where a value that comes from a file is checked. Annotations may be
``bool``, ``int``, ``float``, ``str``, another Schema, tuples, ``dict[str, ...]`` or ``Mapping``,
unions of them and None, and ``Any``, which is whatever JSON can hold.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, ClassVar, Self, TypeVar

from calibration.fault import Fault
from calibration.readers import LIMITS, Limits, layout, read_object
from solver.inputs import InputError

T = TypeVar("T")


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
    of each string; ``empty`` False: a string, list or table must hold something. ``omit_none``:
    None is left out of the JSON. ``key``: the JSON key, where it is not the field's name.
    """
    limit = Limits(least, above, shape, choices, empty, omit_none, key)
    return dataclasses.field(default=default, metadata={LIMITS: limit})


@typing.dataclass_transform(frozen_default=True, field_specifiers=(limits, dataclasses.field))
def frozen(cls: type[T]) -> type[T]:
    """A frozen dataclass whose fields may have :func:`limits`."""
    return dataclasses.dataclass(frozen=True)(cls)


class Schema:
    """Base of a frozen dataclass that JSON can hold; see the module's head.

    ``SCHEMA``: the name and version of a file format, written and checked as its ``schema`` key.
    """

    SCHEMA: ClassVar[str | None] = None
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # for type checkers

    def to_dict(self) -> dict[str, Any]:
        """The JSON object: plain dicts, lists, numbers and strings."""
        values: dict[str, Any] = {} if self.SCHEMA is None else {"schema": self.SCHEMA}
        for field in layout(type(self)).fields:
            value = getattr(self, field.name)
            if value is not None or not field.omit_none:
                values[field.key] = plain(value)
        return values

    @classmethod
    def from_dict(cls, values: object, where: str | None = None) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises :class:`InputError`, one line that begins with ``where`` and names the field, for a
        missing, unknown or wrong one.
        """
        try:
            return read_object(cls, values)
        except Fault as fault:
            raise InputError(fault.message(where or cls.__name__)) from None

    def check(self, where: str) -> None:
        """Raise :class:`InputError` for a field whose value ``from_dict`` would refuse."""
        for field in layout(type(self)).fields:
            try:
                field.read(getattr(self, field.name))
            except Fault as fault:
                raise InputError(fault.under(f".{field.name}").message(where)) from None


def plain(value: Any) -> Any:
    """``value`` with dataclasses as dicts and tuples as lists, as JSON gives it back."""
    if value is None or isinstance(value, (float, str, int)):
        return value
    if isinstance(value, Schema):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
