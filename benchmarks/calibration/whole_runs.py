"""Do the predictions of a default run hold? Many runs drawn from recorded images, some for real.

    testbed calibrate benchmarks/data/pool.toml --out POOL
    python -m benchmarks.calibration.whole_runs --pool POOL --runs 200 --executed 8 --busy 4
        --out FILE

The pool is made once. Each drawn run has other prompts, seeds, users and times. Negative controls
are drawn as often: the edge's model is swapped after the calibration, or the machine has become
slower. Executed runs are default runs with other captions and seeds, ``--busy`` of them beside a
process that keeps one core busy; those that FILE holds are not made again. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.calibration.resampled_runs import Change, Pool, run
from calibration.validation.validation import Validation
from calibration.validation.verdict import FAIL, NOT_TESTED, PREDICTION
from calibration.validation.verdicts import headline, verdicts
from solver.inputs import read_json, write_json
from testbed import config
from testbed.environment import environment
from testbed.models.pipelines import pick_device
from testbed.report.format import toml
from testbed.runs.folder import RunFolder

CHANGES = {
    "none": Change(),
    "model swapped": Change(swapped=True),
    "machine 20 % slower": Change(slower=1.2),
    "machine 40 % slower": Change(slower=1.4),
}
USERS = 30


def summary(validations: Iterable[Validation]) -> dict[str, Any]:
    """Of each total: how often its interval holds, and how wide it is; of whole runs: how often a
    prediction fails, or could not be tested.
    """
    rows, failed, untested, runs = defaultdict(list), 0, 0, 0
    for validation in validations:
        runs += 1
        judged = [each for each in verdicts(validation) if each.about == PREDICTION]
        failed += any(each.verdict == FAIL for each in judged)
        untested += any(each.verdict == NOT_TESTED for each in judged)
        for total in validation.totals:
            if total.inside is not None and total.basis != "modelled":
                rows[total.quantity].append(total)
    return {
        "runs": runs,
        "failed": failed / runs,
        "not_tested": untested / runs,
        "totals": {
            name: {
                "inside": float(np.mean([total.inside for total in totals])),
                "below": float(np.mean([total.measured < total.low for total in totals])),
                "above": float(np.mean([total.measured > total.high for total in totals])),
                "half_width": float(
                    np.median([(t.high - t.low) / 2 / abs(t.predicted) for t in totals])
                ),
                "mean_error": float(np.mean([total.relative_error or 0.0 for total in totals])),
                "median_absolute_error": float(
                    np.median([abs(total.relative_error or 0.0) for total in totals])
                ),
            }
            for name, totals in rows.items()
        },
    }


def drawn(pool: Pool, runs: int, users: int = USERS) -> dict[str, list[Validation]]:
    """The validations of ``runs`` runs with the default preset's numbers of images, by change."""
    sweep = config.load("embedded").sweep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [
            run(pool, seed, sweep.prompts_per_class, sweep.timed, users, list(CHANGES.values()))
            for seed in range(runs)
        ]
    return dict(zip(CHANGES, map(list, zip(*rows, strict=True)), strict=True))


def execute(seed: int, busy: bool) -> dict[str, Any]:
    """A default run for real, with its own captions and seeds of noise, classes and devices."""
    settings = config.load("embedded")
    scenario = {**settings.scenario, "seed": seed}
    sweep = replace(settings.sweep, seeds=(seed,))
    settings = replace(settings, scenario=scenario, sweep=sweep)
    command = [sys.executable, "-m", "benchmarks.calibration.default_run", str(seed)]
    with tempfile.TemporaryDirectory() as scratch:
        path, out = Path(scratch) / "run.toml", Path(scratch) / "run"
        path.write_text(toml(settings.to_dict()), encoding="utf-8")
        neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        start = time.monotonic()
        try:
            subprocess.run([*command, path, "--out", out], check=True)
        finally:
            if neighbour:
                neighbour.kill()
        seconds = time.monotonic() - start
        folder = RunFolder.read(out)
        validation = folder.need(Validation)
    judged = verdicts(validation)
    return {
        "seed": seed,
        "busy": busy,
        "seconds": seconds,
        "environment": environment(pick_device()),
        "headline": headline(judged),
        "verdicts": Counter(each.verdict for each in judged if each.about == PREDICTION),
        "totals": [total.to_dict() for total in validation.totals],
    }


def executed_summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the executed runs, undisturbed and beside a busy core: how many hold, and each total's
    share of intervals that hold; how many times as long the busy ones took, by medians.
    """
    shown: dict[str, Any] = {}
    seconds = {}
    for name, busy in (("undisturbed", False), ("busy", True)):
        chosen = [each for each in runs if each["busy"] == busy]
        inside = defaultdict(list)
        for total in (total for each in chosen for total in each["totals"]):
            if total["inside"] is not None and total["basis"] != "modelled":
                inside[total["quantity"]].append(total["inside"])
        shown[name] = {
            "runs": len(chosen),
            "without_fail": sum(FAIL not in each["verdicts"] for each in chosen),
            "inside": {
                quantity: f"{sum(held)} of {len(held)}" for quantity, held in inside.items()
            },
        }
        seconds[name] = [each["seconds"] for each in chosen]
    if all(seconds.values()):
        shown["times_as_long"] = median(seconds["busy"]) / median(seconds["undisturbed"])
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=Path, help="run folder of benchmarks/data/pool.toml")
    parser.add_argument("--runs", type=int, default=200, help="drawn runs (default: %(default)s)")
    parser.add_argument("--users", type=int, default=USERS, help="drawn (default: %(default)s)")
    parser.add_argument("--executed", type=int, default=0, help="runs for real")
    parser.add_argument("--busy", type=int, default=0, help="runs for real beside a busy core")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = read_json(args.out) if args.out and args.out.exists() else {}

    def keep(**parts: Any) -> None:
        result.update(parts)
        if args.out:
            write_json(args.out, result)

    if args.pool:
        pool = Pool.read(args.pool)
        keep(environment=environment(pick_device()))
        told = drawn(pool, args.runs, args.users)
        name = "drawn" if args.users == USERS else f"drawn, {args.users} users"
        keep(**{name: {change: summary(own) for change, own in told.items()}})
    for busy, count in ((False, args.executed), (True, args.busy)):
        for seed in range(100 * busy, 100 * busy + count):
            runs = result.get("executed", [])
            if (seed, busy) not in [(each["seed"], each["busy"]) for each in runs]:
                runs = [*runs, execute(seed, busy)]
                keep(executed=runs, summary=executed_summary(runs))
                print(runs[-1]["headline"], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
