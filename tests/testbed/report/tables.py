"""The report's CSV files, read back."""

import csv


def read(path):
    """The rows of a file: numbers but for places and classes, "" where nothing stands."""
    with open(path, newline="") as file:
        return [
            {
                key: float(value) if value and key not in ("place", "prompt_class") else value
                for key, value in row.items()
            }
            for row in csv.DictReader(file)
        ]
