"""A file of requests for images, one JSON object a line."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from calibration.checks import is_whole
from solver.inputs import InputError, read_lines


@dataclass(frozen=True)
class ImageRequest:
    """One line of a file of requests; ``arrival`` in seconds from the start.

    ``guidance`` and ``arrival`` are None where the line does not say.
    """

    id: str
    prompt: str
    seed: int
    steps: int
    guidance: float | None = None
    negative_prompt: str | None = None
    arrival: float | None = None


def read_requests(path: Path) -> list[ImageRequest]:
    """The requests of a file, one JSON object a line.

    Raises :class:`InputError` naming file, line and field.
    """
    requests: dict[str, ImageRequest] = {}
    names = [field.name for field in fields(ImageRequest)]
    for where, values in read_lines(path, names):
        _check(where, values)
        request = ImageRequest(**values)
        if request.id in requests:
            raise InputError(f"{where}: id: '{request.id}' is used twice")
        requests[request.id] = request
    return list(requests.values())


def _check(where: str, values: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for a field that is missing or wrong."""

    def expect(name: str, good: bool, allowed: str) -> None:
        if not good:
            raise InputError(f"{where}: {name}: found {values.get(name)!r}; allowed: {allowed}")

    for name in ("id", "prompt"):
        expect(name, isinstance(values.get(name), str), "text")
    for name in ("seed", "steps"):
        expect(name, is_whole(values.get(name)), "a whole number")
    if values["steps"] < 1 or not 0 <= values["seed"] < 2**63:
        raise InputError(
            f"{where}: steps {values['steps']}, seed {values['seed']}; "
            "allowed: steps of at least 1, seeds from 0"
        )
    name = values["id"]
    plain = name and not name.startswith(".") and "/" not in name and "\\" not in name
    expect("id", plain, "a plain file name")
    expect("guidance", _number(values.get("guidance", 1.0)), "a number")
    away = values.get("negative_prompt")
    expect(
        "negative_prompt", away is None or (isinstance(away, str) and away != ""), "non-empty text"
    )
    arrival = values.get("arrival", 0)
    expect("arrival", _number(arrival) and 0 <= arrival < math.inf, "seconds of at least 0")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
