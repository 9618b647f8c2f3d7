"""``testbed generate``: images for a file of requests, by one model."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from solver.inputs import InputError
from testbed.commands.parsing import add_verb, check_writable, integer, number
from testbed.config import ModelConfig
from testbed.data.image_requests import check_arrival, read_requests
from testbed.runs.failures import NAME as FAILURES

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs

ENGINES, ORDERS = ("stock", "batched"), ("first_come", "shortest")
DTYPES = ("float32", "float16", "bfloat16")
#: Requests in a batch.
BATCH = 16


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
        type=number,
        metavar="RATE",
        help="let them arrive at RATE a second (Poisson) and wait for them",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--revision", help="of a model on the hub: a commit, tag or branch")
    parser.add_argument("--variant", help='which of its weight files, e.g. "fp16"')
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="open weights that can run any code, where there are no safetensors",
    )
    parser.add_argument("--device", default="auto")


def _generate(args: argparse.Namespace) -> int:
    if args.engine == "stock" and (args.batch or args.order):
        raise InputError("--engine: found stock with --batch or --order; allowed: batched")
    model = ModelConfig(
        args.model,
        revision=args.revision,
        variant=args.variant,
        dtype=args.dtype,
        allow_pickle=args.allow_pickle,
    )
    path = generate_all(
        model,
        args.requests,
        args.output,
        args.device,
        args.engine,
        args.batch or BATCH,
        args.order or "first_come",
        args.arrivals,
    )
    print(path)
    return int((path.parent / FAILURES).exists())


def generate_all(
    model: ModelConfig,
    path: Path,
    out: Path,
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
        check_arrival("--arrivals: the last request's arrival", max(arrivals, default=0.0))
        requests = [
            dataclasses.replace(request, arrival=arrival)
            for request, arrival in zip(requests, arrivals, strict=True)
        ]
    check_writable("-o", out, is_folder=True)
    if last := max((request.arrival or 0.0 for request in requests), default=0.0):
        print(f"generate: the last request arrives after {last:.0f} s", file=sys.stderr)
    from testbed.stages.requests import serve_requests

    return serve_requests(requests, model, out, device, engine, batch, order)
