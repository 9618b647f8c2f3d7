"""What the adaptive sweep saves: evaluations of the denoiser at equal interval width, against the
uniform grid over 1 to 50 steps that people use.

    python -m benchmarks.calibration.adaptive_sweep -o benchmarks/results/sweep.json
    python -m benchmarks.calibration.adaptive_sweep --worlds 200 --run FOLDER --prompts 8

Both sweeps take a fifth more prompts at a time, until the 95 % intervals of Δt, ε^avg, C1 and C2
are within the stated relative half-width. The first part runs on made-up models whose true curves
are known. It also asks whether the intervals still cover the truth, since the sweep stops when they
are narrow. With ``--run FOLDER`` both run on images of the embedded models: the uniform sweep with
``--prompts`` prompts, and the adaptive one to the width that the uniform one reached. The images
take a quarter of an hour on two cores; started again on the same folder it goes on. The last line
is JSON.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.records.record import Measured, Record, as_of
from calibration.records.scale import Scales
from calibration.records.task import ModelSpec, Task
from calibration.schema import Schema, frozen
from calibration.sweep.adaptive import AdaptiveSweep
from calibration.sweep.cells import UNIFORM, Cell, cells
from calibration.sweep.grid import sweep
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import write_json
from testbed import config
from testbed.metrics.reference import given_reference
from testbed.metrics.scales import error_and_utility_scales
from testbed.stages.rig import Rig, open_folder

STEPS, CONVERGED, WIDTH, PILOT = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50], 96, 0.1, 6
#: Prompts of a made-up model: more than any sweep takes.
PROMPTS = {"all": [f"prompt {index}" for index in range(2000)]}
MODELS = {
    "edge": ModelSpec("made up", device="none", dtype="float32", scheduler="none", guidance=3.0)
}
QUANTILES = {"least": 0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "most": 1}

#: Measures tasks, and returns their records.
Run = Callable[[list[Task]], list[Record]]
#: The scales that records make, by place and prompt class.
ScalesOf = Callable[[list[Record]], Mapping[tuple[str, str], Scales]]
Models = Mapping[str, ModelSpec]
Prompts = Mapping[str, Sequence[str]]


@frozen
class MadeUp(Schema):
    """Both sweeps on made-up models.

    ``fewer_evaluations``: quantiles over the ``worlds`` of the uniform sweep's evaluations over the
    adaptive one's. ``coverage``: by sweep and parameter, the share of intervals with the truth in.
    """

    worlds: int
    half_width: float
    fewer_evaluations: dict[str, float]
    coverage: dict[str, dict[str, float]]


@frozen
class Width(Schema):
    """A parameter's value and the relative half-width of its interval, by either sweep."""

    place: str
    prompt_class: str
    parameter: str
    uniform: tuple[float | None, float]
    adaptive: tuple[float | None, float]


@frozen
class Embedded(Schema):
    """Both sweeps on the embedded models; ``adaptive``: by place."""

    machine: Mapping[str, Any]
    prompts: int
    half_width: float
    uniform_evaluations: int
    adaptive: dict[str, SweepOutcome]
    fewer_evaluations: float
    rows: tuple[Width, ...]


class World:
    """A model whose curves are the paper's, ``truth`` their parameters.

    Its prompts differ: by a factor in error, by an amount in utility.
    """

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"world {seed}")
        self.truth = {
            "step_time": draw.uniform(0.01, 0.1),
            "scale": draw.uniform(0.5, 1.0),
            "decay": draw.uniform(0.03, 0.3),
            "rate": draw.uniform(0.05, 0.5),
        }
        self._error_sd, self._utility_sd = draw.uniform(0.2, 0.6), draw.uniform(0.02, 0.08)
        self._noise = np.random.default_rng(seed)
        self._seed, self._records = seed, dict[str, Record]()

    def run(self, tasks: list[Task]) -> list[Record]:
        """The records of ``tasks``, as an executor returns them."""
        return as_of(tasks, [self._record(task) for task in tasks])

    def _record(self, task: Task) -> Record:
        """The task's record, the same each time that it is asked for."""
        if task.id not in self._records:
            self._records[task.id] = Record(task.id, task, self._measure(task.prompt, task.steps))
        return self._records[task.id]

    def _measure(self, prompt_text: str, steps: int) -> Measured:
        prompt, noise, truth = (
            random.Random(f"{self._seed}/{prompt_text}"),
            self._noise.standard_normal(3),
            self.truth,
        )
        factor = np.exp(self._error_sd * prompt.gauss(0, 1) - self._error_sd**2 / 2)
        error = truth["scale"] * np.exp(-truth["decay"] * steps) * factor * (1 + 0.2 * noise[0])
        liked = self._utility_sd * prompt.gauss(0, 1)
        utility = 1 - np.exp(-truth["rate"] * steps) + liked + 0.03 * noise[1]
        seconds = (0.05 + truth["step_time"] * steps) * np.exp(0.03 * noise[2])
        return Measured(
            text_time=0.0,
            step_times=(),
            decode_time=0.0,
            time=float(seconds),
            energy_j=None,
            distance=float(error),
            clip_score=float(utility),
        )


def adaptive(
    models: Models, prompts: Prompts, width: float, run: Run, scales: ScalesOf
) -> tuple[dict[str, SweepOutcome], list[Cell]]:
    """The outcome by place, and the cells, of an adaptive sweep."""
    growing = AdaptiveSweep(models, prompts, [0], STEPS, CONVERGED, PILOT, width)
    while True:
        records = run(growing.tasks())
        of_class = scales(records)
        if not growing.grow(records, of_class):
            return growing.outcome(), list(cells(records, of_class))


