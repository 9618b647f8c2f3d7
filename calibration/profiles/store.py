"""Profiles in a file."""

from pathlib import Path

from calibration.profiles import version1
from calibration.profiles.profile import Profiles
from solver.inputs import read_json, write_json


def load(path: str | Path) -> Profiles:
    """Read a ``profiles/2`` or ``profiles/1`` file.

    Raises :class:`InputError` naming the file and the field for what is missing or wrong.
    """
    return parse(read_json(path), str(path))


def parse(values: object, where: str = "profiles") -> Profiles:
    """The profiles in a JSON object of either version; see :func:`load`."""
    if isinstance(values, dict) and values.get("schema") == version1.SCHEMA:
        return version1.read(values, where)
    return Profiles.from_dict(values, where)


def save(path: str | Path, profiles: Profiles) -> None:
    """Write ``profiles`` as ``profiles/2``, atomically."""
    write_json(path, profiles.to_dict())
