"""Strict reading of columns: one number for all users, or a list with one number for each user.

Every function raises :class:`solver.inputs.InputError` with one line that names the field, what it
holds and what is allowed.
"""

from collections.abc import Iterable, Sequence, Sized
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from solver.inputs import InputError, check_keys

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def fault(where: str, value: object, allowed: str) -> InputError:
    """The error for a ``value`` that is not allowed; at most 60 characters of it are shown."""
    text = " ".join(repr(value).split())
    return InputError(
        f"{where}: found {text if len(text) <= 60 else text[:57] + '...'}; allowed: {allowed}"
    )


def fields(
    where: str, value: object, required: Sequence[str], optional: Iterable[str] = ()
) -> dict[str, object]:
    """Return ``value`` if it is an object with all ``required`` keys and no unknown key."""
    if not isinstance(value, dict):
        raise fault(where, value, "an object with " + ", ".join(required))
    check_keys(where, value, [*required, *optional])
    for key in required:
        if key not in value:
            raise InputError(f"{where}: '{key}' is missing")
    return value


def word(where: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of the ``allowed`` strings."""
    if not isinstance(value, str):
        raise fault(where, value, ", ".join(allowed))
    check_keys(where, [value], allowed)
    return value


def column(
    where: str,
    value: object,
    users: int | None = None,
    *,
    least: float | None = 0,
    above: bool = False,
    most: float | None = None,
    integer: bool = False,
) -> FloatArray:
    """Read a number or a list of ``users`` numbers: a read-only array of shape () or (users,).

    Without ``users`` only one number is allowed. Every number must be finite, ``>= least`` (or
    ``> least`` with ``above``; None: no limit), ``<= most``, and whole with ``integer``. True and
    false are not numbers.
    """
    allowed = "an integer" if integer else "a finite number"
    allowed += "" if least is None else f" {'>' if above else '>='} {least}"
    allowed += "" if most is None else f" and <= {most}"
    if users is not None:
        allowed += f", or a list of {users} of them"
    array = _floats(value)
    if array is None or array.ndim > (users is not None):
        raise _not_a_number(where, value, allowed)
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
        spot, wrong = (f"{where}[{first}]", array[first]) if array.ndim else (where, array)
        raise fault(spot, int(wrong) if float(wrong).is_integer() else float(wrong), allowed)
    array.setflags(write=False)
    return array


def whole(where: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Read one whole number."""
    array = column(where, value, least=least, most=most, integer=True)
    return value if isinstance(value, int) else int(array)  # a float has only 53 bits


def table(
    where: str,
    value: object,
    users: int,
    cover: IntArray,
    least: float | None = None,
    each: str = "steps up to max_steps",
) -> FloatArray:
    """Read values at s = 1, 2, ...: a read-only array, (width,) for all users or (users, width).

    Rows of different length are filled up with NaN, which is also how an array from a ``.npz``
    file marks the end of a row. ``cover``, shape () or (users,), is the number of steps that each
    user's row must reach; ``each`` names what the values belong to in messages.
    """
    allowed = "finite numbers" + ("" if least is None else f" >= {least}")
    shape = f"a list of {allowed}, or {users} such lists"
    per_user = value.ndim == 2 if isinstance(value, np.ndarray) else _is_nested(value)
    if per_user and isinstance(value, Sized) and len(value) != users:
        raise InputError(f"{where}: found {len(value)} lists; allowed: {shape}")
    rows = _rows(value) if per_user else _row(value)
    if rows is None:
        raise fault(where, value, shape)
    array, lengths = rows
    bad = ~np.isfinite(array) if least is None else ~(np.isfinite(array) & (array >= least))
    bad &= np.arange(array.shape[-1]) < lengths[..., None]
    if bad.any():
        index = np.unravel_index(int(bad.argmax()), array.shape)
        spot = where + "".join(f"[{i}]" for i in index)
        raise fault(spot, float(array[index]), allowed)
    short = lengths < cover
    if short.any():
        user = int(short.argmax())
        length, need = (int(np.broadcast_to(a, short.shape).flat[user]) for a in (lengths, cover))
        spot = f"{where}[{user}]" if per_user else where
        raise InputError(
            f"{spot}: found {length} values; allowed: one for each of the {need} {each}"
        )
    array.setflags(write=False)
    return array


def _floats(value: object) -> FloatArray | None:
    """A fresh array of a number or a flat sequence of numbers; None if anything is no number."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.array(value, dtype=np.float64) if value.dtype.kind in "iuf" else None
    items = value if isinstance(value, (list, tuple)) else [value]
    # numpy itself would turn True and "1" into 1.0; set(map(type)) checks at C speed
    if not all(
        issubclass(kind, (int, float, np.integer, np.floating)) and kind is not bool
        for kind in set(map(type, items))
    ):
        return None
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError:
        return None


def _is_nested(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and isinstance(value[0], (list, tuple, np.ndarray))
    )


def _row(value: object) -> tuple[FloatArray, IntArray] | None:
    """One row for all users, and its length; None if anything in ``value`` is no number."""
    array = _floats(value)
    return None if array is None or array.ndim != 1 else (array, np.asarray(array.size))


def _rows(value: object) -> tuple[FloatArray, IntArray] | None:
    """One row for each user as a matrix filled up with NaN, and the length of each row.

    None if anything in ``value`` is no number.
    """
    if isinstance(value, np.ndarray):
        array = _floats(value)
        if array is None:
            return None
        ended = np.logical_and.accumulate(np.isnan(array)[:, ::-1], axis=1)
        return array, array.shape[1] - ended.sum(axis=1)
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(row, (list, tuple, np.ndarray)) for row in value
    ):
        return None
    lengths = np.array([len(row) for row in value])
    flat = _floats(list(chain.from_iterable(value)))
    if flat is None or flat.ndim != 1:
        return None
    array = np.full((len(value), lengths.max()), np.nan)
    array[np.arange(array.shape[1]) < lengths[:, None]] = flat
    return array, lengths


def _not_a_number(where: str, value: object, allowed: str) -> InputError:
    """The error for the first element of a list that is no number, or for the value itself."""
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if _floats(item) is None or isinstance(item, (list, tuple, np.ndarray)):
                return fault(f"{where}[{index}]", item, allowed)
    return fault(where, value, allowed)
