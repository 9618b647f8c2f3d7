"""The Fréchet distance of all executed images, predicted from the calibration's images."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from calibration.comparison import Total
from calibration.records.record import Record
from calibration.records.split import Split
from calibration.records.task import POINTS, Task
from calibration.statistics import Z95
from testbed.metrics.distances import ReferenceDistances, frechet, shortage
from testbed.metrics.extractor import Features

DRAWS = 200

#: prompt -> seed -> features of the image with a step count at a place.
Cell = dict[str, dict[int, Features]]
#: Place, prompt class, and how two models share the images, if they do.
Kind = tuple[str, str, Split | None]


def kind_of(task: Task) -> Kind:
    """Which images a task's is like, but for its steps."""
    return task.place, task.prompt_class, task.split


def frechet_total(
    executed: Sequence[Record],
    executed_features: Features,
    sweep: Sequence[Record],
    sweep_features: Mapping[str, Features],
    reference: Features,
) -> Total | None:
    """Fréchet distance of the executed images, against calibration images of the same number and
    mixture; None, with a warning, where the calibration's step counts have no prompts in common.

    ``executed_features``: one row for each of the ``executed`` records; ``sweep_features``: by
    record id; ``reference``: shape (m, width).

    Each draw takes, for every executed image, a calibration image of the same place and class (of a
    split image: split alike) at the nearest calibrated step count, of a prompt not yet drawn for
    the class while there are any, and of any of its seeds.
    Drawing n of N prompts without repetition varies less, by 1 - n/N, than n new ones would, and
    the N are a sample themselves: the 95 % interval of the draws is widened by sqrt((1 + n/N) /
    (1 - n/N)). With n >= N there is no interval.
    """
    cells = _cells(sweep, sweep_features)
    wanted = [(record.task.prompt_class, _nearest(cells, record.task)) for record in executed]
    decks = {}
    share = 0.0
    for name in dict.fromkeys(name for name, _ in wanted):
        alike = [cell for other, cell in wanted if other == name]
        decks[name] = [key for key in alike[0] if all(key in cell for cell in alike)]
        if not decks[name]:
            warnings.warn(
                f"the Fréchet distance of users' images is not predicted: prompt class {name} was "
                "calibrated with other prompts at each step count that its users have",
                stacklevel=2,
            )
            return None
        share = max(share, len(alike) / len(decks[name]))
    distances, rng = ReferenceDistances(reference), np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        left: dict[str, list[str]] = {name: [] for name in decks}
        drawn = []
        for name, cell in wanted:
            if not left[name]:
                left[name] = [decks[name][i] for i in rng.permutation(len(decks[name]))]
            images = list(cell[left[name].pop()].values())
            drawn.append(images[rng.integers(len(images))])
        draws.append(distances.plain_frechet(np.stack(drawn).astype(float)))
    half = None
    if share < 1:
        half = Z95 * float(np.std(draws, ddof=1) * np.sqrt((1 + share) / (1 - share)))
    return Total.of(
        float(np.median(draws)),
        frechet(executed_features, reference),
        half,
        positive=True,
        quantity=f"Fréchet distance ({len(executed)} images)",
        unit="",
        basis="measured",
        note=shortage(len(executed), len(reference), reference.shape[1]),
    )


def _cells(
    sweep: Sequence[Record], features: Mapping[str, Features]
) -> dict[Kind, dict[int, Cell]]:
    """The calibration images by kind and step count."""
    cells: dict[Kind, dict[int, Cell]] = {}
    for record in sweep:
        task = record.task
        if task.purpose in (*POINTS, "split"):
            by_steps = cells.setdefault(kind_of(task), {})
            cell = by_steps.setdefault(task.steps, {})
            cell.setdefault(task.prompt, {})[task.seed] = features[record.id]
    return cells


def _nearest(cells: Mapping[Kind, Mapping[int, Cell]], task: Task) -> Cell:
    """The images at the step count nearest to the task's that has about as many prompts as any."""
    by_steps = cells[kind_of(task)]
    # an adaptive sweep leaves some step counts with its pilot's few prompts
    enough = max(map(len, by_steps.values())) / 2
    nearest = min(
        (steps for steps, cell in by_steps.items() if len(cell) >= enough),
        key=lambda steps: (abs(np.log(steps / task.steps)), steps),
    )
    return by_steps[nearest]
