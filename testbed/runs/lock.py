"""The lock that a run holds on its folder, so that no second one writes there at the same time.

Not every file system gives locks: Lustre without the mount option ``flock``, some NFS; and Windows
has none of this kind. A process that is alone needs none, and goes on with a warning.
"""

import errno
import os
import warnings
from pathlib import Path
from typing import IO, Any
from weakref import WeakValueDictionary

from solver.inputs import InputError
from testbed.environment import launched

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What a file system says that has no locks.
_NONE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)

NAME = ".lock"


def flock(file: IO[Any], folder: Path, wait: bool = True) -> None:
    """Lock an open ``file`` of ``folder``; without ``wait`` raises BlockingIOError where another
    process has it.

    Where no lock can be had, warns once if this process is alone, and raises :class:`InputError` if
    it is one of several.
    """
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no file locks on this system")
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _NONE:
            raise
        if launched()[1] > 1:
            raise InputError(
                f"{folder}: files cannot be locked there ({error.strerror}), which several "
                "processes on one run need; allowed: one process, or --out on a file system with "
                "locks (a local disk; Lustre with the mount option flock)"
            ) from None
        if folder not in _warned:
            _warned.add(folder)
            warnings.warn(
                f"{folder}: files cannot be locked there ({error.strerror}); this process goes on "
                "without: start no second one on this folder",
                stacklevel=2,
            )


_warned: set[Path] = set()


class FolderLock:
    """A lock on a folder for the life of this object; it ends with the process, however that dies.

    The file holds the number of the process. Raises :class:`InputError` naming that process where
    another one has the lock.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / NAME, "a+", encoding="ascii")
        try:
            flock(self._file, folder, wait=False)
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

    Of the processes that a launcher started together the first one holds it for all:
    None in the others.
    """
    if launched()[0] > 0:
        return None
    path = folder.resolve()
    held = _held.get(path)
    if held is None:
        _held[path] = held = FolderLock(path)
    return held
