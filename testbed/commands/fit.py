"""``testbed fit``: a curve through anyone's points."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from solver.inputs import InputError, to_json, write_json
from testbed.commands.parsing import add_verb

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed fit``."""
    parser = add_verb(
        verbs,
        "fit",
        _fit,
        "fit anyone's quality-against-steps curve",
        "testbed fit points.csv --predict 4,6,8 -o fit.json",
    )
    parser.add_argument(
        "points",
        type=Path,
        help="CSV with columns steps,value and optionally sd (the value's standard error)",
    )
    parser.add_argument("--predict", help="step counts to predict, separated by commas")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="take an estimate that the points do not support, which is refused otherwise",
    )
    parser.add_argument("-o", "--output", type=Path, help="fit/1 JSON (default: print it)")


def _fit(args: argparse.Namespace) -> None:
    try:
        steps = [int(count) for count in args.predict.split(",")] if args.predict else []
    except ValueError:
        raise InputError(
            f"--predict: found '{args.predict}'; "
            "allowed: whole numbers separated by commas, e.g. 4,6,8"
        ) from None
    from calibration.fitting.fit import fit_report
    from calibration.fitting.points import points_from_csv

    points = points_from_csv(args.points)
    report = fit_report(points, predict=steps, force=args.anyway, where=str(args.points)).to_dict()
    if args.output:
        write_json(args.output, report)
        print(args.output)
    else:
        print(to_json(report, str(args.points), indent=1))
