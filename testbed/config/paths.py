"""The paths in a configuration: what they lead to, and what they hide."""

import os
import re
import warnings
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


def leads(path: str) -> bool:
    """Whether a setting is the path of something, from the working folder."""
    return path not in _WORDS and os.path.exists(path)


def same(path: str, other: str) -> bool:
    """Whether two settings are alike, or lead to the same from the working folder."""
    return path == other or (leads(path) and leads(other) and os.path.samefile(path, other))


def warn_of_namesake(model: str) -> None:
    """Warn of a folder here that could be a model's id on the hub."""
    if re.fullmatch(r"[\w-]+/[\w.-]+", model) and os.path.isdir(model):
        warnings.warn(
            f"model: {model}: the folder here is opened, not the model of that id on the hub; "
            f"./{model} says the same without this warning",
            stacklevel=2,
        )


def check_revision(name: str, model: str, field: str, revision: str | None) -> None:
    """Raise :class:`InputError` where a folder of the name of a hub id would drop its revision."""
    if revision and os.path.isdir(model):
        raise InputError(
            f"{field}: found {revision[:12]!r} of the hub, with {name} {model!r}, a folder "
            f"here; allowed: the folder without {field}, or another working folder"
        )
