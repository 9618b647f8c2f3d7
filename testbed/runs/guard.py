"""What may become a run's folder, and whether a configuration belongs to what was measured."""

import os
import re
from pathlib import Path
from typing import Any

from calibration.schema import plain
from solver.inputs import InputError, check_kind, read_json
from testbed.config import Config, from_dict, load
from testbed.runs.lock import NAME as LOCK

CONFIG = "config.json"
#: The configuration that a report was written of.
REPORTED = "report/run.toml"
RECORDS = ("calibration/records.jsonl", "execution/records.jsonl")
#: Settings of a sweep of which more can be added to a finished one.
EXTENT = ("steps", "prompts_per_class", "half_width", "most_prompts", "seeds", "batches", "splits")
#: What :func:`solver.inputs.write_atomic` leaves behind when its process is killed.
_PART = re.compile(r"\..+\.(json|npz|png|svg|csv|html|toml)\.[a-z0-9_]{8}")
#: Folders below a run's that hold its files, at most: ``online/references/images``.
_DEEPEST = 3


def check(config: Config, folder: Path) -> None:
    """Raise :class:`InputError` for a folder of something else, of another configuration, or that
    cannot be written to.

    Of a run that has measured something the sweep's extent, the execution and the scenario may
    change: what was measured is kept, and more is measured where it is asked for.
    """
    whole = folder.absolute()
    base = next(path for path in (whole, *whole.parents) if path.exists())
    if not base.is_dir():
        raise InputError(f"{base}: found a file; allowed: a folder")
    if not os.access(base, os.W_OK | os.X_OK):
        raise InputError(f"{base}: cannot be written to; allowed: a folder that can")
    if not (folder / CONFIG).exists():
        if has_measured(folder):
            if not (reported := folder / REPORTED).exists():
                raise InputError(f"{folder}: {CONFIG} is missing; {way_out(folder)}")
            _compare(reported, plain(load(reported).to_dict()), plain(config.to_dict()))
            return
        if folder.exists() and not all(_counts_for_nothing(entry) for entry in folder.iterdir()):
            raise InputError(f"{folder}: not empty and not a run folder; choose another --out")
        return
    if has_measured(folder):
        _compare(folder / CONFIG, read_config(folder), plain(config.to_dict()))
    else:
        read_config(folder)


def way_out(folder: Path) -> str:
    """What to do where the configuration of a run that has measured something is lost."""
    reported = folder / REPORTED
    other = f"give {reported} as CONFIG" if reported.exists() else "choose another --out"
    return f"put it back, as it says what was measured, or {other}"


def has_measured(folder: Path) -> bool:
    """Whether a run has measured something in it."""
    return any(_holds_a_line(folder / name) for name in RECORDS)


def known_config(folder: Path) -> Config | None:
    """The configuration of a run folder, or that of its report; None where there is neither."""
    if (folder / CONFIG).exists():
        return from_dict(read_config(folder), str(folder / CONFIG))
    return load(folder / REPORTED) if (folder / REPORTED).exists() else None


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration as ``config.json`` has it, with defaults that older versions did not write.

    Raises :class:`InputError` for another kind of file.
    """
    values = read_json(folder / CONFIG)
    schema = values.get("schema") if isinstance(values, dict) else type(values).__name__
    if schema != "run/1":
        raise InputError(f"{folder / CONFIG}: schema: found {schema!r}; allowed: 'run/1'")
    sweep = values.get("sweep", {})
    return {**values, "sweep": {"noise": "shared", **sweep}} if isinstance(sweep, dict) else values


def sweep_parts(folder: Path, depth: int = _DEEPEST) -> None:
    """Remove what writers that were killed left behind, down to a ``depth`` of folders in this one;
    only for the process with the lock.
    """
    for level in range(depth + 1):
        for entry in folder.glob("*/" * level + ".*"):
            if _PART.fullmatch(entry.name):
                entry.unlink(missing_ok=True)


def _counts_for_nothing(entry: Path) -> bool:
    """Whether a file is no sign of other use: a lock, a part of a file, a file system's own."""
    return entry.name in (LOCK, "lost+found") or bool(_PART.fullmatch(entry.name))


def _holds_a_line(path: Path) -> bool:
    """Whether something was measured: the first record is finished."""
    if not path.exists():
        return False
    check_kind(path)
    with open(path, "rb") as file:
        return file.readline().endswith(b"\n")


def _compare(path: Path, before: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise :class:`InputError` unless both configurations measure the same."""
    if isinstance(sweep := before.get("sweep"), dict) and "timed" not in sweep:
        raise InputError(
            f"{path}: sweep.timed is missing: an earlier version made this run folder and timed "
            "every image, so nothing can be added to it; choose another --out"
        )
    known = plain(from_dict(before, str(path)).to_dict())
    for key in sorted((set(wanted) | set(known)) - {"execute", "scenario", "defaulted"}):
        if _fixed(key, wanted) != _fixed(key, known):
            raise InputError(
                f"{path}: {key}: this run folder was made with {known.get(key)!r}, not "
                f"{wanted.get(key)!r}; choose another --out or the same configuration"
            )


def _fixed(key: str, config: dict[str, Any]) -> Any:
    """The part of a configuration's ``key`` that must stay the same."""
    return config[key] | dict.fromkeys(EXTENT) if key == "sweep" else config.get(key)
