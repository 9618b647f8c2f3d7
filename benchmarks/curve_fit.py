"""Can the fitted curves be believed? Against published curves, known truths, and NIST's certified
values.

Run: ``python benchmarks/curve_fit.py [--sweeps 2000] [--out benchmarks/results/fit.json]``, about
four minutes. The last line is JSON.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from calibration.fitting.families import FAMILIES
from calibration.fitting.fit import fit_curve, fit_report
from calibration.fitting.least_squares import minimise, response
from solver.inputs import write_json

DATA = Path(__file__).parent.parent / "benchmarks" / "data"

SPLITS = {
    "interpolating": ([3, 5, 7, 9], [4, 6, 8, 10], 3.5),
    "extrapolating": ([3, 4, 5, 6, 7], [8, 9, 10], 5.0),
}

GRID = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 32])
NEW = [5, 10, 20, 24]
BEYOND = 48
# name -> the range that each true parameter is drawn from, and that of a point's sd (relative for
# an error)
TRUTHS = {
    "exponential": ({"scale": (0.5, 2), "decay": (0.03, 0.2)}, (0.03, 0.1)),
    "exponential_floor": (
        {"scale": (0.5, 2), "decay": (0.1, 0.5), "floor": (0.05, 0.3)},
        (0.03, 0.1),
    ),
    "power": ({"scale": (0.5, 2), "exponent": (0.3, 1.5)}, (0.03, 0.1)),
    "power_floor": ({"scale": (0.5, 2), "exponent": (0.7, 1.5), "floor": (0.1, 0.4)}, (0.03, 0.1)),
    "saturating": ({"rate": (0.05, 0.5)}, (0.01, 0.03)),
    "saturating_amplitude": ({"amplitude": (0.5, 1), "rate": (0.1, 0.5)}, (0.01, 0.03)),
    "saturating_offset": (
        {"ceiling": (0.5, 1), "drop": (0.3, 0.8), "rate": (0.1, 0.5)},
        (0.01, 0.03),
    ),
    "power_ceiling": (
        {"ceiling": (0.7, 1), "drop": (0.4, 0.8), "exponent": (0.7, 1.5)},
        (0.01, 0.03),
    ),
}

NIST = {
    "Misra1a": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "BoxBOD": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Chwirut2": lambda b, x: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Lanczos3": lambda b, x: (
        b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)
    ),
    "MGH17": lambda b, x: b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4]),
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
    "Rat42": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Thurber": lambda b, x: (
        (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)
    ),
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "Eckerle4": lambda b, x: b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Roszman1": lambda b, x: b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi,
}


def published(file):
    """{split: {curve: [relative error of each prediction]}} and the share of values inside their 95
    % intervals, per split.
    """
    data = json.loads((DATA / file).read_text())
    errors, inside = {}, {}
    for split, (known, asked, _) in SPLITS.items():
        errors[split], inside[split] = {}, []
        for name, values in data["curves"].items():
            at = dict(zip(data["steps"], values, strict=True))
            report = fit_report(
                [{"steps": s, "value": at[s], "sd": None} for s in known], predict=asked
            )
            errors[split][name] = [
                one["value"] / at[one["steps"]] - 1 for one in report["predictions"]
            ]
            inside[split] += [
                one["low"] <= at[one["steps"]] <= one["high"] for one in report["predictions"]
            ]
    return errors, {split: float(np.mean(found)) for split, found in inside.items()}


def coverage(name, sweeps, seed=0):
    """How often the 95 % intervals hold the truth over so many synthetic sweeps of one family:
    {parameter or prediction: share}.

    Every second sweep comes with its points' sd. ``new`` is a point measured anew within the grid,
    ``beyond`` one outside.
    """
    rng, family, (ranges, noise) = np.random.default_rng(seed), FAMILIES[name], TRUTHS[name]
    held = {parameter: [] for parameter in (*family.parameters, "new", "beyond")}
    for turn in range(sweeps):
        truth = np.array([rng.uniform(*ranges[parameter]) for parameter in family.parameters])
        size = rng.uniform(*noise)

        def measured(steps, truth=truth, size=size):
            values = family.function(np.asarray(steps, float), truth)
            sd = size * (values if family.kind == "error" else np.ones_like(values))
            return values + sd * rng.standard_normal(len(values)), sd

        values, sd = measured(GRID)
        points = [
            {"steps": int(s), "value": v, "sd": e if turn % 2 else None}
            for s, v, e in zip(GRID, values, sd, strict=True)
        ]
        report = fit_report(points, [*NEW, BEYOND], family.kind, anyway=True)
        entry = next(one for one in report["families"] if one["family"] == name)
        for parameter, value in zip(family.parameters, truth, strict=True):
            low, high = entry["intervals"][parameter]
            held[parameter].append(low <= value <= high)
        for one, value in zip(report["predictions"], measured([*NEW, BEYOND])[0], strict=True):
            held["beyond" if one["extrapolated"] else "new"].append(
                one["low"] <= value <= one["high"]
            )
    return {key: float(np.mean(found)) for key, found in held.items()}


def certified(name):
    """A NIST StRD problem: (x, y, starts, values, standard errors), the starts shape (2, k)."""
    rows = [
        line.split()
        for line in (DATA / "nist" / f"{name}.dat").read_text().splitlines()
        if not line.startswith("#")
    ]
    parameters = np.array([row[1:] for row in rows if row[0].startswith("b")], float).T
    y, x = np.array([row for row in rows if row[0][0] in "-.0123456789"], float).T
    return x, y, parameters[:2], parameters[2], parameters[3]


def solved(name, start):
    """Correct digits of a NIST problem's values and standard errors from its start 1 or 2."""
    x, y, starts, values, errors = certified(name)

    def gradient(b, step=1e-200):  # exact: the imaginary part of a step too small to round
        turned = b.astype(complex) + 1j * step * np.maximum(np.abs(b), 1e-8)[:, None] * np.eye(
            len(b)
        )
        return np.stack([NIST[name](one, x).imag for one in turned], 1) / (
            step * np.maximum(np.abs(b), 1e-8)
        )

    b = minimise(
        lambda b: NIST[name](b, x), gradient, y, np.ones_like(y), starts[start - 1 : start]
    )
    inverse, _ = response(gradient(b))
    found = np.sqrt(
        np.sum(inverse**2, axis=1) * np.sum((y - NIST[name](b, x)) ** 2) / (len(y) - len(b))
    )
    return digits(b, values), digits(found, errors)


