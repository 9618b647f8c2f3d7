"""Do predictions hold? Calibrates the embedded models, then predicts and measures prompts, seeds
and step counts that were not calibrated on.

    python -m benchmarks.calibration.predictions --run FOLDER -o benchmarks/results/predictions.json

The calibration is adaptive: it takes as many prompts of each class as its intervals need, and as
many are held out. Where time is measured, both kinds of images are generated in turns, so that a
drift of the machine falls on both alike. It takes an hour on two cores; started again on the same
folder it goes on. The last line is JSON.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.profiles.profile import ClassProfile, Profiles
from calibration.records.prompt_means import prompt_means
from calibration.records.record import Record
from calibration.records.scale import Scale
from calibration.records.task import Task
from calibration.schema import Schema, frozen
from calibration.statistics import t_quantile
from calibration.sweep import grid
from solver.inputs import write_json
from testbed import config
from testbed.data.prompts import ScenePrompts
from testbed.runs.folder import RunFolder
from testbed.stages.calibrate import calibrate
from testbed.stages.rig import Rig, open_folder
from testbed.stages.tasks import adaptive_sweep, execution_seed, sweep_records

HELD_OUT_STEPS = (5, 10, 20)
#: The median relative error that each quantity's predictions should not exceed.
GOALS = {"time": 0.03, "error": 0.05, "utility": 0.05}
SECONDS = Scale("time", 0.0, 1.0)


@dataclass(frozen=True)
class Expected:
    """A predicted mean, its standard error ``se``, an image's ``sd`` about it, the quantile of
    their 95 % intervals, and what the paper's form predicts.
    """

    value: float
    se: float
    sd: float
    quantile: float
    paper: float

    def covers(self, measured: float, sd: float) -> bool:
        """Whether the interval of a value with this ``sd`` of its own holds what was measured."""
        return bool(abs(measured - self.value) <= self.quantile * np.hypot(self.se, sd))


@frozen
class Row(Schema):
    """A mean predicted and measured, with its standard error; ``inside``: its interval holds it.

    ``images_inside``: the share of single images inside theirs.
    """

    place: str
    prompt_class: str
    steps: int
    quantity: str
    images: int
    prompts: int | None
    predicted: float
    measured: float
    measured_se: float | None
    paper: float
    inside: bool
    images_inside: float


@frozen
class Summary(Schema):
    """Relative errors of one quantity over all rows, ``goal`` for their median, and coverage."""

    median_error: float
    largest_error: float
    total_error: float
    paper_median_error: float
    goal: float
    met: bool
    means_inside: float
    images_inside: float


def in_turns(first: Sequence[Task], second: Sequence[Task]) -> list[Task]:
    """The tasks of both lists, each in its order, evenly mixed."""
    keyed = [
        ((index + 0.5) / len(tasks), which, task)
        for which, tasks in enumerate((first, second))
        for index, task in enumerate(tasks)
    ]
    return [task for _, _, task in sorted(keyed, key=lambda entry: entry[:2])]


def held_out(rig: Rig, counts: Mapping[str, int], purpose: str) -> list[Task]:
    """Tasks at the held-out steps of as many draws of each class, prompts first, then further
    seeds, that calibration does not see.
    """
    sweep, source = rig.config.sweep, rig.prompts
    assert isinstance(source, ScenePrompts), "the embedded preset's prompts are scenes"
    asked = {sweep.converged_steps: "converged", **dict.fromkeys(HELD_OUT_STEPS, purpose)}
    wanted = {}
    for name, count in counts.items():
        pool = source.held_out(name)
        prompts = [(pool[i % len(pool)], i // len(pool)) for i in range(count)]
        wanted[name] = [
            ((prompt, execution_seed(prompt, image, sweep.noise)), dict.fromkeys(rig.specs, asked))
            for prompt, image in prompts
        ]
    return grid.in_turns(rig.specs, wanted)


def measure(rig: Rig, folder: RunFolder) -> tuple[Profiles, list[Record]]:
    """Generate both sets and calibrate on the one; returns the profiles and the other's records."""
    rig.choose_threads(folder)
    store, classes = folder.store("calibration"), rig.prompts.classes
    timed = held_out(rig, dict.fromkeys(classes, rig.config.sweep.prompts_per_class), "sweep")
    pilot = adaptive_sweep(rig.config, rig.prompts, rig.specs).tasks()
    rig.executor.run(in_turns(pilot, timed), store, "bench")
    calibrate(rig, folder)
    draws: dict[str, set[tuple[str, int]]] = {name: set() for name in classes}
    for record in sweep_records(folder.records("calibration"), rig.specs):
        draws[record.task.prompt_class].add((record.task.prompt, record.task.seed))
    untimed = held_out(rig, {name: len(used) for name, used in draws.items()}, "untimed")
    store = folder.store("calibration")  # what calibrate() added is in it
    rig.executor.run(untimed, store, "bench")
    tasks = [task for task in timed + untimed if task.purpose != "converged"]
    return folder.need(Profiles), [store[task.id] for task in tasks]


