"""Points of a curve: checked, and read from a CSV file."""

import csv
import math
from pathlib import Path

import numpy as np

from calibration.fitting.families import KINDS
from solver.inputs import InputError, check_keys

COLUMNS = ("steps", "value", "sd")


def points_from_csv(path):
    """Read a CSV file with the columns ``steps``, ``value`` and optionally ``sd``: [{steps, value,
    sd (or None)}].

    Raises :class:`InputError` naming the file, the line and the column for anything else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    check_keys(f"{path}: line 1", header, COLUMNS)
    for name in ("steps", "value"):
        if name not in header:
            raise InputError(
                f"{path}: line 1: column '{name}' is missing; found: {', '.join(header) or 'nothing'}"
            )
    if len(set(header)) < len(header):
        raise InputError(f"{path}: line 1: found a column twice: {', '.join(header)}")
    points = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}: line {reader.line_num}"
        if len(row) != len(header):
            raise InputError(
                f"{where}: found {len(row)} fields; allowed: {len(header)} ({', '.join(header)})"
            )
        point = {
            name: _number(where, name, cell.strip()) for name, cell in zip(header, row, strict=True)
        }
        points.append(
            {"steps": int(point["steps"]), "value": point["value"], "sd": point.get("sd")}
        )
    if len({point["steps"] for point in points}) < 3:
        raise InputError(
            f"{path}: found {len({point['steps'] for point in points})} different step counts; allowed: at least 3"
        )
    return points


_ALLOWED = {
    "steps": (lambda value: value >= 1 and value == int(value), "a whole number of at least 1"),
    "value": (lambda value: True, "a finite number"),
    "sd": (lambda value: value > 0, "a positive number"),
}


def _number(where, name, found):
    """``found`` (text or a number) as a float, checked as a ``name`` of a point."""
    good, allowed = _ALLOWED[name]
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or not good(value):
        raise InputError(f"{where}: {name}: found {found!r}; allowed: {allowed}")
    return value


def checked(steps, values, sd, kind):
    """``(steps, values, sd)`` as float arrays, shape (n,) each (``sd`` may be None); raises
    :class:`InputError`.
    """
    if kind not in KINDS:
        raise InputError(f"kind: found {kind!r}; allowed: {', '.join(KINDS)}")
    if len(steps) != len(values) or (sd is not None and len(sd) != len(values)):
        raise InputError(
            f"points: found {len(steps)} steps and {len(values)} values; allowed: as many of each (and of sd)"
        )
    columns = {"steps": steps, "value": values, "sd": [] if sd is None else sd}
    s, y, sd_array = (
        np.array([_number("points", name, value) for value in column])
        for name, column in columns.items()
    )
    if len(np.unique(s)) < 3:
        raise InputError(
            f"points: found {len(np.unique(s))} different step counts; allowed: at least 3"
        )
    return s, y, None if sd is None else sd_array
