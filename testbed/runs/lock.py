"""The lock that a run holds on its folder, so that no second one writes there at the same time."""

import fcntl
import os
from pathlib import Path
from weakref import WeakValueDictionary

from solver.inputs import InputError

NAME = ".lock"


class FolderLock:
    """A lock on a folder for the life of this object; it ends with the process, however that dies.

    The file holds the number of the process. Raises :class:`InputError` naming that process where
    another one has the lock.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / NAME, "a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise InputError(
                f"{folder}: process {holder or '(unknown)'} runs in it; "
                "wait until it has finished, or choose another --out"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


_held: WeakValueDictionary[Path, FolderLock] = WeakValueDictionary()


def lock(folder: Path) -> FolderLock | None:
    """This process's lock on ``folder``, the same one as long as it is held.

    Of the processes that ``accelerate launch`` started together the first one holds it for all:
    None in the others.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        return None
    path = folder.resolve()
    held = _held.get(path)
    if held is None:
        _held[path] = held = FolderLock(path)
    return held
