"""``.npz`` archives: nested objects under dotted names, as in ``local.step_time``."""

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from solver.inputs import InputError, check_kind


def dumps(tree: Mapping[str, object]) -> bytes:
    """The bytes of the archive of a nested object."""
    buffer = io.BytesIO()
    np.savez(buffer, **_flatten(tree))  # type: ignore[arg-type]  # np.savez takes any array-like
    return buffer.getvalue()


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The nested object of an archive; arrays of shape () become numbers and strings.

    Raises InputError that names the file, for what is no archive of plain arrays or has a name
    twice.
    """
    import zipfile  # slow to import: only when asked for
    import zlib

    check_kind(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            flat = {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        TypeError,  # a .npy file
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"{path}: not a readable .npz file of plain arrays: {' '.join(str(error).split())}"
        ) from None
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise InputError(
                    f"{path}: {name}: '{parent}' is a value as well; "
                    f"allowed: either '{parent}' or names below it"
                )
        if leaf in node:
            raise InputError(
                f"{path}: {name}: stands beside names below it; allowed: one of the two"
            )
        node[leaf] = array.item() if array.ndim == 0 else array
    return tree


def _flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            # numpy would pickle a larger one, which is not read; no total of steps reaches it
            if isinstance(value, int) and value >= 2**63:
                value = float(value)
            flat[prefix + key] = value
    return flat
