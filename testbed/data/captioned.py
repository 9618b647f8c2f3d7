"""A folder of images with captions in COCO's annotation format or MLPerf's, as prompts or as the
reference of the distances.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from calibration.checks import shortened
from solver.inputs import InputError, check_text, read_json, read_text
from testbed.data.image_files import read_image

Item = TypeVar("Item")

_COLUMNS = ("image_id", "caption", "file_name")  # of a TSV
#: The files that hold a folder's captions; the first that is there counts.
CAPTION_FILES = (
    "captions.json",
    "captions/captions.tsv",
    "captions/captions_source.tsv",
    "captions_source.tsv",
)


class CaptionedImages:
    """Images and captions of ``captions.json`` or of the one ``annotations/captions_*.json`` in a
    folder, or of a TSV as MLPerf has it.

    The JSON file holds ``images`` [{"id", "file_name"}] and ``annotations`` [{"image_id",
    "caption"}]; the TSV has the columns ``image_id``, ``caption`` and ``file_name``, a line for
    each image. An image lies under its file name in the folder or anywhere below it, in linked
    folders too. ``captions``: for each image of ``paths`` all of its captions, in the file's order.
    Raises :class:`InputError` naming file and field for what is missing or malformed, and for the
    name of several images.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.source = self._annotations()
        values = read_json(self.source) if self.source.suffix == ".json" else _read_tsv(self.source)
        files = self._files(self._rows(values, "images", "file_name"))
        captions: dict[int | str, list[str]] = {key: [] for key in files}
        for index, row in enumerate(self._rows(values, "annotations", "caption")):
            key = self._id(row, "annotations", index, "image_id")
            if key not in captions:
                raise InputError(
                    f"{self.source}: annotations[{index}].image_id: found {key!r}, "
                    "which no image has as its id"
                )
            captions[key].append(" ".join(row["caption"].split()))
        for index, (key, texts) in enumerate(captions.items()):
            if not texts:
                raise InputError(
                    f"{self.source}: images[{index}]: image {key!r} ({files[key]}) has no caption "
                    "among the annotations"
                )
        self.captions = list(captions.values())
        self.paths = [self._image(name, index) for index, name in enumerate(files.values())]

    def _files(self, images: list[dict[str, Any]]) -> dict[int | str, str]:
        """File names by image id."""
        files: dict[int | str, str] = {}
        for index, image in enumerate(images):
            key = self._id(image, "images", index, "id")
            if key in files:
                raise InputError(
                    f"{self.source}: images[{index}].id: found {key!r} twice; "
                    "allowed: different ids"
                )
            files[key] = image["file_name"]
        return files

    def _annotations(self) -> Path:
        for name in CAPTION_FILES:
            if (self.folder / name).is_file():
                return self.folder / name
        files = sorted(self.folder.glob("annotations/captions_*.json"))
        if len(files) != 1:
            what = ", ".join(path.name for path in files) or "no annotations/captions_*.json"
            raise InputError(
                f"{self.folder}: found {what}; allowed: one such file, or "
                f"{', '.join(CAPTION_FILES)}"
            )
        return files[0]

    def _rows(self, values: Any, name: str, text: str) -> list[dict[str, Any]]:
        """The table's rows, each with a non-empty string under ``text``."""
        rows = values.get(name) if isinstance(values, dict) else None
        if not isinstance(rows, list) or not rows:
            raise InputError(
                f"{self.source}: {name}: found {rows!r:.80}; allowed: a list of at least one"
            )
        for index, row in enumerate(rows):
            value = row.get(text) if isinstance(row, dict) else None
            if not isinstance(value, str) or not value.strip():
                raise InputError(
                    f"{self.source}: {name}[{index}].{text}: found {value!r:.80}; "
                    "allowed: a non-empty string"
                )
            check_text(f"{self.source}: {name}[{index}].{text}", value)
        return rows

    def _id(self, row: dict[str, Any], name: str, index: int, field: str) -> int | str:
        value = row.get(field)
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            raise InputError(
                f"{self.source}: {name}[{index}].{field}: found {value!r:.80}; "
                "allowed: a whole number or a string"
            )
        return value

    def _image(self, name: str, index: int) -> Path:
        path = self.folder / name
        if os.path.isfile(path):  # False also for a name that no file can have
            return path
        where = f"{self.source}: images[{index}].file_name: found"
        paths = [path for path in self._below.get(name, []) if path.is_file()]
        if not paths:
            raise InputError(f"{where} {name!r}; no such image in {self.folder} or below it")
        if len(paths) > 1:
            first, second = sorted(str(path.relative_to(self.folder)) for path in paths)[:2]
            raise InputError(
                f"{where} {name!r}, which is {first} and {second}; allowed: one of these paths"
            )
        return paths[0]

    @cached_property
    def _below(self) -> dict[str, list[Path]]:
        """File name -> paths of the files in all subfolders, those of links too."""
        paths: dict[str, list[Path]] = defaultdict(list)
        seen = set()
        for folder, inner, names in os.walk(self.folder, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:  # a link to what was or will be seen
                inner.clear()
                continue
            seen.add(real)
            inner.sort()
            for name in names:
                paths[name].append(Path(folder, name))
        return paths

    def reference(self, count: int) -> "tuple[LazyImages[Path], list[str]]":
        """The first ``count`` images, or all, read when they are asked for, and their first
        captions.
        """
        captions = [texts[0] for texts in self.captions[:count]]
        if len(set(captions)) < 2:
            raise InputError(
                f"{self.source}: annotations: found {len(set(captions))} different caption in the "
                "reference; allowed: at least 2"
            )
        return LazyImages(self.paths[:count], read_image), captions


class LazyImages(Sequence[NDArray[np.uint8]], Generic[Item]):
    """The images that ``read`` gives of ``items``, read only when one is asked for: thousands do
    not fit into memory together.
    """

    def __init__(self, items: Sequence[Item], read: Callable[[Item], NDArray[np.uint8]]) -> None:
        self.items, self.read = items, read

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyImages[Item]": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | LazyImages[Item]":
        if isinstance(index, slice):
            return LazyImages(self.items[index], self.read)
        return self.read(self.items[index])


def _read_tsv(path: Path) -> dict[str, list[dict[str, Any]]]:
    """A TSV of one caption for each image, as COCO's annotations.

    A quote belongs to the text, but for a cell that was quoted because of the quotes in it, which
    are doubled then (as pandas writes, and MLPerf's own file has), or because all cells are. A cell
    holds neither tab nor line break: those end it.
    """
    header, *lines = read_text(path).removesuffix("\n").split("\n")
    names = header.removesuffix("\r").split("\t")
    all_quoted = all(len(name) > 2 and name[0] == name[-1] == '"' for name in names)
    names = [_unquoted(name, all_quoted) for name in names]
    if any(names.count(column) != 1 for column in _COLUMNS):
        headings = shortened(", ".join(names), 80)
        raise InputError(
            f"{path}: line 1: found {headings}; allowed: {', '.join(_COLUMNS)} as headings of "
            "columns, each once, with tabs between"
        )
    images, annotations = [], []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = line.removesuffix("\r").split("\t")
        if len(cells) != len(names):
            raise InputError(
                f"{path}: line {number}: found {len(cells)} cells; allowed: {len(names)}, as in "
                "the header; a caption holds no tab and no line break"
            )
        row = dict(zip(names, (_unquoted(cell, all_quoted) for cell in cells)))
        images.append({"id": row["image_id"], "file_name": row["file_name"]})
        annotations.append({"image_id": row["image_id"], "caption": row["caption"]})
    return {"images": images, "annotations": annotations}


def _unquoted(cell: str, all_quoted: bool) -> str:
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole and (all_quoted or '""' in inner) else cell
