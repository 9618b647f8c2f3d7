"""Fitted curves against published curves, known truths and NIST's certified values.

    python -m benchmarks.calibration.curve_fit --sweeps 2000 -o benchmarks/results/fit.json

It takes about four minutes. The last line is JSON.
"""

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.calibration import nist
from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.families import FAMILIES
from calibration.fitting.fit import fit_curve, fit_report
from calibration.fitting.prediction import predict
from calibration.statistics import Array
from solver.inputs import write_json

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = ("fid_vs_steps.json", "fid_vs_steps_more.json")
LONG = ("published_learn.json", "published_judge.json")
LEAST_POINTS = 4  # from which later points are predicted


class Split(NamedTuple):
    """Steps to fit, steps to predict, and the goal for the median error in percent."""

    known: list[int]
    predicted: list[int]
    goal: float


SPLITS = {
    "interpolating": Split([3, 5, 7, 9], [4, 6, 8, 10], 3.5),
    "extrapolating": Split([3, 4, 5, 6, 7], [8, 9, 10], 5.0),
}

GRID = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 32])
NEW = [5, 10, 20, 24]  # within the grid
BEYOND = 48


class Truth(NamedTuple):
    """The range that each true parameter is drawn from, and that of a point's sd (relative for an
    error).
    """

    parameters: dict[str, tuple[float, float]]
    noise: tuple[float, float]


TRUTHS = {
    "exponential": Truth({"scale": (0.5, 2), "decay": (0.03, 0.2)}, (0.03, 0.1)),
    "exponential_floor": Truth(
        {"scale": (0.5, 2), "decay": (0.1, 0.5), "floor": (0.05, 0.3)},
        (0.03, 0.1),
    ),
    "power": Truth({"scale": (0.5, 2), "exponent": (0.3, 1.5)}, (0.03, 0.1)),
    "power_floor": Truth(
        {"scale": (0.5, 2), "exponent": (0.7, 1.5), "floor": (0.1, 0.4)}, (0.03, 0.1)
    ),
    "saturating": Truth({"rate": (0.05, 0.5)}, (0.01, 0.03)),
    "saturating_amplitude": Truth({"amplitude": (0.5, 1), "rate": (0.1, 0.5)}, (0.01, 0.03)),
    "saturating_offset": Truth(
        {"ceiling": (0.5, 1), "drop": (0.3, 0.8), "rate": (0.1, 0.5)},
        (0.01, 0.03),
    ),
    "power_ceiling": Truth(
        {"ceiling": (0.7, 1), "drop": (0.4, 0.8), "exponent": (0.7, 1.5)},
        (0.01, 0.03),
    ),
}


