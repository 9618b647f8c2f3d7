"""Do predictions hold? Calibrates the embedded models, then predicts and measures prompts, seeds
and step counts not calibrated on.

The calibration is adaptive: as many prompts of each class as its intervals need; as many are held
out. Where time is measured, both kinds of images are generated in turns, so that a drift of the
machine falls on both alike. Run: ``python benchmarks/predictions.py [--run FOLDER] [--out
benchmarks/results/predictions.json]``, an hour on two cores; started again on the same folder it
goes on. The last line is JSON.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.fitting.prediction import curve, degrees, t_quantile
from calibration.profiles import build as profile
from calibration.records.prompt_means import sample
from calibration.sweep import grid as plan
from solver.inputs import write_json
from testbed import config
from testbed.environment import environment
from testbed.runs.store import RecordStore
from testbed.stages import run as chain

HELD_OUT_STEPS = (5, 10, 20)
PILOT = 16
GOALS = {"time": 0.03, "error": 0.05, "utility": 0.05}


def in_turns(first, second):
    """The items of both lists, each in its order, evenly mixed."""
    keyed = [
        ((index + 0.5) / len(some), which, item)
        for which, some in enumerate((first, second))
        for index, item in enumerate(some)
    ]
    return [item for _, _, item in sorted(keyed, key=lambda one: one[:2])]


def held_out(testbed, counts, purpose):
    """Tasks of ``counts`` {class: number} samples that calibration does not see, at the held-out
    steps; prompts first, then further seeds.
    """
    wanted, converged = {}, {testbed.config.sweep.converged_steps: "converged"}
    for name, count in counts.items():
        pool = testbed.data.prompts.held_out(name)
        samples = [
            (pool[i % len(pool)], testbed.execution_seed(pool[i % len(pool)], i // len(pool)))
            for i in range(count)
        ]
        wanted[name] = [
            (
                *one,
                dict.fromkeys(testbed.models, converged | dict.fromkeys(HELD_OUT_STEPS, purpose)),
            )
            for one in samples
        ]
    return plan.in_turns(testbed.models, wanted)


def run(testbed, out):
    """Generate both sets, fit on the one; (profiles, records of the other)."""
    store, timed = (
        RecordStore(out / "calibration"),
        dict.fromkeys(testbed.data.prompts.classes, testbed.config.sweep.prompts_per_class),
    )
    first = held_out(testbed, timed, "sweep")
    testbed.executor.run(in_turns(testbed.adaptive_sweep().tasks(), first), store, "bench")
    profiles, sweep = chain.calibrate(testbed, out)
    used = {
        name: {
            (r["asked"]["prompt"], r["asked"]["seed"])
            for r in sweep["records"]
            if r["asked"]["prompt_class"] == name
        }
        for name in timed
    }
    tasks = held_out(testbed, {name: len(some) for name, some in used.items()}, "untimed")
    testbed.executor.run(tasks, store, "bench")
    return profiles, [store[task.id] for task in first + tasks if task.purpose != "converged"]


def predicted(entry, quantity, steps):
    """(value, its sd, an image's sd, t quantile, the paper's value) of a profile's ``quantity`` at
    ``steps``.
    """
    if quantity == "time":
        fit = entry["time"]
        value = fit["overhead"] + fit["step_time"] * steps
        design = np.array([1.0, steps])
        own = fit["relative_sd"] * value
        return (
            value,
            np.sqrt(design @ np.array(fit["covariance"]) @ design),
            own,
            t_quantile(fit["freedom"]),
            fit["paper"]["step_time"] * steps,
        )
    fit = entry[quantity]
    value, covariance = curve(fit, [steps])
    own = np.interp(
        steps, [point["steps"] for point in fit["points"]], [point["sd"] for point in fit["points"]]
    )
    paper = curve(fit, [steps], fit["paper"])[0][0]
    return value[0], np.sqrt(covariance[0, 0]), own, t_quantile(degrees(fit)), paper


def compare(profiles, records):
    """One row for each place, class, step count and quantity: predicted, measured, and what share
    of images lies inside.
    """
    groups = defaultdict(list)
    for record in records:
        asked = record["asked"]
        for quantity in ("time",) if asked["purpose"] == "sweep" else ("error", "utility"):
            groups[asked["place"], asked["prompt_class"], asked["steps"], quantity].append(record)
    for (place, name, steps, quantity), some in groups.items():
        entry = profile.find(profiles, place, name)
        floor, span = (
            entry["utility"]["floor"],
            entry["utility"]["ceiling"] - entry["utility"]["floor"],
        )
        field, zero, unit = {
            "time": ("time", 0.0, 1.0),
            "error": ("distance", 0.0, entry["error"]["unit"]),
            "utility": ("clip_score", floor, span),
        }[quantity]
        found = (np.array([record["measured"][field] for record in some]) - zero) / unit
        (point,) = sample(some, field, zero, unit).points
        measured = float(np.median(found)) if quantity == "time" else point["value"]
        value, sd, own, t, paper = predicted(entry, quantity, steps)
        yield {
            "place": place,
            "prompt_class": name,
            "steps": steps,
            "quantity": quantity,
            "images": len(found),
            "prompts": point["prompts"],
            "predicted": float(value),
            "measured": measured,
            "measured_se": point["se"],
            "paper": float(paper),
            "inside": bool(abs(measured - value) <= t * np.hypot(sd, point["se"])),
            "images_inside": float(np.mean(np.abs(found - value) <= t * np.hypot(sd, own))),
        }


def summary(rows):
    """Per quantity: median and largest relative error, the paper's, the coverage, and whether the
    goal is met.
    """
    for quantity, goal in GOALS.items():
        some = [row for row in rows if row["quantity"] == quantity]
        errors, paper = (
            np.array([abs(row[name] / row["measured"] - 1) for row in some])
            for name in ("predicted", "paper")
        )
        measured, total = (sum(row[name] for row in some) for name in ("measured", "predicted"))
        yield (
            quantity,
            {
                "median_error": float(np.median(errors)),
                "largest_error": float(errors.max()),
                "total_error": float(total / measured - 1),
                "paper_median_error": float(np.median(paper)),
                "goal": goal,
                "met": bool(np.median(errors) <= goal),
                "means_inside": float(np.mean([row["inside"] for row in some])),
                "images_inside": float(
                    np.average(
                        [row["images_inside"] for row in some],
                        weights=[row["images"] for row in some],
                    )
                ),
            },
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="folder of the images and records (default: a temporary one)"
    )
    parser.add_argument(
        "--half-width",
        type=float,
        default=0.1,
        help="of the calibration's intervals, relative (default: %(default)s)",
    )
    parser.add_argument(
        "--most-prompts", type=int, default=300, help="of a class (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    settings = config.load("embedded")
    extent = {
        "prompts_per_class": PILOT,
        "half_width": args.half_width,
        "most_prompts": args.most_prompts,
        "seeds": (0, 1, 2),
    }
    settings = replace(settings, sweep=replace(settings.sweep, **extent))
    testbed = chain.Testbed(settings)
    with tempfile.TemporaryDirectory() as scratch:
        profiles, records = run(
            testbed, chain.open_run(settings, args.run or Path(scratch) / "run")
        )
    rows = list(compare(profiles, records))
    result = {
        "machine": environment(testbed.device),
        "held_out_steps": HELD_OUT_STEPS,
        "plan": profiles["plan"],
    }
    result |= {"summary": dict(summary(rows)), "rows": rows}
    for quantity, one in result["summary"].items():
        print(
            "{}: median error {median_error:.1%} (goal {goal:.0%}), in total {total_error:+.1%}, the paper's form {paper_median_error:.1%}; "
            "inside their intervals {images_inside:.1%} of the images, {means_inside:.0%} of the means".format(
                quantity, **one
            )
        )
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result["summary"]))


if __name__ == "__main__":
    main()