def digits(found, certified):
    """The least number of correct digits, at most the 11 that NIST certifies."""
    return float(
        np.clip(np.min(-np.log10(np.maximum(np.abs(found / certified - 1), 1e-11))), 0, 11)
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--sweeps",
        type=int,
        default=2000,
        help="synthetic sweeps per family (default: %(default)s)",
    )
    options.add_argument("--out", type=Path)
    args = options.parse_args()
    result = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "sweeps": args.sweeps,
        "published": {},
        "coverage": {},
        "nist": {},
    }
    started = time.perf_counter()

    print(
        "Published curves: median error of predictions (goal), in brackets the mean, and the share inside the 95 % intervals"
    )
    for file in ("fid_vs_steps.json", "fid_vs_steps_more.json"):
        errors, inside = published(file)
        for split, (known, asked, goal) in SPLITS.items():
            every = 100 * np.abs(np.concatenate(list(errors[split].values())))
            row = {
                "median_percent": float(np.median(every)),
                "mean_percent": float(np.mean(every)),
                "inside": inside[split],
            }
            result["published"][f"{file}: {split}"] = row
            print(
                f"  {file:24} fit {known} -> {asked}: {row['median_percent']:.2f} % (<= {goal} %) [{row['mean_percent']:.2f} %], {inside[split]:.0%}"
            )

    points = np.array([[s, 2 * 0.8**s + 0.3] for s in GRID])
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        fit_curve(points[:, 0], points[:, 1] * (1 + 0.03 * np.cos(points[:, 0])))
        taken.append(time.perf_counter() - begun)
    result["fit_seconds"] = float(np.median(taken))
    print(f"One fit of 9 points: {1000 * result['fit_seconds']:.0f} ms")

    print(f"Coverage of 95 % intervals, {args.sweeps} sweeps per family (goal: 93-97 %)")
    for name in TRUTHS:
        result["coverage"][name] = coverage(name, args.sweeps)
        print(
            f"  {name:22}"
            + "  ".join(
                f"{key} {100 * share:.1f}" for key, share in result["coverage"][name].items()
            ),
            flush=True,
        )

    print("NIST StRD: correct digits of values | standard errors (goal: 6)")
    for name in NIST:
        start = 1 if min(solved(name, 1)) >= 6 else 2
        values, errors = solved(name, start)
        result["nist"][name] = {"start": start, "values": values, "standard_errors": errors}
        print(f"  {name:10} start {start}: {values:4.1f} | {errors:4.1f}")

    result["seconds"] = time.perf_counter() - started
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
