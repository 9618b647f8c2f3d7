"""What the adaptive sweep saves: network evaluations at equal interval width, against the uniform
grid over 1…50 that people use.

Both widen by the same rule, a fifth more prompts at a time, until the 95 % intervals of Δt, ε^avg,
C1 and C2 are within the stated relative half-width. First on made-up models of which the truth is
known (do the intervals still cover it, though the sweep stops when they are narrow?), then, with
--run FOLDER, on images of the embedded models: a uniform sweep of so many prompts, and the adaptive
one to the width that it reached. Run:

    python benchmarks/adaptive_sweep.py [--worlds 200] [--run FOLDER --prompts 8] [--out benchmarks/results/sweep.json]

The images take a quarter of an hour on two cores; started again on the same folder it goes on. The
last line is JSON.
"""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.records.task import known
from calibration.sweep.adaptive import UNIFORM, AdaptiveSweep, cells
from calibration.sweep.grid import sweep
from solver.inputs import write_json
from testbed import config
from testbed.environment import environment
from testbed.runs.store import RecordStore
from testbed.stages import run as chain
from testbed.stages.calibrate import error_and_utility_units

STEPS, CONVERGED, WIDTH, PILOT, MOST = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50], 96, 0.1, 6, 2000
MODEL = {
    "model": "made up",
    "device": "none",
    "dtype": "float32",
    "scheduler": "none",
    "guidance": 3.0,
}
UNITS = {"error_unit": 1.0, "utility_floor": 0.0, "utility_ceiling": 1.0}


class World:
    """A model whose curves are the paper's, with prompts that differ: by a factor in error, by an
    amount in utility.
    """

    def __init__(self, seed):
        draw = random.Random(f"world {seed}")
        self.draw = np.random.default_rng(seed)
        self.truth = {
            "step_time": draw.uniform(0.01, 0.1),
            "scale": draw.uniform(0.5, 1.0),
            "decay": draw.uniform(0.03, 0.3),
        }
        self.truth["rate"] = draw.uniform(0.05, 0.5)
        self.differ, self.liked = draw.uniform(0.2, 0.6), draw.uniform(0.02, 0.08)
        self.seed, self.made = seed, {}

    def records(self, tasks):
        """Those of ``tasks``, as an executor returns them."""
        return known(tasks, [self.record(task) for task in tasks])

    def record(self, task):
        """The task's record, the same each time that it is asked for."""
        if task.id not in self.made:
            prompt, steps, noise = (
                random.Random(f"{self.seed}/{task.prompt}"),
                task.steps,
                self.draw.standard_normal(3),
            )
            factor = np.exp(self.differ * prompt.gauss(0, 1) - self.differ**2 / 2)
            error = (
                self.truth["scale"]
                * np.exp(-self.truth["decay"] * steps)
                * factor
                * (1 + 0.2 * noise[0])
            )
            utility = (
                1
                - np.exp(-self.truth["rate"] * steps)
                + self.liked * prompt.gauss(0, 1)
                + 0.03 * noise[1]
            )
            seconds = (0.05 + self.truth["step_time"] * steps) * np.exp(0.03 * noise[2])
            measured = {
                "time": float(seconds),
                "distance": float(error),
                "clip_score": float(utility),
            }
            self.made[task.id] = {"id": task.id, "asked": task.to_dict(), "measured": measured}
        return self.made[task.id]


def adaptive(models, prompts, width, run, units):
    """(outcome, cells) of an adaptive sweep whose tasks ``run`` answers with records."""
    found = AdaptiveSweep(models, prompts, [0], STEPS, CONVERGED, PILOT, width)
    while found.grow(records := run(found.tasks()), units(records)):
        pass
    return found.outcome(), found.cells


def uniform(models, prompts, width, run, units):
    """(evaluations, cells) of the uniform grid with ever more prompts; all places and classes with
    as many.
    """
    count = PILOT
    while True:
        some = {name: texts[:count] for name, texts in prompts.items()}
        records = run(sweep(models, some, [0], UNIFORM.astype(int).tolist(), CONVERGED))
        found = list(cells(records, units(records)))
        if max(cell.half_width() for cell in found) <= width or count >= min(
            map(len, prompts.values())
        ):
            return sum(record["asked"]["steps"] for record in records), found
        count = int(np.ceil(1.2 * count))


