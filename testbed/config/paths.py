"""The paths in a configuration: what they lead to, and what they hide."""

import os
from pathlib import Path
from typing import Any

from solver.inputs import InputError

#: Words of the reference, which stand for no path whatever lies in the working folder.
REFERENCES = ("scenes", "converged")
_WORDS = (*REFERENCES, "none")


def beside(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the paths that do not lead anywhere from the working folder, but do from the
    user's home (``~/...``) or the configuration's ``folder``, taken from there.
    """

    def placed(table: Any, *names: str) -> Any:
        if not isinstance(table, dict) or "url" in table:  # a server's model is its own
            return table
        moved = {}
        for name in names:
            path = table.get(name)
            if not isinstance(path, str) or path in _WORDS or os.path.exists(path):
                continue
            for other in (os.path.expanduser(path), str(folder / path)):
                if os.path.exists(other):
                    moved[name] = other
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
