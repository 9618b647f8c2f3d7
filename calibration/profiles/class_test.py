"""Do prompt classes really differ?

Profiles are fitted for each class, which costs images; this test says whether it pays.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import POINTS
from calibration.schema import Schema, frozen

PERMUTATIONS = 999
LEVEL = 0.05


@frozen
class ClassDifference(Schema):
    """Whether prompt classes differ in a ``quantity`` at one place: a permutation test on so many
    ``prompts``.

    ``p``: how often classes drawn at random among the prompts lie further apart than the real ones,
    over all step counts together, each in units of its spread among prompts. ``differ``: p < 0.05.
    ``share``: the part of the prompts' variance that lies between the classes.
    """

    quantity: str
    prompts: int
    p: float
    differ: bool
    share: float


def differences(
    records: Sequence[Record], scales: Mapping[str, Scales]
) -> tuple[ClassDifference, ...]:
    """One row for each of time, error and utility.

    ``records`` of one place; ``scales``: by prompt class. A class without a quantity is not
    compared in it. Quantities are left out that were not measured of two prompts of each of two
    classes, each at the step counts that most prompts have.
    """
    rows = []
    for quantity in ("time", "error", "utility"):
        curves, classes = _curves(records, scales, quantity)
        counts = Counter(classes)
        if len(counts) < 2 or min(counts.values()) < 2:
            continue
        p, share = _permutation_test(curves, np.unique(classes, return_inverse=True)[1])
        rows.append(ClassDifference(quantity, len(classes), p, p < LEVEL, share))
    return tuple(rows)


def _curves(
    records: Sequence[Record], scales: Mapping[str, Scales], quantity: str
) -> tuple[NDArray[np.float64], list[str]]:
    """Means of each prompt, shape (prompts, steps), and the prompts' classes."""
    values: dict[tuple[str, str], dict[int, list[float]]]
    values = defaultdict(lambda: defaultdict(list))  # (class, prompt) -> steps -> values
    for record in records:
        task = record.task
        value = _value(record, scales[task.prompt_class], quantity)
        # whole batches take the time of images that are not timed alone
        counted = ("sweep",) if quantity == "time" else POINTS
        if task.purpose in counted and value is not None:
            values[task.prompt_class, task.prompt][task.steps].append(value)
    # An adaptive sweep takes few step counts of most prompts. Those that over half of the prompts
    # have decide which prompts can be compared.
    often = Counter(steps for by_steps in values.values() for steps in by_steps)
    grid = sorted(steps for steps, prompts in often.items() if prompts > len(values) / 2)
    complete = {
        key: [np.mean(by_steps[steps]) for steps in grid]
        for key, by_steps in values.items()
        if by_steps.keys() >= set(grid)
    }
    return np.array(list(complete.values())), [name for name, _ in complete]


def _value(record: Record, scales: Scales, quantity: str) -> float | None:
    if quantity == "time":
        return record.measured.time
    if quantity == "error":
        return scales.error.of(record.measured.distance)
    return scales.utility.of(record.measured.clip_score) if scales.utility else None


def _permutation_test(
    curves: NDArray[np.float64], classes: NDArray[np.intp]
) -> tuple[float, float]:
    """(p, share) of ``curves``, shape (prompts, steps), of ``classes``, shape (prompts,)."""
    spread = curves.std(axis=0)
    curves = (curves - curves.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    orders = _orders(tuple(classes.tolist()))
    between = np.zeros(len(orders))
    for name, size in enumerate(np.bincount(classes)):
        between += (((orders == name).astype(float) @ curves) ** 2).sum(axis=1) / size
    further = int((between[1:] >= between[0] * (1 - 1e-12)).sum())
    share = float(between[0]) / max(float((curves**2).sum()), 1e-300)
    return (1 + further) / (1 + PERMUTATIONS), share


@lru_cache(maxsize=1)  # of the quantities of both places mostly the same
def _orders(classes: tuple[int, ...]) -> NDArray[np.intp]:
    """The ``classes`` of the prompts, and permutations of them, shape (1 + permutations, n)."""
    own, rng = np.array(classes), np.random.default_rng(0)
    return np.stack([own, *(rng.permutation(own) for _ in range(PERMUTATIONS))])
