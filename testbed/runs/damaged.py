"""Files that are written again and cannot be read: they stop nothing, and are not lost."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from solver.inputs import InputError

T = TypeVar("T")


def unless_damaged(read: Callable[[], T | None], path: Path) -> T | None:
    """What ``read`` gives of the file ``path``, which is about to be written.

    None where the file is damaged: it is kept as ``NAME.damaged``, as a warning says.
    """
    try:
        return read()
    except InputError as error:
        kept = path.with_name(f"{path.name}.damaged")
        with suppress(FileNotFoundError):  # another process was quicker
            os.replace(path, kept)
        warnings.warn(
            f"{error}; it is made again, the damaged one is kept as {kept.name}", stacklevel=2
        )
        return None
