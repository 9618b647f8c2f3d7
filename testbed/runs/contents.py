"""What the files of a run's models hold: ``models.json`` (``models/1``).

A task's id names a model's folder by a fingerprint of the sizes and ends of its weights. A
tokenizer, a scheduler, or weights in between may change behind it: whole files are compared here.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError, read_json, write_json
from testbed.runs.damaged import unless_damaged

NAME = "models.json"


@frozen
class FileContent(Schema):
    """A file of a model's folder, by its ``name`` there: its ``size`` in bytes, when it was last
    written (``mtime_ns``, ns since 1970), and the SHA-256 of all of it.
    """

    name: str
    size: int = limits(least=0)
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, name: str, path: Path, known: Self | None) -> Self:
        """That of ``path``; one that has the size and time of the ``known`` content has it."""
        told = path.stat()
        if known and (known.size, known.mtime_ns) == (told.st_size, told.st_mtime_ns):
            return known
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(name, told.st_size, told.st_mtime_ns, digest)


@frozen
class ModelContent(Schema):
    """The ``files`` of a ``model`` that is a folder. ``revision``: as in tasks; None: a scorer."""

    model: str
    revision: str | None
    files: tuple[FileContent, ...]


@frozen
class ModelContents(Schema):
    """The models that a run folder was measured with."""

    SCHEMA: ClassVar[str] = "models/1"

    models: tuple[ModelContent, ...] = ()


def keep(
    folder: Path,
    model: str,
    revision: str | None,
    files: Mapping[str, Path],
    measured: bool = True,
) -> None:
    """Keep what the ``files`` of a ``model``, by their names, hold in ``folder``.

    Raises :class:`InputError` where another content is kept and something was ``measured`` with it.
    """
    path = folder / NAME
    contents = unless_damaged(lambda: _load(path), path) or ModelContents()
    before = _find(contents, model, revision)
    now = _content(model, revision, files, before)
    if before is not None and measured:
        _compare(folder, before, now, files)
    if now != before:
        others = tuple(entry for entry in contents.models if entry is not before)
        write_json(path, ModelContents((*others, now)).to_dict())


def check(folder: Path, model: str, revision: str | None, files: Mapping[str, Path]) -> None:
    """Raise :class:`InputError` where ``folder`` was measured with other ``files`` of a ``model``;
    nothing is written.
    """
    if before := _find(_load(folder / NAME), model, revision):
        _compare(folder, before, _content(model, revision, files, before), files)


def _load(path: Path) -> ModelContents:
    if not path.exists():
        return ModelContents()
    return ModelContents.from_dict(read_json(path), str(path))


def _find(contents: ModelContents, model: str, revision: str | None) -> ModelContent | None:
    own = (entry for entry in contents.models if (entry.model, entry.revision) == (model, revision))
    return next(own, None)


def _content(
    model: str, revision: str | None, files: Mapping[str, Path], before: ModelContent | None
) -> ModelContent:
    known = {entry.name: entry for entry in before.files} if before else {}
    entries = (FileContent.of(name, files[name], known.get(name)) for name in sorted(files))
    return ModelContent(model, revision, tuple(entries))


def _compare(
    folder: Path, before: ModelContent, now: ModelContent, files: Mapping[str, Path]
) -> None:
    old, new = ({entry.name: entry.sha256 for entry in each.files} for each in (before, now))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            if name not in old:
                said, allowed = "found a file", "the model without it"
            else:
                said = "found other content" if name in new else "found no such file"
                allowed = f"the file of SHA-256 {old[name][:12]}..."
            where = files.get(name, f"{now.model}: {name}")
            raise InputError(
                f"{where}: {said}, unlike when {folder} was measured; allowed: {allowed}, or "
                "another folder (--out)"
            )
