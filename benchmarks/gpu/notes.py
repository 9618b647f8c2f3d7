"""What the jobs measure, kept in one JSON file for each part of the check."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from calibration.schema import plain
from solver.inputs import read_json, write_json

SCHEMA = "gpu/1"


class Notes:
    """The notes of one job, in the file ``OUT/PART.json``: on disk as soon as they are made."""

    def __init__(self, out: Path, part: str, job: str) -> None:
        self.path, self.part, self.job = out / f"{part}.json", part, job

    def begin(self, **values: Any) -> None:
        """Begin the job's notes, without those of an earlier run."""
        notes = read_part(self.path, self.part)
        notes["jobs"][self.job] = _json(values)
        write_json(self.path, notes)

    def add(self, **values: Any) -> None:
        """Add to the job's notes; a later value takes an earlier one's place."""
        self.begin(**{**self.read(), **values})

    def read(self) -> dict[str, Any]:
        """What was noted so far."""
        return read_part(self.path, self.part)["jobs"].get(self.job, {})

    def attempt(self, name: str, measure: Callable[[], Any]) -> Any:
        """Note what ``measure`` gives under ``name``. Where it fails, note the error instead, and
        return None: the rest of the job goes on.
        """
        try:
            value = measure()
        # whatever this GPU, driver or version of a library raises is a result
        except Exception as error:
            self.add(**{name: {"failed": said(error)}})
            return None
        self.add(**{name: value})
        return value


def read_part(path: Path, part: str) -> dict[str, Any]:
    """The notes of a part, empty ones if it has none yet."""
    if path.exists():
        return read_json(path)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"schema": SCHEMA, "part": part, "when": when, "jobs": {}}


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def _json(value: Any) -> Any:
    """``value`` as JSON can hold it: what is not finite, which half precision may give, is null."""
    value = plain(value)
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
