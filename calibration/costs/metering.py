"""Images whose energy a meter counted, and the power of a place while it computes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Measured, Record
from calibration.schema import Schema, frozen, limits
from calibration.statistics import MAD_SD, Array, group_medians

_DISTURBED = 6  # standard deviations from the median time


@frozen
class Power(Schema):
    """``watts`` of a place while it computes, and one image's relative sd about that.

    Without a meter both are None and ``basis`` is "none".
    """

    watts: float | None = limits(least=0)
    relative_sd: float | None = limits(least=0)
    meter: str | None
    basis: str


@dataclass(frozen=True)
class Metered:
    """Undisturbed images that one ``meter`` measured; arrays of shape (n,).

    ``joules`` are as counted. They are right on average only where windows are not much longer than
    the counters' ``period`` (s between two updates, 0 if not known). ``clock`` (Hz) and ``idle``
    (W) are NaN where they were not measured. ``spread`` is the relative standard deviation of an
    image's ``seconds`` about the median of its ``steps``.
    """

    meter: str
    steps: Array
    joules: Array
    seconds: Array
    clock: Array
    idle: Array
    period: float
    spread: float


def metered(records: Sequence[Record]) -> Metered | None:
    """The images of ``records`` whose joules were counted, or None if no joule was.

    Different meters count different things, so the meter of most records counts alone. Images whose
    time is far from the median of their step count are left out, because the machine paused and the
    joules of a pause are not theirs. Windows too short for a value of their own (``energy_j`` null)
    count here: without those that saw no update, the mean of the others would be too high.
    """
    counted = [
        (record, joules) for record in records if (joules := _counted(record.measured)) is not None
    ]
    meters = Counter(record.measured.meter or "" for record, _ in counted)
    if not meters:
        return None
    meter = meters.most_common(1)[0][0]
    rows = [(record, joules) for record, joules in counted if record.measured.meter == meter]
    steps = np.array([record.task.steps for record, _ in rows], float)
    seconds = np.array([record.measured.time for record, _ in rows])
    clock = np.array([record.measured.clock_hz for record, _ in rows], float)  # None becomes NaN
    idle = np.array([record.environment.get("idle_watts") for record, _ in rows], float)
    undisturbed, spread = _undisturbed(steps, seconds)
    images = Metered(
        meter=meter,
        steps=steps[undisturbed],
        joules=np.array([joules for _, joules in rows], float)[undisturbed],
        seconds=seconds[undisturbed],
        clock=clock[undisturbed],
        idle=idle[undisturbed],
        period=max(record.environment.get("meter_period_s") or 0.0 for record, _ in rows),
        spread=spread,
    )
    return images if images.joules.sum() > 0 else None


def power(images: Metered | None) -> Power:
    """Joules over seconds of ``images``, and one image's relative sd about that."""
    if images is None:
        return Power(None, None, None, "none")
    watts = float(images.joules.sum() / images.seconds.sum())
    spread = float(np.std(images.joules / (watts * images.seconds)))
    return Power(watts, spread, images.meter, "measured")


def _counted(measured: Measured) -> float | None:
    """The joules that the counters moved by, also where they are no value of the image alone."""
    parts = measured.energy_parts_j
    return measured.energy_j if parts is None else sum(parts.values())


def _undisturbed(steps: Array, seconds: Array) -> tuple[NDArray[np.bool_], float]:
    """Which images, shape (n,), are near the median time of their step count, and the relative sd
    of an image's time about that median.
    """
    _, where, images = np.unique(steps, return_inverse=True, return_counts=True)
    deviations = np.abs(seconds / group_medians(seconds, where)[where] - 1)
    repeated = deviations[images[where] > 1]
    spread = MAD_SD * float(np.median(repeated)) if len(repeated) else 0.0
    if not spread > 0:
        return np.full(len(steps), True), spread
    return deviations <= _DISTURBED * spread, spread
