"""Tables as aligned text and as CSV: lists of dicts with the same keys."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from solver.inputs import write_atomic

#: A number, words, or None where there is no value, by column.
Row = Mapping[str, object]

#: How a formula begins in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
UNITS = {"time": "s", "energy": "J"}


def heading(name: str) -> str:
    """What a column or an axis is called: ``edge_price`` -> edge price, ``time`` -> time, s."""
    return name.replace("_", " ") + (f", {UNITS[name]}" if name in UNITS else "")


def text(rows: Sequence[Row], widest: int = 36) -> str:
    """Aligned plain text: words on the left, numbers with 5 digits on the right, a dash for None.

    Words are cut at ``widest`` characters.
    """
    names = list(rows[0])
    lines = [
        [heading(name) for name in names],
        *([_cell(row[name], widest) for name in names] for row in rows),
    ]
    words = [any(isinstance(row[name], str) for row in rows) for name in names]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        [c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, words, strict=True)]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write ``rows`` with a header line, atomically; numbers as they are, nothing for None.

    Words that a spreadsheet would take for a formula begin with an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)
    write_atomic(path, buffer.getvalue().encode("utf-8", "replace"))


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _cell(value: object, widest: int) -> str:
    if value is None:
        return "-"
    shown = f"{value:.5g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= widest else shown[: widest - 3] + "..."
