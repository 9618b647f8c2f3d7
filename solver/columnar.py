"""Strict reading of columnar values: one number for all UEs, or a list with one for each.

Everything raises :class:`solver.inputs.InputError` in one line: which field, what was found, what
is allowed.
"""

from itertools import chain

import numpy as np

from solver.inputs import InputError, check_keys


def fault(where, found, allowed):
    """The error for a value that is not allowed; ``found`` is shown in at most 60 characters."""
    text = " ".join(repr(found).split())
    return InputError(
        f"{where}: found {text if len(text) <= 60 else text[:57] + '...'}; allowed: {allowed}"
    )


def fields(where, value, required, optional=()):
    """Return ``value`` if it is an object with all of the ``required`` keys and no unknown one."""
    if not isinstance(value, dict):
        raise fault(where, value, "an object with " + ", ".join(required))
    check_keys(where, value, [*required, *optional])
    for key in required:
        if key not in value:
            raise InputError(f"{where}: '{key}' is missing")
    return value


def word(where, value, allowed):
    """Return ``value`` if it is one of the ``allowed`` strings."""
    if not isinstance(value, str):
        raise fault(where, value, ", ".join(allowed))
    check_keys(where, [value], allowed)
    return value


def column(where, value, users=None, *, least=0, above=False, most=None, integer=False):
    """Return ``value`` as a read-only float64 array, shape () for one number or (users,) for a
    list.

    Without ``users`` only one number is allowed. Every number must be finite, ``>= least`` (``>
    least`` if ``above``; None: no limit), ``<= most`` and whole if ``integer``; true and false are
    not numbers.
    """
    allowed = "an integer" if integer else "a finite number"
    allowed += "" if least is None else f" {'>' if above else '>='} {least}"
    allowed += "" if most is None else f" and <= {most}"
    if users is not None:
        allowed += f", or a list of {users} of them"
    array = _floats(value)
    if array is None or array.ndim > (users is not None):
        raise _odd_one_out(where, value, allowed)
    if array.ndim and len(array) != users:
        raise InputError(f"{where}: found a list of {len(array)}; allowed: {allowed}")
    bad = ~np.isfinite(array)
    if least is not None:
        bad |= (array <= least) if above else (array < least)
    if most is not None:
        bad |= array > most
    if integer:
        bad |= array != np.rint(array)
    if bad.any():
        first = int(bad.argmax())
        spot, found = (f"{where}[{first}]", array[first]) if array.ndim else (where, array)
        raise fault(spot, int(found) if float(found).is_integer() else float(found), allowed)
    array.setflags(write=False)
    return array


def table(where, value, users, cover, least=None):
    """Return ``values`` at s = 1, 2, ... as a read-only float64 array: (width,) shared by all UEs,
    or (users, width).

    Rows of different length are filled up with NaN, which is also how an array from a ``.npz`` says
    that a row has ended. ``cover``, an integer array of shape () or (users,), is how many steps
    each UE needs.
    """
    allowed = "finite numbers" + ("" if least is None else f" >= {least}")
    shape = f"a list of {allowed}, or {users} such lists"
    per_user = value.ndim == 2 if isinstance(value, np.ndarray) else _is_nested(value)
    if per_user and len(value) != users:
        raise InputError(f"{where}: found {len(value)} lists; allowed: {shape}")
    array, lengths = _rows(value) if per_user else (_floats(value), None)
    if array is None or array.ndim != 1 + per_user:
        raise fault(where, value, shape)
    if lengths is None:
        lengths = np.asarray(array.size)
    bad = ~np.isfinite(array) if least is None else ~(np.isfinite(array) & (array >= least))
    bad &= np.arange(array.shape[-1]) < lengths[..., None]
    if bad.any():
        spot = np.unravel_index(int(bad.argmax()), array.shape)
        raise fault(where + "".join(f"[{i}]" for i in spot), float(array[spot]), allowed)
    short = lengths < cover
    if short.any():
        user = int(short.argmax())
        found, need = (int(np.broadcast_to(a, short.shape).flat[user]) for a in (lengths, cover))
        spot = f"{where}[{user}]" if per_user else where
        raise InputError(
            f"{spot}: found {found} values; allowed: one for each of the {need} steps up to max_steps"
        )
    array.setflags(write=False)
    return array


def _floats(value):
    """A fresh float64 array of a number or a flat sequence of numbers; None if anything in it is
    not a number.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return np.array(value, dtype=np.float64) if value.dtype.kind in "iuf" else None
    items = value if isinstance(value, (list, tuple)) else [value]
    # set(map(type)) looks at every element at C speed: numpy itself would turn True and "1" into
    # 1.0
    if not all(
        issubclass(kind, (int, float, np.integer, np.floating)) and kind is not bool
        for kind in set(map(type, items))
    ):
        return None
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError:
        return None


def _is_nested(value):
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and isinstance(value[0], (list, tuple, np.ndarray))
    )


def _rows(value):
    """``value``, one row for each UE, as a NaN-filled matrix and the length of each row; (None,
    None) if not numbers.
    """
    if isinstance(value, np.ndarray):
        array = _floats(value)
        if array is None:
            return None, None
        ended = np.logical_and.accumulate(np.isnan(array)[:, ::-1], axis=1)
        return array, array.shape[1] - ended.sum(axis=1)
    if not all(isinstance(row, (list, tuple, np.ndarray)) for row in value):
        return None, None
    lengths = np.array([len(row) for row in value])
    flat = _floats(list(chain.from_iterable(value)))
    if flat is None or flat.ndim != 1:
        return None, None
    array = np.full((len(value), lengths.max()), np.nan)
    array[np.arange(array.shape[1]) < lengths[:, None]] = flat
    return array, lengths


def _odd_one_out(where, value, allowed):
    """Name the first element of a list that is not a number, or the value itself."""
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if _floats(item) is None or isinstance(item, (list, tuple, np.ndarray)):
                return fault(f"{where}[{index}]", item, allowed)
    return fault(where, value, allowed)
