"""Checks of single values; each raises :class:`InputError` with the value and what is allowed."""

import math
from collections.abc import Iterable
from typing import Any

from solver.inputs import InputError, check_keys

#: Integers beyond it fit no array of numpy's.
LARGEST_INT = 2**63 - 1
_SHOWN = 160  # characters of a value in a message


def shown(value: object) -> str:
    """``value`` as a message shows it: in one line, and shortened."""
    try:
        return shortened(repr(value), _SHOWN)
    except (ValueError, RecursionError):  # an integer of over 4300 digits; nested too deeply
        return f"a {type(value).__name__}"


def shortened(text: str, longest: int) -> str:
    """``text`` in one line, and, of more than ``longest`` characters, its beginning."""
    start = text[:longest]
    if not start.isprintable():
        start = ascii(start)[1:-1]
    return start if len(text) <= longest else f"{start}... ({len(text)} characters)"


def is_whole(value: object) -> bool:
    """True for an ``int`` that is not a ``bool``."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True for an ``int`` or ``float``, not a ``bool``, that is a finite float."""
    try:
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(float(value))
        )
    except OverflowError:  # an integer beyond the range of a float
        return False


def whole(where: str, value: Any, least: float = -math.inf) -> None:
    """Check for an ``int``, not a ``bool``, of at least ``least``, that fits 64 bits."""
    if not is_whole(value) or value < least or abs(value) > LARGEST_INT:
        raise InputError(f"{where}: found {shown(value)}; allowed: {whole_allowed(least, value)}")


def whole_allowed(least: float = -math.inf, value: Any = None) -> str:
    """What :func:`whole` allows, in words that fit the refused ``value``."""
    bound = "" if least == -math.inf else f" of at least {least}"
    large = is_whole(value) and abs(value) > LARGEST_INT
    return f"a whole number{bound}{' that fits 64 bits' if large else ''}"


def number(
    where: str,
    value: Any,
    least: float | None = None,
    above: float | None = None,
    also: str = "",
) -> None:
    """Check for a finite number, of at least ``least`` or ``above`` a bound where they are given.

    ``also`` ends the message.
    """
    if (
        not is_number(value)
        or (least is not None and value < least)
        or (above is not None and value <= above)
    ):
        allowed = number_allowed(least, above)
        raise InputError(f"{where}: found {shown(value)}; allowed: {allowed}{also}")


def number_allowed(least: float | None = None, above: float | None = None) -> str:
    """What :func:`number` allows, in words."""
    if above is not None:
        return f"a number above {above:g}"
    return "a finite number" if least is None else f"a number of at least {least:g}"


def table(where: str, value: Any, allowed: Iterable[str] | None = None) -> dict[str, Any]:
    """``value`` if it is a table whose keys are all ``allowed`` (None: any)."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: found {shown(value)}; allowed: a table")
    if allowed is not None:
        check_keys(where, value, allowed)
    return value