def published(file: str) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Predictions of the curves in ``file``: {split: {curve: relative error of each}}, and {split:
    share of the values inside their 95 % intervals}.
    """
    data = json.loads((DATA / file).read_text())
    errors: dict[str, dict[str, list[float]]] = {}
    inside = {}
    for name, split in SPLITS.items():
        errors[name], hits = {}, []
        for curve, values in data["curves"].items():
            at = dict(zip(data["steps"], values, strict=True))
            report = fit_report([CurvePoint(s, at[s]) for s in split.known], split.predicted)
            errors[name][curve] = [row.value / at[row.steps] - 1 for row in report.predictions]
            hits += [row.low <= at[row.steps] <= row.high for row in report.predictions]
        inside[name] = float(np.mean(hits))
    return errors, inside


def leave_out(file: str) -> dict[str, list[tuple[float, bool]]]:
    """Points of the curves in ``file`` predicted from others: {which: [(percent off, is inside its
    95 % interval)]}.

    ``inner``: each point but the ends, from all others; ``up to twice as far`` and ``farther``: all
    later points, from the first :data:`LEAST_POINTS` and more.
    """
    rows = defaultdict(list)
    for curve in json.loads((DATA / file).read_text())["curves"].values():
        points = list(zip(curve["steps"], curve["values"], strict=True))
        splits = [(points[:i] + points[i + 1 :], [points[i]]) for i in range(1, len(points) - 1)]
        splits += [(points[:m], points[m:]) for m in range(LEAST_POINTS, len(points))]
        for known, left_out in splits:
            steps, values = zip(*known, strict=True)
            rows_of_split = predict(fit_curve(steps, values), [s for s, _ in left_out])
            for row, (s, value) in zip(rows_of_split, left_out, strict=True):
                far = "up to twice as far" if s <= 2 * steps[-1] else "farther"
                which = far if row.extrapolated else "inner"
                off = 100 * abs(row.value / value - 1)
                rows[which].append((off, row.low <= value <= row.high))
    return dict(rows)


def coverage(name: str, sweeps: int, seed: int = 0) -> dict[str, float]:
    """How often the 95 % intervals hold the truth over so many synthetic sweeps of one family:
    {parameter or prediction: share}.

    Every second sweep comes with its points' sd. ``new`` is a point measured anew within the grid,
    ``beyond`` one outside.
    """
    rng, family, ranges = np.random.default_rng(seed), FAMILIES[name], TRUTHS[name]
    held = defaultdict(list)
    for number in range(sweeps):
        truth = np.array([rng.uniform(*ranges.parameters[key]) for key in family.parameters])
        size = rng.uniform(*ranges.noise)

        def measure(steps: Array, truth: Array = truth, size: float = size) -> tuple[Array, Array]:
            values = family.function(steps, truth)
            sd = size * (values if family.kind == "error" else np.ones_like(values))
            return values + sd * rng.standard_normal(len(values)), sd

        values, sd = measure(GRID)
        points = [
            CurvePoint(int(s), v, se=e if number % 2 else None)
            for s, v, e in zip(GRID, values, sd, strict=True)
        ]
        report = fit_report(points, [*NEW, BEYOND], family.kind, force=True)
        member = next(fit for fit in report.families if fit.family == name)
        for parameter, value in zip(family.parameters, truth, strict=True):
            low, high = member.intervals[parameter]
            held[parameter].append(low <= value <= high)
        anew = measure(np.array([*NEW, BEYOND], float))[0]
        for row, value in zip(report.predictions, anew, strict=True):
            held["beyond" if row.extrapolated else "new"].append(row.low <= value <= row.high)
    return {key: float(np.mean(held[key])) for key in (*family.parameters, "new", "beyond")}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--sweeps",
        type=int,
        default=2000,
        help="synthetic sweeps per family (default: %(default)s)",
    )
    options.add_argument("-o", "--out", type=Path)
    args = options.parse_args()
    started = time.perf_counter()
    result = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "sweeps": args.sweeps,
        "published": _published(),
        "left_out": _left_out(),
        "fit_seconds": _fit_seconds(),
        "coverage": _coverage(args.sweeps),
        "nist": _nist(),
    }
    result["seconds"] = time.perf_counter() - started
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


def _published() -> dict[str, dict[str, float]]:
    print(
        "Published curves: median error of predictions (goal), in brackets the mean, "
        "and the share inside the 95 % intervals"
    )
    rows = {}
    for file in PUBLISHED:
        errors, inside = published(file)
        for name, split in SPLITS.items():
            percent = 100 * np.abs(np.concatenate(list(errors[name].values())))
            median, mean = float(np.median(percent)), float(np.mean(percent))
            rows[f"{file}: {name}"] = {
                "median_percent": median,
                "mean_percent": mean,
                "inside": inside[name],
            }
            print(
                f"  {file:24} fit {split.known} -> {split.predicted}: {median:.2f} % "
                f"(<= {split.goal} %) [{mean:.2f} %], {inside[name]:.0%}"
            )
    return rows


def _left_out() -> dict[str, dict[str, float]]:
    print(
        "Points left out of published curves: median, 90th percentile and worst error in percent, "
        "and the share inside the 95 % intervals"
    )
    rows = {}
    for file in LONG:
        for which, predicted in leave_out(file).items():
            off, inside = np.array(predicted, float).T
            summary = {
                "median_percent": float(np.median(off)),
                "p90_percent": float(np.quantile(off, 0.9)),
                "worst_percent": float(off.max()),
                "inside": float(inside.mean()),
                "predictions": len(off),
            }
            rows[f"{file}: {which}"] = summary
            print(
                f"  {file:22}{which:20}{len(off):4} predictions: {summary['median_percent']:.1f} "
                f"{summary['p90_percent']:.1f} {summary['worst_percent']:.0f}, "
                f"{summary['inside']:.0%}"
            )
    return rows


def _fit_seconds() -> float:
    values = (2 * 0.8**GRID + 0.3) * (1 + 0.03 * np.cos(GRID))
    timings = []
    for _ in range(20):
        begun = time.perf_counter()
        fit_curve(GRID, values)
        timings.append(time.perf_counter() - begun)
    seconds = float(np.median(timings))
    print(f"One fit of 9 points: {1000 * seconds:.0f} ms")
    return seconds


def _coverage(sweeps: int) -> dict[str, dict[str, float]]:
    print(f"Coverage of 95 % intervals, {sweeps} sweeps per family (goal: 93-97 %)")
    rows = {}
    for name in TRUTHS:
        rows[name] = coverage(name, sweeps)
        shares = "  ".join(f"{key} {100 * share:.1f}" for key, share in rows[name].items())
        print(f"  {name:22}{shares}", flush=True)
    return rows


def _nist() -> dict[str, dict[str, Any]]:
    print("NIST StRD: correct digits of values | standard errors (goal: 6)")
    rows = {}
    for name in nist.MODELS:
        start = 1 if min(nist.solve(name, 1)) >= 6 else 2
        digits = nist.solve(name, start)
        rows[name] = {"start": start, **digits._asdict()}
        print(f"  {name:10} start {start}: {digits.values:4.1f} | {digits.standard_errors:4.1f}")
    return rows


if __name__ == "__main__":
    main()
