"""Read and write the files between the stages, and name in one line what is wrong with a file."""

import codecs
import io
import json
import math
import os
import select
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: Bytes of an input that is read whole; a pipe may give more than memory holds.
LARGEST = 1 << 30
#: Seconds for which the first writer of a pipe is waited for.
PATIENCE = 10.0
_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
}
#: What pipes gave, by device and inode: they give it once, and some inputs are read twice.
_piped: dict[tuple[int, int], bytes] = {}


class InputError(ValueError):
    """The input is wrong. The message is one line: file, field, what it holds, what is allowed."""


def check_keys(where: str, keys: Iterable[object], allowed: Iterable[object]) -> None:
    """Raise :class:`InputError` for the first key that is not ``allowed``, with a suggestion."""
    allowed = list(allowed)
    for key in keys:
        if key not in allowed:
            text = str(key)
            name = (
                text if len(text) <= 60 and text.isprintable() else ascii(text[:60])[1:-1] + "..."
            )
            import difflib  # slow to import: only when asked for

            close = difflib.get_close_matches(name, [str(name) for name in allowed], n=1)
            hint = f"; perhaps you meant '{close[0]}'" if close else ""
            raise InputError(
                f"{where}: '{name}' is unknown{hint}; allowed: {', '.join(map(str, allowed))}"
            )


def check_kind(path: str | os.PathLike[str], pipe: bool = False) -> os.stat_result:
    """Raise :class:`InputError` for what is no regular file, nor a ``pipe`` where one will do: a
    device may give bytes without end, and a pipe never begin.

    Returns what the system tells of the file.
    """
    try:
        told = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise InputError(f"{path}: cannot be read: {error}") from None
    kind = _KINDS.get(stat.S_IFMT(told.st_mode))
    if kind and not (pipe and stat.S_ISFIFO(told.st_mode)):
        allowed = "a file or a pipe" if pipe else "a file"
        raise InputError(f"{path}: found {kind}; allowed: {allowed}")
    return told


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8, or in UTF-16 where a byte order mark says so; or what a pipe
    gives, as ``<(...)`` of a shell and ``/dev/stdin`` are: in one process, the same again.

    Line ends stay as they are. Raises :class:`InputError` for what is missing, no text, longer than
    :data:`LARGEST`, neither file nor pipe, and for a pipe that nobody writes to.
    """
    told = check_kind(path, pipe=True)
    try:
        if stat.S_ISFIFO(told.st_mode):
            raw = _read_pipe(path, (told.st_dev, told.st_ino))
        else:
            with open(path, "rb", buffering=0) as file:
                raw = _read_whole(file, path)
        marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if marked else "utf-8-sig")
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: not its encoding
        raise InputError(f"{path}: cannot be read: {error}") from None


def _read_whole(file: io.FileIO, path: str | os.PathLike[str], begun: bytes = b"") -> bytes:
    parts, length = [begun], len(begun)
    while chunk := file.read(_CHUNK):
        parts.append(chunk)
        if (length := length + len(chunk)) > LARGEST:
            raise InputError(f"{path}: found more than {LARGEST} bytes; allowed: at most these")
    return b"".join(parts)


def _read_pipe(path: str | os.PathLike[str], key: tuple[int, int]) -> bytes:
    """What a pipe gave before, or gives; a writer that is slow is waited for."""
    if key in _piped:
        return _piped[key]
    # opened to wait, one without a writer would never be open
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as pipe:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        told = waiting.poll(1000 * PATIENCE)
        begun = pipe.read(_CHUNK)  # None: a writer that has not written yet; empty: no writer
        if begun == b"" and not told:
            raise InputError(f"{path}: found a pipe that nobody writes to; allowed: a file")
        os.set_blocking(descriptor, True)
        _piped[key] = _read_whole(pipe, path, begun or b"")
    return _piped[key]


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file.

    Raises :class:`InputError` that names the file if it is missing or malformed.
    """
    return _parsed(read_text(path), str(path))


def _parsed(text: str, where: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid JSON: {error}") from None


def check_text(where: str, value: Any) -> None:
    """Raise :class:`InputError` for a string, in ``value`` anywhere, with half of a surrogate pair:
    no library can encode it.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{where}: found {ascii(value)[:80]}; allowed: no half of a surrogate pair"
            ) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(where, key)
            check_text(f"{where}: {key}"[:200], item)
    elif isinstance(value, list):
        for item in value:
            check_text(where, item)


def read_lines(
    path: str | os.PathLike[str], allowed: Iterable[str]
) -> list[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file with one object a line, as ``("FILE: line N", object)``.

    Blank lines are skipped. Raises :class:`InputError` that names file and line for what is no
    object, or has a key that is not ``allowed``.
    """
    allowed = list(allowed)
    wanted, objects = f"an object with {', '.join(allowed)}", []
    # not splitlines(): JSON strings may hold other separators as they are, U+2028 for one
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            value = _parsed(line, where)
        except InputError as error:
            raise InputError(f"{error}; allowed: {wanted} on each line") from None
        check_text(where, value)
        if not isinstance(value, dict):
            raise InputError(f"{where}: found {line.strip()[:40]!r}; allowed: {wanted}")
        check_keys(where, value, allowed)
        objects.append((where, value))
    return objects


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new.

    A link stays one: its target is written. What is no regular file, as /dev/null or a pipe, is
    written to as it is.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(raw)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(part, "xb") as file:  # with the mode that the umask says
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write ``value`` as JSON, atomically; raises as :func:`to_json` does."""
    write_atomic(path, to_json(value, str(path), indent=1) + "\n")


def to_json(value: object, where: str, indent: int | None = None) -> str:
    """``value`` as JSON text.

    NaN and infinity are not JSON: raises :class:`InputError` that names the first quantity that is
    one, after ``where``.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        spot, number = next(_not_finite(value, ""), ("", None))
        if number is None:
            raise
        raise InputError(
            f"{where}: {spot.removeprefix('.')}: found {number}; allowed: a finite number, so "
            "nothing is written (what was measured is kept)"
        ) from None


def _not_finite(value: object, spot: str) -> Iterator[tuple[str, float]]:
    """Where in ``value`` numbers are not finite, and these."""
    if isinstance(value, float) and not math.isfinite(value):
        yield spot, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f"{spot}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{spot}[{index}]")
