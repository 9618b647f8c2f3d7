"""``testbed generate``: images for a file of requests, by one model."""

import argparse
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.checks import is_whole
from solver.inputs import InputError, read_lines
from testbed.commands.parsing import add_verb, integer

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs

ENGINES, ORDERS = ("stock", "batched"), ("first_come", "shortest")
DTYPES = ("float32", "float16", "bfloat16")
#: Requests in a batch.
BATCH = 16


@dataclass(frozen=True)
class ImageRequest:
    """One line of a file of requests; ``arrival`` in seconds from the start.

    ``guidance`` and ``arrival`` are None where the line does not say.
    """

    id: str
    prompt: str
    seed: int
    steps: int
    guidance: float | None = None
    negative_prompt: str | None = None
    arrival: float | None = None


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed generate``."""
    parser = add_verb(
        verbs,
        "generate",
        _generate,
        "generate images for JSONL requests",
        "testbed generate --model embedded:edge requests.jsonl -o images",
    )
    parser.add_argument("--model", required=True, help="embedded:NAME, a folder, or a hub id")
    parser.add_argument(
        "requests",
        type=Path,
        help='one {"id", "prompt", "seed", "steps"} a line, optional "guidance", '
        '"negative_prompt", "arrival" (s)',
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="stock",
        help="stock (default): diffusers' own pipeline, one request at a time; "
        "batched: all at once, step by step",
    )
    parser.add_argument(
        "--batch",
        type=integer(1),
        metavar="N",
        help=f"of --engine batched: requests in a batch at most (default: {BATCH})",
    )
    parser.add_argument(
        "--order",
        choices=ORDERS,
        help="of --engine batched: who goes first (default: first_come)",
    )
    parser.add_argument(
        "--arrivals",
        type=float,
        metavar="RATE",
        help="let them arrive at RATE a second (Poisson) and wait for them",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="auto")


def _generate(args: argparse.Namespace) -> None:
    if args.engine == "stock" and (args.batch or args.order):
        raise InputError("--engine: found stock with --batch or --order; allowed: batched")
    path = generate_all(
        args.model,
        args.requests,
        args.output,
        args.dtype,
        args.device,
        args.engine,
        args.batch or BATCH,
        args.order or "first_come",
        args.arrivals,
    )
    print(path)


def generate_all(
    model: str,
    path: Path,
    out: Path,
    dtype: str = "float32",
    device: str = "auto",
    engine: str = "stock",
    batch: int = BATCH,
    order: str = "first_come",
    rate: float | None = None,
) -> Path:
    """Make the image of each request in the file ``path``; returns the path of their records.

    ``rate``: requests a second of a Poisson stream, in place of the requests' own ``arrival``. The
    other arguments are those of :func:`testbed.stages.requests.serve_requests`. Raises
    :class:`InputError` for wrong requests, before torch is loaded.
    """
    requests = read_requests(path)
    if rate is not None:
        from calibration.serving.simulator import poisson

        if any(request.arrival is not None for request in requests):
            raise InputError(f"{path}: arrival: found with --arrivals; allowed: one of the two")
        arrivals = poisson(rate, len(requests), seed=0).tolist()
        requests = [
            dataclasses.replace(request, arrival=arrival)
            for request, arrival in zip(requests, arrivals, strict=True)
        ]
    from testbed.stages.requests import serve_requests

    return serve_requests(requests, model, out, dtype, device, engine, batch, order)


def read_requests(path: Path) -> list[ImageRequest]:
    """The requests of a file, one JSON object a line.

    Raises :class:`InputError` naming file, line and field.
    """
    requests: dict[str, ImageRequest] = {}
    names = [field.name for field in dataclasses.fields(ImageRequest)]
    for where, values in read_lines(path, names):
        _check(where, values)
        request = ImageRequest(**values)
        if request.id in requests:
            raise InputError(f"{where}: id: '{request.id}' is used twice")
        requests[request.id] = request
    return list(requests.values())


def _check(where: str, values: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for a field that is missing or wrong."""

    def expect(name: str, good: bool, allowed: str) -> None:
        if not good:
            raise InputError(f"{where}: {name}: found {values.get(name)!r}; allowed: {allowed}")

    for name in ("id", "prompt"):
        expect(name, isinstance(values.get(name), str), "text")
    for name in ("seed", "steps"):
        expect(name, is_whole(values.get(name)), "a whole number")
    if values["steps"] < 1 or not 0 <= values["seed"] < 2**63:
        raise InputError(
            f"{where}: steps {values['steps']}, seed {values['seed']}; "
            "allowed: steps of at least 1, seeds from 0"
        )
    name = values["id"]
    plain = name and not name.startswith(".") and "/" not in name and "\\" not in name
    expect("id", plain, "a plain file name")
    expect("guidance", _number(values.get("guidance", 1.0)), "a number")
    away = values.get("negative_prompt")
    expect(
        "negative_prompt", away is None or (isinstance(away, str) and away != ""), "non-empty text"
    )
    arrival = values.get("arrival", 0)
    expect("arrival", _number(arrival) and 0 <= arrival < math.inf, "seconds of at least 0")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
