"""The files of a model folder: which are opened, whether they are whole, and their fingerprint."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError, safe_open

from solver.inputs import InputError, check_kind

#: Never opened: it blackens images that are to be measured, and costs time that is not the model's.
UNUSED = "safety_checker"
PIPELINE = "model_index.json"
#: How diffusers and transformers name files of weights, by their suffix.
_STEMS = {
    ".safetensors": ("diffusion_pytorch_model", "model"),
    ".bin": ("diffusion_pytorch_model", "pytorch_model"),
}
_POINTER = b"version https://git-lfs"
#: Of the other files of a part, those that the libraries read.
_READ = (".json", ".txt", ".model", ".jinja")


def check_folder(
    folder: str | Path, index: str, allow_pickle: bool = False, variant: str | None = None
) -> dict[str, Any]:
    """The model's configuration, which ``index`` of ``folder`` holds.

    Raises :class:`InputError` where it, a part, or whole weights of the ``variant`` are missing:
    safetensors, unless others are allowed. Files that are not opened may be anything.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not (folder / index).is_file():
        raise InputError(f"{folder}: not a model folder: {index} is missing")
    config = read_object(folder / index)
    for part in _parts(folder, index, config):
        for path in _texts(part):
            _refuse_pointer(path)
    for part in _networks(folder, index, config):
        files = weight_files(part, variant)
        if not files or (files[0].suffix == ".bin" and not allow_pickle):
            raise InputError(_no_weights(part, bool(files), of_pipeline=index == PIPELINE))
        for path in files:
            _check_weights(path)
    return config


def network_class(kind: object) -> type[torch.nn.Module] | None:
    """The class of a network that an entry of ``model_index.json`` names; None for anything else,
    and for a class of a pipeline's own.
    """
    if not isinstance(kind, list) or len(kind) != 2 or not all(isinstance(k, str) for k in kind):
        return None
    library, name = kind
    module = {"diffusers": diffusers, "transformers": transformers}.get(library)
    named = getattr(module, name, None)
    return named if isinstance(named, type) and issubclass(named, torch.nn.Module) else None


def weight_files(part: Path, variant: str | None = None) -> list[Path]:
    """The files of weights that the libraries open for ``part``: of the ``variant`` where there are
    such, safetensors before pickled ones; shards as their index names them. Links are followed.
    """
    for infix in ([f".{variant}"] if variant else []) + [""]:
        for suffix, stems in _STEMS.items():
            for stem in stems:
                if (whole := part / f"{stem}{infix}{suffix}").is_file():
                    return [whole]
                if (index := part / f"{stem}{suffix}.index{infix}.json").is_file():
                    return _shards(index)
    return []


def fingerprint(folder: str | Path, variant: str | None = None) -> str:
    """Twelve hex digits that change when the weights that are opened of a local folder do (file
    sizes, first and last MiB). Ids of tasks hold it, so it stays as it is; what it does not see,
    :mod:`testbed.runs.contents` does.

    Raises :class:`InputError` where there are none.
    """
    folder = Path(folder)
    parts = _networks(folder, *_index(folder))
    files = sorted(path for part in parts for path in weight_files(part, variant))
    if not sum(path.stat().st_size for path in files):
        raise InputError(f"{folder}: holds no weights; allowed: a folder as save_pretrained writes")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:12]


def read_files(folder: str | Path, variant: str | None = None) -> dict[str, Path]:
    """The files of a local folder that the libraries read, weights and all, by their names in it.

    Indices of shards are left out: the shards that they name are there.
    """
    folder = Path(folder)
    index, config = _index(folder)
    files = {folder / index}
    for part in _parts(folder, index, config):
        files |= {path for path in _texts(part) if ".index." not in path.name}
    for part in _networks(folder, index, config):
        files |= set(weight_files(part, variant))
    return {path.relative_to(folder).as_posix(): path for path in files}


def _index(folder: Path) -> tuple[str, dict[str, Any]]:
    """The name of the file that makes a model of ``folder``, and what it holds."""
    index = PIPELINE if (folder / PIPELINE).is_file() else "config.json"
    return index, read_object(folder / index)


def _texts(part: Path) -> list[Path]:
    """The files of a ``part`` that the libraries read beside weights."""
    return [
        path
        for path in sorted(part.iterdir())
        if path.suffix in _READ and not path.name.startswith("._") and path.is_file()
    ]


def _parts(folder: Path, index: str, config: dict[str, Any]) -> Iterator[Path]:
    """The folders that are read: those of a pipeline's parts, or the model's own."""
    if index != PIPELINE:
        yield folder
        return
    for name, kind in config.items():
        if isinstance(kind, list) and kind[:1] != [None] and name != UNUSED:
            if not (folder / name).is_dir():
                raise InputError(f"{folder}: half-written model folder: '{name}' is missing")
            yield folder / name


def _networks(folder: Path, index: str, config: dict[str, Any]) -> Iterator[Path]:
    """Those of the folders that hold weights."""
    for part in _parts(folder, index, config):
        named = part.name.startswith(("unet", "vae", "text_encoder", "transformer"))
        if index != PIPELINE or named or network_class(config[part.name]) is not None:
            yield part


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object; raises :class:`InputError` for any other."""
    _refuse_pointer(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: found {type(values).__name__}; allowed: a JSON object")
    return values


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names."""
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise InputError(f"{index}: weight_map: allowed: a JSON object of file names")
    files = [index.parent / name for name in sorted(set(names.values()))]
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: half-written model folder: {index.name} names this file")
    return files


def _check_weights(path: Path) -> None:
    _refuse_pointer(path)
    if path.suffix != ".safetensors":
        return
    try:
        with safe_open(path, framework="pt") as file:
            empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: half-written or damaged weights: {error}") from None
    if empty:
        raise InputError(f"{path}: half-written or damaged weights: it holds no tensors")


def _refuse_pointer(path: Path) -> None:
    check_kind(path)
    try:
        with open(path, "rb") as file:
            pointer = file.read(len(_POINTER)) == _POINTER
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if pointer:
        raise InputError(
            f"{path}: a git-lfs pointer in place of the file; run `git lfs pull` in its repository"
        )


def _no_weights(part: Path, pickled: bool, of_pipeline: bool) -> str:
    variants = sorted(
        {path.name.split(".")[1] for path in part.glob("[!.]*.*.safetensors")} - {"safetensors"}
    )
    advice = ""
    if pickled:
        advice = "; allow_pickle = true opens pickled ones, which can run any code"
    elif variants and of_pipeline:
        advice = f'; it has those of a variant: variant = "{variants[0]}"'
    elif variants and (part / (half := f"model.{variants[0]}.safetensors")).is_file():
        advice = f"; it has {half}: under the name model.safetensors it is opened"
    return (
        f"{part}: no .safetensors weights; allowed: a folder as save_pretrained writes it{advice}"
    )