def made_up(worlds):
    """Both sweeps in many worlds: evaluations saved, and how often the intervals hold the truth."""
    ratios, inside = [], {"adaptive": [], "uniform": []}
    for seed in range(worlds):
        world, prompts = World(seed), {"all": [f"prompt {index}" for index in range(MOST)]}

        def units(_):
            return {("edge", "all"): UNITS}

        outcome, mine = adaptive({"edge": MODEL}, prompts, WIDTH, world.records, units)
        evaluations, theirs = uniform({"edge": MODEL}, prompts, WIDTH, world.records, units)
        ratios.append(evaluations / outcome["evaluations"])
        for name, some in (("adaptive", mine), ("uniform", theirs)):
            found = {
                parameter: row for cell in some for parameter, row in cell.half_widths().items()
            }
            inside[name].append(
                {
                    key: abs(found[key][0] - true) <= found[key][1] * found[key][0]
                    for key, true in world.truth.items()
                }
            )
    covered = {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for name, rows in inside.items()
    }
    quartiles = dict(
        zip(
            ("least", "quarter", "median", "three_quarters", "most"),
            np.quantile(ratios, [0, 0.25, 0.5, 0.75, 1]).tolist(),
        )
    )
    return {
        "worlds": worlds,
        "half_width": WIDTH,
        "fewer_evaluations": quartiles,
        "coverage": covered,
    }


def real(folder, count):
    """Both on the embedded models: a uniform sweep of ``count`` prompts of each class, and the
    adaptive one to its width.
    """
    settings = config.load("embedded")
    settings = replace(
        settings,
        sweep=replace(
            settings.sweep, steps=tuple(STEPS), prompts_per_class=PILOT, half_width=WIDTH
        ),
    )
    testbed = chain.Testbed(settings)
    store, given = (
        RecordStore(chain.open_run(settings, folder) / "calibration"),
        testbed.given_reference(),
    )
    prompts = {
        name: testbed.data.prompts.calibration(name, testbed.data.prompts.available(name))
        for name in testbed.data.prompts.classes
    }

    def run(tasks):
        return testbed.executor.run(tasks, store, "bench")

    def units(records):
        return error_and_utility_units(testbed, records, store, given)

    some = {name: texts[:count] for name, texts in prompts.items()}
    evaluations, theirs = uniform(testbed.models, some, 0.0, run, units)
    width = max(cell.half_width() for cell in theirs)
    outcome, mine = adaptive(testbed.models, prompts, width, run, units)
    rows = [
        {
            "place": a.place,
            "prompt_class": a.prompt_class,
            "parameter": name,
            "uniform": b.half_widths()[name],
            "adaptive": found,
        }
        for a, b in zip(
            *(
                sorted(some, key=lambda one: (one.place, one.prompt_class, one.quantity))
                for some in (mine, theirs)
            ),
            strict=True,
        )
        for name, found in a.half_widths().items()
    ]
    return {
        "machine": environment(testbed.device),
        "prompts": count,
        "half_width": width,
        "uniform_evaluations": evaluations,
        "adaptive": outcome,
        "fewer_evaluations": evaluations / outcome["evaluations"],
        "rows": rows,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--worlds", type=int, default=200, help="made-up models (default: %(default)s)"
    )
    parser.add_argument(
        "--run",
        type=Path,
        help="folder for images of the embedded models; without it none are made",
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=8,
        help="of each class in the uniform sweep of images (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {"made_up": made_up(args.worlds)}
    summary = {"made_up": result["made_up"]}
    print(json.dumps(result["made_up"], indent=1))
    if args.run:
        result["embedded"] = real(args.run, args.prompts)
        summary["embedded"] = {
            name: result["embedded"][name]
            for name in ("half_width", "uniform_evaluations", "fewer_evaluations")
        }
    if args.out:
        write_json(args.out, result)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
