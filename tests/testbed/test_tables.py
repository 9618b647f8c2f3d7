"""Tables as CSV."""

import csv

from testbed.tables import write_csv


def test_words_are_no_formulas_and_numbers_stay_numbers(tmp_path):
    """A prompt class may be any text, and a spreadsheet would run it."""
    row = {"class": "=HYPERLINK(1)", "other": "a-b", "value": -1.5, "nothing": None}
    write_csv(tmp_path / "table.csv", [row])
    with open(tmp_path / "table.csv", newline="") as file:
        assert list(csv.reader(file)) == [list(row), ["'=HYPERLINK(1)", "a-b", "-1.5", ""]]
