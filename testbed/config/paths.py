"""The paths in a configuration: what they lead to, and what they hide."""

import os
from pathlib import Path
from typing import Any

from solver.inputs import InputError

_WORDS = ("scenes", "converged", "none")  # that stand for no path


def beside(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the paths that do not lead anywhere from the working folder, but do from the
    configuration's ``folder``, taken from there.
    """
    if not folder.parts:
        return values

    def placed(table: Any, *names: str) -> Any:
        if not isinstance(table, dict):
            return table
        moved = {
            name: str(folder / table[name])
            for name in names
            if isinstance(table.get(name), str)
            and table[name] not in _WORDS
            and not os.path.exists(table[name])
            and os.path.exists(folder / table[name])
        }
        return {**table, **moved}

    parts = {"local": ("model",), "edge": ("model",), "quality": ("clip", "reference")}
    inner = {key: placed(values[key], *names) for key, names in parts.items() if key in values}
    return placed({**values, **inner}, "prompts")


def check_revision(name: str, model: str, field: str, revision: str | None) -> None:
    """Raise :class:`InputError` where a folder of the name of a hub id would drop its revision."""
    if revision and os.path.isdir(model):
        raise InputError(
            f"{field}: found {revision[:12]!r} of the hub, with {name} {model!r}, a folder "
            f"here; allowed: the folder without {field}, or another working folder"
        )
