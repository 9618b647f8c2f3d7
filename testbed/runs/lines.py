"""Files of JSON, one object a line, to which processes append.

A line is flushed to the disk before its writer goes on. A process that is killed at any moment
leaves at most the beginning of a last line, which the next one that writes cuts off.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from solver.inputs import InputError, check_kind
from testbed.runs.lock import flock

#: Whether the last line of a file, which has no end, is one of ours that was cut off anywhere.
Begins = Callable[[bytes], bool]


class ForeignFile(InputError):
    """A file in the place of ours is someone else's; no line can be added."""


@contextmanager
def opened(path: Path, begins: Begins) -> Iterator[BinaryIO]:
    """The file, made where it is not there, at its end, locked, and cut if need be.

    Raises :class:`InputError` for what is no file, :class:`ForeignFile` for one whose last line is
    someone else's, and OSError.
    """
    if path.exists():
        check_kind(path)
    with open(path, "ab+") as file:
        flock(file, path.parent)
        cut(file, path, begins)
        yield file


def whole(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    """What the whole lines of a file's ``content`` hold, each with ``FILE: line N``; an unfinished
    last line is none.

    Raises :class:`InputError` naming the first line that is not JSON.
    """
    *lines, _ = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}: line {number}"
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {error}") from None


def append(path: Path, line: str, begins: Begins) -> None:
    """Append a ``line``, without its end, and flush it to the disk; raises as :func:`opened`."""
    with opened(path, begins) as file:
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def cut(file: BinaryIO, path: Path, begins: Begins) -> None:
    """Cut an unfinished last line off ``file``, which is then at its end; raises
    :class:`ForeignFile` if it is not ours.
    """
    end = file.seek(0, os.SEEK_END)
    if end == 0 or (file.seek(end - 1), file.read(1))[1] == b"\n":
        return
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if not begins(content[whole:]):
        raise ForeignFile(
            f"{path}: its last line is not the beginning of a record, so the file is left alone; "
            "allowed: a place without it"
        )
    file.truncate(whole)
    file.seek(0, os.SEEK_END)
