"""Checks of single values, each raising :class:`InputError` with what was found and what is
allowed.
"""

import math

from solver.inputs import InputError, check_keys


def is_whole(value):
    """True for an ``int`` that is not a ``bool``."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(where, value, least):
    if not is_whole(value) or value < least:
        raise InputError(f"{where}: found {value!r}; allowed: a whole number of at least {least}")


def number(where, value, least=None, above=None, also=""):
    """A finite number, if given of at least ``least``, or ``above`` a bound; ``also`` ends the
    message.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or (least is not None and value < least) or (above is not None and value <= above):
        allowed = "a finite number" if least is None else f"a number of at least {least:g}"
        if above is not None:
            allowed = f"a number above {above:g}"
        raise InputError(f"{where}: found {value!r}; allowed: {allowed}{also}")


def table(where, value, allowed=None):
    """``value`` if it is a table whose keys are all ``allowed`` (None: any)."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: found {value!r}; allowed: a table")
    check_keys(where, value, value if allowed is None else allowed)
    return value


def need(where, value, names):
    """``value`` if it is a table with at least the keys ``names``."""
    for name in names:
        if name not in table(where, value):
            raise InputError(f"{where}: '{name}' is missing")
    return value
