"""The images of a report: embedded in the page, and one prompt with more and more steps."""

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from calibration.records.record import Record
from calibration.records.scale import Scale
from testbed.report.curves.quantities import PLACES
from testbed.runs.folder import RunFolder, Stage

_STRIP_STEPS = (1, 2, 4, 8, 16, 32)
_MOST_COLUMNS = 6
_SMALL = 128  # px: of the longer side


@dataclass(frozen=True)
class EmbeddedImage:
    """An image in a data URI; a ``small`` one the page may enlarge without smoothing."""

    uri: str
    width: int
    height: int
    small: bool


@dataclass(frozen=True)
class GeneratedImage:
    """An image of a ``prompt`` (``embedded`` None: it cannot be read), and its ``error``."""

    prompt: str
    embedded: EmbeddedImage | None
    error: float | None = None


@dataclass(frozen=True, order=True)
class Column:
    """A step count of a strip; ``converged``: the images that the others are compared with."""

    converged: bool
    steps: int


@dataclass(frozen=True)
class StripRow:
    """The images of a place, one for each column (None: not made)."""

    place: str
    images: Sequence[GeneratedImage | None]


@dataclass(frozen=True)
class Strip:
    """One prompt and seed of a class at several step counts at both places."""

    prompt_class: str
    prompt: str
    seed: int
    columns: Sequence[Column]
    rows: Sequence[StripRow]


#: The records of one prompt and seed, by place and column.
_Shots = dict[tuple[str, Column], Record]


def embed(path: Path, side: int = 320) -> EmbeddedImage | None:
    """An image file, or None where it cannot be read.

    An image of up to 128 px is embedded as it is. A larger one is reduced to at most ``side`` px
    and stored as JPEG, so that a report stays at a few MB.
    """
    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw)) as file:
            kind, image = file.format, file.convert("RGB")
    # what Pillow raises for a missing, cut, foreign or absurdly large file
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    small = max(image.size) <= _SMALL
    if not (small and kind == "PNG"):
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.save(buffer, "PNG") if small else image.save(buffer, "JPEG", quality=88)
        raw = buffer.getvalue()
    uri = f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(raw).decode()}"
    return EmbeddedImage(uri, image.width, image.height, small)


def generated(
    folder: RunFolder, stage: Stage, record: Record, error: Scale | None = None
) -> GeneratedImage:
    """The image of a record; ``error``: the scale of its class's errors, if it is known.

    A path that leads out of the stage's folder counts as unreadable.
    """
    path = folder.image_path(stage, record).resolve()
    inside = path.is_relative_to(folder.path.resolve() / stage)
    return GeneratedImage(
        record.task.prompt,
        embed(path) if inside else None,
        error.of(record.measured.distance) if error else None,
    )


def strips(
    folder: RunFolder, records: Iterable[Record], scales: Mapping[tuple[str, str], Scale]
) -> list[Strip]:
    """For each class the prompt and seed that has the most of the wanted step counts.

    ``records``: of the calibration; ``scales``: of the error, by place and class.
    """
    shots: dict[str, dict[tuple[str, int], _Shots]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        task = record.task
        column = Column(task.purpose == "converged", task.steps)
        shots[task.prompt_class][task.prompt, task.seed][task.place, column] = record
    result = []
    for prompt_class, candidates in shots.items():
        wanted = _wanted({column for made in candidates.values() for _, column in made})
        # max() keeps the first of equals: the prompt shown is the first of the sweep, not a chosen
        # one
        (prompt, seed), made = max(
            candidates.items(),
            key=lambda item: sum((place, each) in item[1] for place in PLACES for each in wanted),
        )
        columns = wanted + sorted({column for _, column in made if column.converged})
        rows = [
            StripRow(
                place,
                [
                    generated(folder, "calibration", shot, scales.get((place, prompt_class)))
                    if (shot := made.get((place, column)))
                    else None
                    for column in columns
                ],
            )
            for place in PLACES
        ]
        result.append(Strip(prompt_class, prompt, seed, columns, rows))
    return result


def _wanted(columns: Iterable[Column]) -> list[Column]:
    """Doubling step counts, or where none of these was run about six others."""
    grid = sorted(column for column in columns if not column.converged)
    doubling = [column for column in grid if column.steps in _STRIP_STEPS]
    return doubling or grid[:: -(-len(grid) // _MOST_COLUMNS) or 1]
