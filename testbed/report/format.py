"""How the report writes values: numbers with units, *not measured* where there is none, tables, and
a configuration as TOML.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any, TypeGuard
from zlib import crc32

from markupsafe import Markup, escape

#: What a cell of a table holds; None: not measured.
Cell = str | float | None

ABSENT = Markup('<span class="absent">not measured</span>')
SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Table:
    """The numbers behind a plot: rows of cells by column.

    ``rows`` is all that is drawn and goes into the CSV file ``name``; ``shown`` are the rows that
    the page lists.
    """

    name: str
    rows: Sequence[Mapping[str, Cell]]
    shown: Sequence[Mapping[str, Cell]]


def file_name(*words: str) -> str:
    """A file's name made of words that may hold anything.

    Dashes stand for what is not a letter or digit, and a checksum keeps different words apart.
    """
    plain = [re.sub(r"[^A-Za-z0-9_]+", "-", word)[:40] for word in words]
    if plain == list(words):
        return "-".join(plain)
    return "-".join([*plain, f"{crc32(' '.join(words).encode('utf-8', 'surrogatepass')):08x}"])


def is_finite(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def number(value: object, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; *not measured* where there is none, never 0."""
    if not is_finite(value):
        return ABSENT
    if value == 0 or isinstance(value, int):
        return _minus(int(value))
    power = floor(log10(abs(value)))
    if -4 <= power < 7:
        return _minus(f"{value:.{max(digits - 1 - power, 0)}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return Markup("{}×10<sup>{}</sup>").format(_minus(mantissa), _minus(int(exponent)))


def quantity(value: object, unit: str, digits: int = 3) -> str:
    """A number with its ``unit``, ``""`` or ``"1"`` for none.

    Below 0.1 s or 0.1 J it is in thousandths, from 10 kJ in kJ.
    """
    if not is_finite(value) or unit in ("", "1"):
        return number(value, digits)
    if unit in ("s", "J") and 0 < abs(value) < 0.1:
        value, unit = 1000.0 * value, f"m{unit}"
    elif unit == "J" and abs(value) >= 1e4:
        value, unit = value / 1000.0, "kJ"
    return Markup("{}{}{}").format(number(value, digits), SPACE, escape(unit))


def percent(value: object, signed: bool = False) -> str:
    """A share or a relative error as a percentage: 0.0312 -> 3.1 %."""
    if not is_finite(value):
        return ABSENT
    value = 100.0 * value
    digits, sign = (1 if abs(value) < 9.95 else 0), ("+" if signed else "")
    return f"{_minus(f'{value:{sign}.{digits}f}')}{SPACE}%"


def toml(config: Mapping[str, Any]) -> str:
    """A run's configuration (nested tables of JSON values) as a TOML file for ``testbed run``.

    ``schema`` and values that are None are left out: the reader has the same defaults.
    """
    given = {key: value for key, value in config.items() if key != "schema" and value is not None}
    lines = _lines({key: value for key, value in given.items() if not isinstance(value, dict)})
    for section, values in given.items():
        if isinstance(values, dict):
            lines += ["", f"[{_key(section)}]", *_lines(values)]
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_inline(value)}" for key, value in values.items() if value is not None]


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_lines(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    # TOML's basic strings are JSON's, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _inline(key)


def _minus(value: object) -> str:
    return str(value).replace("-", "−")
