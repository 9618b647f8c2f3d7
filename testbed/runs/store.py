"""Records on disk: a JSON line for each finished task (the last of its id counts), its image beside
it, nothing ever lost or redone.

The image is written first, then the line, both flushed to the disk; a run that is killed at any
moment leaves at most an image without a line, which the next run writes again with the same
content. Several processes may write to one folder.
"""

import fcntl
import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from solver.inputs import InputError, write_atomic


class RecordStore:
    """The records of one stage: ``folder/records.jsonl``, and the images in
    ``folder/<images>/<id>.png``.
    """

    def __init__(self, folder, images="images/"):
        self.folder, self._images = Path(folder), images
        self.path = self.folder / "records.jsonl"
        self.read_again()

    def read_again(self):
        """Take in what other processes have written since."""
        self._records = {}
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut(file)
            file.seek(0)
            for number, line in enumerate(file, start=1):
                try:
                    record = json.loads(line)
                    self._records[record["id"]] = record
                except (ValueError, KeyError, TypeError):
                    raise InputError(f"{self.path}: line {number} is not a record; remove the line to measure it again") from None

    def __contains__(self, task_id):
        return task_id in self._records

    def __getitem__(self, task_id):
        return self._records[task_id]

    def __len__(self):
        return len(self._records)

    def records(self):
        """All records, in the order in which they were finished."""
        return list(self._records.values())

    def image(self, task_id):
        """The image of a finished task: uint8 array of shape (height, width, 3)."""
        path = self.folder / self._records[task_id]["image"]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as an image: {error}") from None

    def add(self, record, image):
        """Store one finished task: ``image`` (uint8, height × width × 3), then its line."""
        record = {**record, "image": f"{self._images}{record['id']}.png"}
        write_atomic(self.folder / record["image"], png(image))
        self.write(record)

    def write(self, record):
        """Write the line of a task whose image is there; it replaces an earlier one of the same id,
        which stays in the file.
        """
        line = json.dumps(record, allow_nan=False) + "\n"
        with open(self.path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut(file)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._records[record["id"]] = record


def _cut(file):
    """Drop the end of a file after its last line: the process died while writing it, so that task
    was not finished.
    """
    end = file.seek(0, os.SEEK_END)
    if end == 0 or (file.seek(end - 1), file.read(1))[1] == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def png(image):
    """Encode a uint8 array (height, width, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
