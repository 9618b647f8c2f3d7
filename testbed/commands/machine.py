"""``testbed bench`` and ``testbed doctor``: what this machine can do."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.commands.parsing import add_verb, check_writable, integer

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs


def add_parsers(verbs: "Verbs") -> None:
    """Add both verbs."""
    _add_bench(verbs)
    add_verb(
        verbs,
        "doctor",
        _doctor,
        "what this machine has: device, meters, weights, what is emulated",
        "testbed doctor",
    )


def _add_bench(verbs: "Verbs") -> None:
    parser = add_verb(
        verbs,
        "bench",
        _bench,
        "time and energy of a published architecture, with random weights",
        "testbed bench --architecture sdxl --batch 1,4 -o sdxl.json",
    )
    parser.add_argument(
        "--architecture",
        required=True,
        help="sd15, sdxl, sd3, pixart, ...; a wrong name lists them",
    )
    parser.add_argument(
        "--batch",
        default="1,2,4,8,16",
        help="images of one call, separated by commas (default: %(default)s)",
    )
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16")
    parser.add_argument(
        "--steps", type=integer(1), default=20, help="of each measured image (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--compile", action="store_true", help="compile the denoiser with torch.compile"
    )
    parser.add_argument(
        "--channels-last", action="store_true", help="lay convolutions out with the channels last"
    )
    parser.add_argument(
        "--shrink",
        type=integer(1),
        choices=[1, 2, 4, 8],
        default=1,
        help="divide all widths and take few layers: to try the command",
    )
    parser.add_argument("-o", "--output", type=Path, help="bench/1 JSON, written after each batch")


def _bench(args: argparse.Namespace) -> None:
    from testbed.bench.report import parse_batches, table
    from testbed.models.published import catalogue

    catalogue.find(args.architecture)
    batches = parse_batches(args.batch)
    if args.output:
        check_writable("-o", args.output)
    from testbed.bench import bench  # brings torch: only for what can be measured

    asked = bench.Bench(
        args.architecture,
        batches,
        args.dtype,
        args.steps,
        args.device,
        args.shrink,
        args.compile,
        args.channels_last,
    )
    report = bench.run(asked, args.output)
    print(*table(report), sep="\n")


def _doctor(args: argparse.Namespace) -> None:
    print("... loading torch and diffusers", file=sys.stderr, flush=True)
    from testbed.commands import doctor

    doctor.print_report()
