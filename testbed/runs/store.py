"""Records on disk: one JSON line for each finished task, and its image beside it.

Of lines with the same id the last one counts. The image is written first, then the line, both
flushed to the disk. A run that is killed at any moment leaves at most an image without a line,
which the next run writes again with the same content. Several processes may write to one folder.
"""

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.records.record import Record
from solver.inputs import InputError, check_kind, to_json, write_atomic
from testbed.runs.lines import append, cut, whole
from testbed.runs.lock import flock

Pixels = NDArray[np.uint8]

#: How each line begins; what follows the id.
_HEAD, _NEXT = b'{"id": "', b'", "asked": {"place": "'


class RecordStore:
    """The records in ``folder/records.jsonl``, and their images in ``folder/<images>/<id>.png``.

    Raises :class:`InputError` for a file that holds anything else.
    """

    def __init__(self, folder: str | Path, images: str = "images/") -> None:
        self.folder, self._images = Path(folder), images
        self.path = self.folder / "records.jsonl"
        self.read_again()

    def read_again(self) -> None:
        """Take in what other processes have written since.

        The beginning of a last line is cut off: the process died while writing it, so that task was
        not finished. Nor is a task whose image is no longer there, of which a warning tells.
        """
        self._records: dict[str, Record] = {}
        if not self.path.exists():
            return
        check_kind(self.path)
        with open(self.path, "rb+") as file:
            flock(file, self.folder)
            try:
                self._records = _parse(file.read(), self.path)
            except InputError as error:
                raise InputError(f"{error}; remove the line to measure it again") from None
            cut(file, self.path, begins_a_record)
        lost = [
            key
            for key, record in self._records.items()
            if record.image is not None and not (self.folder / record.image).exists()
        ]
        for key in lost:
            del self._records[key]
        if lost:
            warnings.warn(
                f"{self.folder}: {len(lost)} images are no longer there; where they are asked for, "
                "they are made again",
                stacklevel=2,
            )

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._records

    def __getitem__(self, task_id: str) -> Record:
        return self._records[task_id]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def records(self) -> list[Record]:
        """All records, in the order in which they were finished."""
        return list(self._records.values())

    def image(self, task_id: str) -> Pixels:
        """The image of a finished task, shape (height, width, 3)."""
        return read_image(self.folder / str(self._records[task_id].image))

    def add(self, record: Record, image: Pixels) -> None:
        """Store a finished task: its ``image``, shape (height, width, 3), then its line."""
        path = f"{self._images}{record.id}.png"
        write_atomic(self.folder / path, png(image))
        self.write(replace(record, image=path))

    def write(self, record: Record) -> None:
        """Write the line of a task whose image is there.

        It replaces an earlier line of the same id, which stays in the file.
        """
        line = to_json(record.to_dict(), f"{self.path}: {record.id}")
        append(self.path, line, begins_a_record)
        self._records[record.id] = record


def read_records(path: Path) -> list[Record]:
    """The records of a ``records.jsonl``, only read: nothing is locked or cut.

    An unfinished last line is no record, and a file that is not there holds none. Raises
    :class:`InputError` naming the first line that is not a record.
    """
    if not path.exists():
        return []
    check_kind(path)
    return list(_parse(path.read_bytes(), path).values())


def read_image(path: Path) -> Pixels:
    """An image, shape (height, width, 3); raises :class:`InputError` where it cannot be read."""
    again = "the command that made it makes it again"
    if not path.exists():
        raise InputError(f"{path}: no such image; {again}")
    check_kind(path)
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow's decoders raise errors of any class for damaged files
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as an image: {error}; remove it, and {again}"
        ) from None


def png(image: Pixels) -> bytes:
    """An image of shape (height, width, 3) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _parse(content: bytes, path: Path) -> dict[str, Record]:
    """The records of the whole lines in ``content``, by id."""
    records = {}
    for where, values in whole(path, content):
        record = Record.from_dict(values, where)
        records[record.id] = record
    return records


def begins_a_record(line: bytes) -> bool:
    """Whether ``line`` is that of a record, or of a failure, cut off anywhere."""
    named = re.fullmatch(rb'\{"id": "(?:[^"\\]|\\.)*(?:\\|(".*))?', line, re.DOTALL)
    if named is None:
        return _HEAD.startswith(line)
    rest = named[1] or b""
    return _NEXT.startswith(rest) or rest.startswith(_NEXT)