def uniform(
    models: Models, prompts: Prompts, width: float, run: Run, scales: ScalesOf
) -> tuple[int, list[Cell]]:
    """The evaluations and the cells of the uniform grid with ever more prompts.

    All places and classes take equally many.
    """
    count, most = PILOT, min(map(len, prompts.values()))
    while True:
        chosen = {name: texts[:count] for name, texts in prompts.items()}
        records = run(sweep(models, chosen, [0], UNIFORM.astype(int).tolist(), CONVERGED))
        measured = list(cells(records, scales(records)))
        if max(cell.half_width() for cell in measured) <= width or count >= most:
            return sum(record.task.steps for record in records), measured
        count = int(np.ceil(1.2 * count))


def made_up(worlds: int) -> MadeUp:
    """Both sweeps in many worlds: evaluations saved, and how often the intervals hold the truth."""
    ratios: list[float] = []
    inside: dict[str, list[dict[str, bool]]] = {"adaptive": [], "uniform": []}

    def scales(_: list[Record]) -> dict[tuple[str, str], Scales]:
        return {("edge", "all"): Scales.of(1.0, 0.0, 1.0)}

    for seed in range(worlds):
        world = World(seed)
        outcome, of_adaptive = adaptive(MODELS, PROMPTS, WIDTH, world.run, scales)
        evaluations, of_uniform = uniform(MODELS, PROMPTS, WIDTH, world.run, scales)
        ratios.append(evaluations / total(outcome))
        inside["adaptive"].append(covered(of_adaptive, world.truth))
        inside["uniform"].append(covered(of_uniform, world.truth))
    return MadeUp(
        worlds=worlds,
        half_width=WIDTH,
        fewer_evaluations={
            name: float(np.quantile(ratios, share)) for name, share in QUANTILES.items()
        },
        coverage={
            name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            for name, rows in inside.items()
        },
    )


def covered(measured: Sequence[Cell], truth: Mapping[str, float]) -> dict[str, bool]:
    """By parameter: does its interval hold the truth?"""
    widths = {name: row for cell in measured for name, row in cell.half_widths().items()}
    return {name: holds(*widths[name], true) for name, true in truth.items()}


def holds(value: float | None, half: float, true: float) -> bool:
    """Whether an interval of relative half-width ``half`` about ``value`` holds the truth."""
    return value is not None and abs(value - true) <= half * value


def real(path: Path, count: int) -> Embedded:
    """Both sweeps on the embedded models, ``count`` prompts of each class in the uniform one."""
    preset = config.load("embedded")
    extent = replace(preset.sweep, steps=tuple(STEPS), prompts_per_class=PILOT, half_width=WIDTH)
    settings = replace(preset, sweep=extent)
    rig = Rig(settings)
    folder = open_folder(settings, path)
    rig.choose_threads(folder)
    store = folder.store("calibration")
    given = given_reference(settings.quality, rig.prompts, rig.quality)
    assert given is not None, "the embedded preset's reference are drawn scenes"
    prompts = {
        name: rig.prompts.calibration(name, rig.prompts.available(name))
        for name in rig.prompts.classes
    }

    def run(tasks: list[Task]) -> list[Record]:
        return rig.executor.run(tasks, store, "bench")

    def scales(records: list[Record]) -> dict[tuple[str, str], Scales]:
        return error_and_utility_scales(records, rig.specs, given, store.image, rig.quality.clip)

    few = {name: texts[:count] for name, texts in prompts.items()}
    evaluations, of_uniform = uniform(rig.specs, few, 0.0, run, scales)
    width = max(cell.half_width() for cell in of_uniform)
    outcome, of_adaptive = adaptive(rig.specs, prompts, width, run, scales)
    return Embedded(
        machine=rig.environment(),
        prompts=count,
        half_width=width,
        uniform_evaluations=evaluations,
        adaptive=outcome,
        fewer_evaluations=evaluations / total(outcome),
        rows=tuple(
            Width(cell.place, cell.prompt_class, name, other.half_widths()[name], row)
            for cell, other in zip(in_order(of_adaptive), in_order(of_uniform), strict=True)
            for name, row in cell.half_widths().items()
        ),
    )


def total(outcome: Mapping[str, SweepOutcome]) -> int:
    """The evaluations at all places."""
    return sum(of_place.evaluations or 0 for of_place in outcome.values())


def in_order(measured: Sequence[Cell]) -> list[Cell]:
    """Cells by place, prompt class and quantity."""
    return sorted(measured, key=lambda cell: (cell.place, cell.prompt_class, cell.quantity))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--worlds", type=int, default=200, help="made-up models (default: %(default)s)"
    )
    parser.add_argument(
        "--run", type=Path, help="folder of the embedded models' images; without it none are made"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=8,
        help="of each class in the uniform sweep of images (default: %(default)s)",
    )
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    args = parser.parse_args()
    result: dict[str, Any] = {"made_up": made_up(args.worlds).to_dict()}
    print(json.dumps(result["made_up"], indent=1))
    summary = dict(result)
    if args.run:
        result["embedded"] = real(args.run, args.prompts).to_dict()
        kept = ("half_width", "uniform_evaluations", "fewer_evaluations")
        summary["embedded"] = {name: result["embedded"][name] for name in kept}
    if args.out:
        write_json(args.out, result)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