def predict(profile: ClassProfile, quantity: str, steps: int) -> Expected:
    """What a profile says of a quantity at ``steps`` steps."""
    if quantity == "time":
        time, design = profile.time, np.array([1.0, steps])
        seconds = time.seconds(steps)
        return Expected(
            value=seconds,
            se=float(np.sqrt(design @ np.array(time.covariance) @ design)),
            sd=time.relative_sd * seconds,
            quantile=t_quantile(time.dof),
            paper=time.paper.step_time * steps,
        )
    fit = profile.error if quantity == "error" else profile.utility
    value, covariance = evaluate(fit, [steps])
    sd = np.array([point.sd for point in fit.points], float)
    return Expected(
        value=float(value[0]),
        se=float(np.sqrt(covariance[0, 0])),
        sd=float(np.interp(steps, [point.steps for point in fit.points], sd)),
        quantile=t_quantile(degrees_of_freedom(fit)),
        paper=float(evaluate(fit, [steps], fit.paper)[0][0]),
    )


def compare(profiles: Profiles, records: Sequence[Record]) -> Iterator[Row]:
    """A row for each place, class, step count and quantity."""
    groups: dict[tuple[str, str, int, str], list[Record]] = defaultdict(list)
    for record in records:
        task = record.task
        for quantity in ("time",) if task.purpose == "sweep" else ("error", "utility"):
            groups[task.place, task.prompt_class, task.steps, quantity].append(record)
    for (place, name, steps, quantity), group in groups.items():
        profile = profiles.find(place, name)
        scales = {"time": SECONDS, "error": profile.scales.error, "utility": profile.scales.utility}
        scale = scales[quantity]
        values = [scale.of(getattr(record.measured, scale.field)) for record in group]
        (point,) = prompt_means(group, scale).points
        measured = float(np.median(values)) if quantity == "time" else point.value
        expected = predict(profile, quantity, steps)
        yield Row(
            place=place,
            prompt_class=name,
            steps=steps,
            quantity=quantity,
            images=len(values),
            prompts=point.prompts,
            predicted=expected.value,
            measured=measured,
            measured_se=point.se,
            paper=expected.paper,
            inside=expected.covers(measured, point.se or 0.0),
            images_inside=float(np.mean([expected.covers(value, expected.sd) for value in values])),
        )


def summarise(rows: Sequence[Row], goal: float) -> Summary:
    """What the rows of one quantity say together."""
    measured, predicted, paper = (
        np.array([getattr(row, name) for row in rows])
        for name in ("measured", "predicted", "paper")
    )
    errors = np.abs(predicted / measured - 1)
    return Summary(
        median_error=float(np.median(errors)),
        largest_error=float(errors.max()),
        total_error=float(sum(predicted.tolist()) / sum(measured.tolist()) - 1),
        paper_median_error=float(np.median(np.abs(paper / measured - 1))),
        goal=goal,
        met=bool(np.median(errors) <= goal),
        means_inside=float(np.mean([row.inside for row in rows])),
        images_inside=float(
            np.average([row.images_inside for row in rows], weights=[row.images for row in rows])
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        "--pilot",
        type=int,
        default=16,
        help="prompts of a class that the calibration begins with (default: %(default)s)",
    )
    parser.add_argument(
        "--most-prompts", type=int, default=300, help="of a class (default: %(default)s)"
    )
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    args = parser.parse_args()
    preset = config.load("embedded")
    extent = replace(
        preset.sweep,
        prompts_per_class=args.pilot,
        half_width=args.half_width,
        most_prompts=args.most_prompts,
        seeds=(0, 1, 2),
    )
    settings = replace(preset, sweep=extent)
    rig = Rig(settings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = open_folder(settings, args.run or Path(scratch) / "run")
        profiles, records = measure(rig, folder)
    rows = list(compare(profiles, records))
    of_quantity = {
        quantity: [row for row in rows if row.quantity == quantity] for quantity in GOALS
    }
    summary = {name: summarise(of_quantity[name], goal) for name, goal in GOALS.items()}
    for quantity, said in summary.items():
        print(
            f"{quantity}: median error {said.median_error:.1%} (goal {said.goal:.0%}), "
            f"in total {said.total_error:+.1%}, the paper's form {said.paper_median_error:.1%}; "
            f"inside their intervals {said.images_inside:.1%} of the images, "
            f"{said.means_inside:.0%} of the means"
        )
    result: dict[str, Any] = {
        "machine": rig.environment(),
        "held_out_steps": HELD_OUT_STEPS,
        "sweeps": {place.place: place.to_dict()["sweep"] for place in profiles.places},
        "summary": {name: said.to_dict() for name, said in summary.items()},
        "rows": [row.to_dict() for row in rows],
    }
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result["summary"]))


if __name__ == "__main__":
    main()
