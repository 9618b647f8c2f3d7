"""A folder of images with captions in COCO's annotation format or MLPerf's, as prompts or as the
reference of the distances.
"""

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from solver.inputs import InputError, read_json

ALONE = (
    "captions.json",
    "captions/captions.tsv",
    "captions/captions_source.tsv",
    "captions_source.tsv",
)  # the first of them counts


class CaptionedImages:
    """Images and captions of ``captions.json`` or of the one ``annotations/captions_*.json`` in a
    folder, or of a TSV as MLPerf has it.

    The JSON file holds ``images`` [{"id", "file_name"}] and ``annotations`` [{"image_id",
    "caption"}]; the TSV has the columns ``image_id``, ``caption`` and ``file_name``, a line for
    each image. An image lies under its file name in the folder or anywhere below it. ``captions``:
    for each image of ``paths`` all of its captions, in the file's order. Raises :class:`InputError`
    naming file and field for what is missing or malformed.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.source = self._annotations()
        values = read_json(self.source) if self.source.suffix == ".json" else _read_tsv(self.source)
        images = self._rows(values, "images", "file_name")
        annotations = self._rows(values, "annotations", "caption")
        captions, files = {}, {}
        for index, image in enumerate(images):
            if self._id(image, "images", index, "id") in files:
                raise InputError(
                    f"{self.source}: images[{index}].id: found {image['id']!r} twice; allowed: different ids"
                )
            files[image["id"]], captions[image["id"]] = image["file_name"], []
        for index, one in enumerate(annotations):
            key = self._id(one, "annotations", index, "image_id")
            if key not in captions:
                raise InputError(
                    f"{self.source}: annotations[{index}].image_id: found {key!r}, which no image has as its id"
                )
            captions[key].append(" ".join(one["caption"].split()))
        for index, (key, found) in enumerate(captions.items()):
            if not found:
                raise InputError(
                    f"{self.source}: images[{index}]: image {key!r} ({files[key]}) has no caption among the annotations"
                )
        self.captions = list(captions.values())
        self.paths = [self._image(name, index) for index, name in enumerate(files.values())]

    def _annotations(self):
        for name in ALONE:
            if (self.folder / name).is_file():
                return self.folder / name
        found = sorted(self.folder.glob("annotations/captions_*.json"))
        if len(found) != 1:
            what = ", ".join(path.name for path in found) or "no annotations/captions_*.json"
            raise InputError(
                f"{self.folder}: found {what}; allowed: one such file, or {', '.join(ALONE)}"
            )
        return found[0]

    def _rows(self, values, name, text):
        """The table's rows, each with a non-empty string under ``text``."""
        rows = values.get(name) if isinstance(values, dict) else None
        if not isinstance(rows, list) or not rows:
            raise InputError(
                f"{self.source}: {name}: found {rows!r:.80}; allowed: a list of at least one"
            )
        for index, row in enumerate(rows):
            found = row.get(text) if isinstance(row, dict) else None
            if not isinstance(found, str) or not found.strip():
                raise InputError(
                    f"{self.source}: {name}[{index}].{text}: found {found!r:.80}; allowed: a non-empty string"
                )
        return rows

    def _id(self, row, name, index, field):
        found = row.get(field)
        if not isinstance(found, (int, str)) or isinstance(found, bool):
            raise InputError(
                f"{self.source}: {name}[{index}].{field}: found {found!r:.80}; allowed: a whole number or a string"
            )
        return found

    def _image(self, name, index):
        path = self.folder / name
        if path.is_file():
            return path
        if name not in self._below:
            raise InputError(
                f"{self.source}: images[{index}].file_name: found {name!r}; no such image in {self.folder} or below it"
            )
        return self._below[name]

    @cached_property
    def _below(self):
        """File name -> path of the files in all subfolders."""
        return {
            path.name: path
            for path in sorted(self.folder.rglob("*"), reverse=True)
            if path.is_file()
        }

    def reference(self, count):
        """The first ``count`` images, or all there are, as ``(images, captions)``: read when they
        are asked for, first captions.
        """
        captions = [found[0] for found in self.captions[:count]]
        if len(set(captions)) < 2:
            raise InputError(
                f"{self.source}: annotations: found {len(set(captions))} different caption in the reference; allowed: at least 2"
            )
        return Pictures(self.paths[:count], _read), captions


class Pictures(Sequence):
    """The images that ``read`` gives of ``items``, read only when one is asked for: thousands do
    not fit into memory together.
    """

    def __init__(self, items, read):
        self.items, self.read = items, read

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return (
            Pictures(self.items[index], self.read)
            if isinstance(index, slice)
            else self.read(self.items[index])
        )


def _read_tsv(path):
    """A TSV of one caption for each image, as COCO's annotations."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from None
    images = [{"id": row.get("image_id"), "file_name": row.get("file_name")} for row in rows]
    return {
        "images": images,
        "annotations": [
            {"image_id": row.get("image_id"), "caption": row.get("caption")} for row in rows
        ],
    }


def _read(path):
    """An image file as uint8 (H, W, 3)."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # SyntaxError: a broken PNG
        raise InputError(f"{path}: not a readable image: {' '.join(str(error).split())}") from None
