"""How the report writes values: numbers with units, *not measured* where there is none, a
configuration as TOML.
"""

import json
import re
from math import floor, isfinite, log10

from markupsafe import Markup, escape

ABSENT = Markup('<span class="absent">not measured</span>')
SPACE = "\N{NO-BREAK SPACE}"


def finite(value):
    """The value if it is a finite number, else None."""
    return (
        value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
        else None
    )


def number(value, digits=3):
    """A number with ``digits`` significant digits; *not measured* where there is none, never 0."""
    if finite(value) is None:
        return ABSENT
    if value == 0 or isinstance(value, int):
        return _minus(int(value))
    power = floor(log10(abs(value)))
    if -4 <= power < 7:
        return _minus(f"{value:.{max(digits - 1 - power, 0)}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return Markup("{}×10<sup>{}</sup>").format(_minus(mantissa), _minus(int(exponent)))


def quantity(value, unit, digits=3):
    """A number with its unit, ``""`` or ``"1"`` for none: below 0.1 s or 0.1 J in thousandths, from
    10 kJ in kJ.
    """
    if finite(value) is None or unit in ("", "1"):
        return number(value, digits)
    if unit in ("s", "J") and 0 < abs(value) < 0.1:
        value, unit = 1000.0 * value, f"m{unit}"
    elif unit == "J" and abs(value) >= 1e4:
        value, unit = value / 1000.0, "kJ"
    return Markup("{}{}{}").format(number(value, digits), SPACE, escape(unit))


def percent(value, signed=False):
    """A share or a relative error as a percentage: 0.0312 -> 3.1 %."""
    if finite(value) is None:
        return ABSENT
    value = 100.0 * value
    return _minus(f"{value:{'+' if signed else ''}.{1 if abs(value) < 9.95 else 0}f}") + f"{SPACE}%"


def toml(config):
    """A run's resolved configuration (nested dicts of JSON values) as a TOML file that ``testbed
    run`` reads.

    ``schema`` and values that are None are left out: the reader has the same defaults.
    """
    flat = {key: value for key, value in config.items() if key != "schema" and value is not None}
    lines = [
        f"{_key(key)} = {_inline(value)}"
        for key, value in flat.items()
        if not isinstance(value, dict)
    ]
    for section, values in flat.items():
        if isinstance(values, dict):
            lines += ["", f"[{_key(section)}]"]
            lines += [
                f"{_key(key)} = {_inline(value)}"
                for key, value in values.items()
                if value is not None
            ]
    return "\n".join(lines) + "\n"


def _inline(value):
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(
                f"{_key(key)} = {_inline(item)}" for key, item in value.items() if item is not None
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # TOML's basic strings are JSON's, but for DEL


def _key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _inline(key)


def _minus(value):
    return str(value).replace("-", "−")
