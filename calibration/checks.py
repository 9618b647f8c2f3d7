"""Checks of single values, each raising :class:`InputError` with what was found and what is allowed."""

import math
from collections.abc import Iterable
from typing import Any

from solver.inputs import InputError, check_keys


def is_whole(value: object) -> bool:
    """True for an ``int`` that is not a ``bool``."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(where: str, value: Any, least: float) -> None:
    """An ``int``, not a ``bool``, of at least ``least``."""
    if not is_whole(value) or value < least:
        bound = "" if least == -math.inf else f" of at least {least}"
        raise InputError(f"{where}: found {value!r}; allowed: a whole number{bound}")


def number(
    where: str,
    value: Any,
    least: float | None = None,
    above: float | None = None,
    also: str = "",
) -> None:
    """A finite number, if given of at least ``least``, or ``above`` a bound.

    ``also`` ends the message.
    """
    try:
        good = (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (least is None or value >= least)
            and (above is None or value > above)
        )
    except OverflowError:  # an integer beyond the range of a float
        good = False
    if not good:
        allowed = "a finite number" if least is None else f"a number of at least {least:g}"
        if above is not None:
            allowed = f"a number above {above:g}"
        raise InputError(f"{where}: found {value!r}; allowed: {allowed}{also}")


def table(where: str, value: Any, allowed: Iterable[str] | None = None) -> dict[str, Any]:
    """``value`` if it is a table whose keys are all ``allowed`` (None: any)."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: found {value!r}; allowed: a table")
    check_keys(where, value, value if allowed is None else allowed)
    return value


def need(where: str, value: Any, names: Iterable[str]) -> dict[str, Any]:
    """``value`` if it is a table with at least the keys ``names``."""
    for name in names:
        if name not in table(where, value):
            raise InputError(f"{where}: '{name}' is missing")
    return table(where, value)
