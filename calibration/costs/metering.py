"""Images whose energy a meter counted, and the power of a place while it computes."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Measured, Record
from calibration.schema import Schema, frozen, limits
from calibration.statistics import Array, group_medians, pooled_sd

#: Times the mean power of the other windows, beyond which joules are not the work's. Steps take up
#: to about twice the power of what is beside them.
_JUMP = 4
_LEAST = 5  # windows of which one can be told from the others
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
    joules of a pause are not theirs. So are, with a warning, windows in which a counter fell, or
    whose power no others come near: a counter was reset, or jumped. Windows too short for a value
    of their own (``energy_j`` null) count here: without those that saw no update, the mean of the
    others would be too high.
    """
    counted = [
        (record, moved) for record in records if (moved := _counted(record.measured)) is not None
    ]
    meters = Counter(record.measured.meter or "" for record, _ in counted)
    if not meters:
        return None
    meter = meters.most_common(1)[0][0]
    rows = [(record, moved) for record, moved in counted if record.measured.meter == meter]
    steps = np.array([record.task.steps for record, _ in rows], float)
    seconds = np.array([record.measured.time for record, _ in rows])
    clock = np.array([record.measured.clock_hz for record, _ in rows], float)  # None becomes NaN
    idle = np.array([record.environment.get("idle_watts") for record, _ in rows], float)
    joules = np.array([moved for _, moved in rows], float)
    period = max(record.environment.get("meter_period_s") or 0.0 for record, _ in rows)
    undisturbed, spread = _undisturbed(steps, seconds)
    good = undisturbed & _believable(joules, seconds, period, undisturbed)
    images = Metered(
        meter=meter,
        steps=steps[good],
        joules=joules[good],
        seconds=seconds[good],
        clock=clock[good],
        idle=idle[good],
        period=period,
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
    """The joules that the counters moved by, also where they are no value of the image alone; below
    0 where any of them fell.
    """
    parts = measured.energy_parts_j
    if parts is None:
        return measured.energy_j
    least = min(parts.values(), default=0.0)
    return sum(parts.values()) if least >= 0 else least


def _believable(
    joules: Array, seconds: Array, period: float, undisturbed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which windows, shape (n,), hold joules that may be theirs.

    A window of T seconds holds at most the joules of T + 2 ``period``: counters move by whole
    updates. More than ``_JUMP`` times what this takes at the mean power of all the others (of those
    that are ``undisturbed``) is none of the work's. One after the other is left out, the furthest
    first, since a jump raises that mean.
    """
    good = undisturbed & (joules >= 0) & np.isfinite(joules)
    fallen = int((undisturbed & ~good).sum())
    while good.sum() >= _LEAST:
        others = (joules[good].sum() - joules[good]) / (seconds[good].sum() - seconds[good])
        most = others * (seconds[good] + 2 * period)
        times = np.divide(joules[good], most, out=np.ones_like(most), where=most > 0)
        if times.max() <= _JUMP:
            break
        good[np.flatnonzero(good)[times.argmax()]] = False
    jumped = int(undisturbed.sum() - good.sum()) - fallen
    if fallen or jumped:
        warnings.warn(
            f"energy: left out {fallen} of {len(joules)} images in which a counter fell, and "
            f"{jumped} with more than {_JUMP} times the power of the others: a counter was reset",
            stacklevel=3,
        )
    return good


def _undisturbed(steps: Array, seconds: Array) -> tuple[NDArray[np.bool_], float]:
    """Which images, shape (n,), are near the median time of their step count, and the relative sd
    of an image's time about that median.
    """
    _, where = np.unique(steps, return_inverse=True)
    deviations = np.abs(seconds / group_medians(seconds, where)[where] - 1)
    spread = pooled_sd(deviations, where)
    if not spread > 0:
        return np.full(len(steps), True), spread
    return deviations <= _DISTURBED * spread, spread
