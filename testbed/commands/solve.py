"""``testbed solve``: an allocation of a problem, or a table of many."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

import solver
from solver import METHODS, InputError, Problem, studies
from solver.allocation import OPTIMAL
from testbed import tables
from testbed.commands.parsing import add_verb, check_writable, integer

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs

#: Values of one sweep, at most.
MOST_VALUES = 10_000


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed solve``."""
    parser = add_verb(
        verbs,
        "solve",
        _solve,
        "allocate places and steps",
        "testbed solve problem.json -o allocation.json",
    )
    parser.add_argument("problem", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="allocation/1 JSON; not needed with --compare, --sweep or --pareto",
    )
    parser.add_argument(
        "--solver",
        action="append",
        help="exact (default), another one, or your own module:function; a wrong name lists them; "
        "with --sweep and --compare again for each method",
    )
    parser.add_argument(
        "--seed",
        type=integer(0),
        help="of a method that draws; with --compare, random's first (default: 0)",
    )
    study = parser.add_mutually_exclusive_group()
    study.add_argument("--compare", action="store_true", help="print a table of all methods")
    study.add_argument(
        "--sweep",
        metavar="KEY=START:STOP:STEP",
        help="print a table over any number of the problem, e.g. edge_budget=100:500:50, "
        "edge.power[3]=1:9:2",
    )
    study.add_argument(
        "--pareto",
        action="store_true",
        help="print the front of time, energy, error and utility over the weights",
    )
    parser.add_argument(
        "--csv", type=Path, help="write the table as CSV, and its plot beside it as .svg and .pdf"
    )


def _solve(args: argparse.Namespace) -> None:
    _check(args)
    problem = Problem.load(args.problem)
    for option, path in (("-o", args.output), ("--csv", args.csv)):
        if path:
            check_writable(option, path)
    methods = args.solver or ["exact"]
    settings = {} if args.seed is None else {"seed": args.seed}
    if args.output:
        allocation = solver.solve(problem, methods[0], **settings)
        allocation.save(args.output)
        on_edge = sum(place > 0 for place in allocation.offload)
        print(
            f"{allocation.solver}: {allocation.status}, objective {allocation.objective:.6g}, "
            f"{on_edge} of {len(allocation.offload)} users on the edge, "
            f"{allocation.edge_steps_used} edge steps, {allocation.seconds:.3g} s -> {args.output}"
        )
    if args.compare:
        compare(problem, methods, args.seed or 0, args.csv)
    elif args.sweep:
        sweep(problem, args.sweep, methods, settings, args.csv)
    elif args.pareto:
        pareto(problem, args.csv)


def _check(args: argparse.Namespace) -> None:
    """Raise :class:`InputError` for arguments that do not go together."""
    studied = args.compare or args.sweep or args.pareto
    if not studied and not args.output:
        raise InputError(
            "-o: is missing; allowed: a file for the allocation, "
            "or one of --compare, --sweep, --pareto"
        )
    if args.output and (args.sweep or args.pareto):
        raise InputError(
            f"-o: found '{args.output}' with --sweep or --pareto, which give no single allocation; "
            "allowed: --csv"
        )
    if len(args.solver or []) > 1 and (args.output or not (args.compare or args.sweep)):
        raise InputError(
            f"--solver: found {len(args.solver)} of them; allowed: one, or with --sweep or "
            "--compare and without -o more"
        )
    if args.csv and not studied:
        raise InputError("--csv: allowed only with --compare, --sweep or --pareto")
    if args.csv and args.csv.suffix != ".csv":
        raise InputError(
            f"--csv: found '{args.csv}'; allowed: a name that ends in .csv (its plots: .svg, .pdf)"
        )
    if args.pareto and (args.solver not in (None, ["exact"]) or args.seed is not None):
        raise InputError(
            "--pareto: found --solver or --seed; allowed: neither, as the front is of proven optima"
        )


def compare(problem: Problem, methods: Sequence[str], seed: int, csv: Path | None) -> None:
    """Print the table of all methods, and of those of ``methods`` that are someone's own."""
    others = [method for method in methods if method not in METHODS]
    rows = studies.compare(problem, others, first_seed=seed)
    count = len(METHODS) + 1 + len(others)
    _show(list(tqdm(rows, desc="compare", total=count, delay=2, leave=False)), csv, "compare")


def sweep(
    problem: Problem, text: str, methods: Sequence[str], settings: dict[str, Any], csv: Path | None
) -> None:
    """Print the table of a sweep, ``KEY=START:STOP:STEP``, with each of the methods."""
    key, values = steps_of(text)
    rows = studies.sweep(problem, key, values, *methods, **settings)
    total = len(values) * len(methods)
    _show(list(tqdm(rows, desc=key, total=total, delay=2, leave=False)), csv, "sweep")


def pareto(problem: Problem, csv: Path | None) -> None:
    """Print the Pareto front over the weights, and how many were tried."""
    tried = list(studies.weightings(problem))
    optima = studies.optima(problem, tried)
    rows = list(tqdm(optima, desc="pareto", total=len(tried), delay=2, leave=False))
    front = studies.pareto(rows)
    _show(front, csv, "pareto")
    print(
        f"{len(tried)} weightings tried, {len(front)} different optima "
        "that none of the others beats"
    )
    if open_rows := [row.gap for row in front if row.gap > OPTIMAL]:
        print(f"{len(open_rows)} of them are not proven: at most {max(open_rows):.2g} from optimal")


def steps_of(text: str) -> tuple[str, list[int | float]]:
    """``KEY=START:STOP:STEP`` as the key and its values, with ``STOP`` if a step meets it.

    Raises :class:`InputError` for anything else.
    """
    key, _, spec = text.partition("=")
    try:
        start, stop, step = map(float, spec.split(":"))
        count = math.floor((stop - start) / step + 1e-9) + 1
        if not key or not step or not 1 <= count <= MOST_VALUES:
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        allowed = f"KEY=START:STOP:STEP with 1 to {MOST_VALUES} values, e.g. edge_budget=100:500:50"
        raise InputError(f"--sweep: found '{text}'; allowed: {allowed}") from None
    values = [float(f"{start + index * step:.12g}") for index in range(count)]
    return key, [int(value) if value.is_integer() else value for value in values]


def _show(rows: Sequence[studies.Row], csv: Path | None, kind: str) -> None:
    """Write ``csv`` and its plots beside it; then print the table and below it the notes."""
    written: list[Path] = []
    table = [row.to_dict() for row in rows]
    if csv:
        from testbed.figures import plots

        pictures = [csv.with_suffix(suffix) for suffix in (".svg", ".pdf")]
        written = [csv, pictures[0]]
        tables.write_csv(csv, table)
        getattr(plots, kind)(rows, pictures)
    print(tables.text([{key: row[key] for key in row if key != "note"} for row in table]))
    for row in table:
        if row.get("note"):
            print(f"{next(iter(row.values()))}: {row['note']}")
    if written:
        print(*written, sep="\n")
