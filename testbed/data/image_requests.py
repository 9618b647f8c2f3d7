"""A file of requests for images, one JSON object a line."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from calibration.checks import number, shown, whole
from solver.inputs import InputError, read_lines
from testbed.data.prompts import check_prompt

_LONGEST = 200  # bytes of an id: file systems allow 255 of a name, of which the writer adds some
_LATEST = 365 * 86400.0  # s


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

    Raises :class:`InputError` naming file, line and field; also for two ids that some disks take
    for one name.
    """
    requests: dict[str, ImageRequest] = {}
    names = [field.name for field in fields(ImageRequest)]
    for where, values in read_lines(path, names):
        _check(where, values)
        request = ImageRequest(**values)
        # those of macOS and Windows know neither case nor how an accent is composed
        name = unicodedata.normalize("NFC", request.id.casefold())
        if (other := requests.get(name)) is not None:
            if other.id == request.id:
                raise InputError(f"{where}: id: '{request.id}' is used twice")
            raise InputError(
                f"{where}: id: found '{request.id}' beside '{other.id}'; allowed: ids that differ "
                "in more than case, as each names a file"
            )
        requests[name] = request
    return list(requests.values())


def _check(where: str, values: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for a field that is missing or wrong."""
    if not _is_file_name(name := values.get("id")):
        raise InputError(
            f"{where}: id: found {shown(name)}; "
            f"allowed: a plain file name of at most {_LONGEST} bytes"
        )
    check_prompt(f"{where}: prompt", values.get("prompt"))
    for field in ("seed", "steps"):
        whole(f"{where}: {field}", values.get(field))
    if values["steps"] < 1 or values["seed"] < 0:
        raise InputError(
            f"{where}: steps {values['steps']}, seed {values['seed']}; "
            "allowed: steps of at least 1, seeds from 0"
        )
    if values.get("guidance") is not None:
        number(f"{where}: guidance", values["guidance"], least=0)
    if values.get("negative_prompt") is not None:
        check_prompt(f"{where}: negative_prompt", values["negative_prompt"])
    if values.get("arrival") is not None:
        check_arrival(f"{where}: arrival", values["arrival"])


def _is_file_name(name: object) -> bool:
    """Whether every file system takes ``name`` as that of a file, which is not a hidden one."""
    return (
        isinstance(name, str)
        and name != ""
        and name == name.strip()
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & set("/\\")
        and len(name.encode()) <= _LONGEST
    )


def check_arrival(where: str, seconds: Any) -> None:
    """Raise :class:`InputError` for an arrival that no one can wait for."""
    number(where, seconds, least=0)
    if seconds > _LATEST:
        raise InputError(
            f"{where}: found {shown(seconds)}; allowed: at most {_LATEST:.0f} s, a year"
        )
