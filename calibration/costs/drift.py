"""How much faster or slower the machine ran while an allocation was executed than while it was
calibrated.

A machine's speed drifts over minutes by more than the standard error of a fitted time. Its spread
during the sweep is part of the intervals of predicted times. Control images (tasks of the purpose
``anchor``), like those of the sweep, are generated between the users' images. They distinguish a
drift from a wrong prediction.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from calibration.costs.time import TimeFit
from calibration.records.record import Record
from calibration.schema import Schema, frozen
from calibration.statistics import MAD_SD, MEDIAN_SE, t_quantile

PARTS = 8  # of a sweep, one after the other
LEAST = 4  # images in a part
LAG = PARTS // 2  # parts from a sweep's last until the users' images: batches are timed meanwhile
_LEAST_CONTROLS = 3  # control images of a place


@frozen
class Drift(Schema):
    """The median ``ratio`` of measured to predicted time of ``n`` control images at one place, and
    its standard error ``se``.
    """

    ratio: float
    se: float
    n: int

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Drift":
        """The drift of at least two ``ratios``."""
        se = MEDIAN_SE * np.std(ratios, ddof=1) / np.sqrt(len(ratios))
        return cls(float(np.median(ratios)), float(se), len(ratios))

    def half_width(self, seconds: float) -> float:
        """Half of the 95 % interval of ``ratio`` times the predicted ``seconds``, for the ratio
        alone.
        """
        return t_quantile(self.n - 1) * self.se * seconds


def ratio(record: Record, time: TimeFit) -> float:
    """Measured over fitted seconds of ``record``."""
    return record.measured.time / time.seconds(record.task.steps)


def speed_sd(ratios: ArrayLike) -> float:
    """Relative standard deviation of the machine's speed between parts of a sweep, beyond what
    single images vary.

    ``ratios``: shape (n,), of measured to fitted times, in the order in which the images were made.
    It is 0 with fewer than ``PARTS * LEAST`` of them. A pause of the machine moves neither the
    median of a part nor its median absolute deviation.
    """
    ratios = np.asarray(ratios)
    if len(ratios) < PARTS * LEAST:
        return 0.0
    parts = np.array_split(np.log(ratios), PARTS)
    medians = np.array([np.median(part) for part in parts])
    spreads = [
        MAD_SD * np.median(np.abs(part - median))
        for part, median in zip(parts, medians, strict=True)
    ]
    noise = np.mean(
        [(MEDIAN_SE * spread) ** 2 / len(part) for part, spread in zip(parts, spreads, strict=True)]
    )
    return float(np.sqrt(max(0.0, np.var(medians, ddof=1) - noise)))


def drift_sd(speed_sd: float, parts: int = PARTS) -> float:
    """The standard deviation of a later time over the predicted one, for the speed alone.

    ``parts``: of how many parts of a sweep, one after the other, the prediction is the mean. The
    speed is taken for a random walk: that of a later time lies further out than the parts differ.
    A walk of variance q a part has an expected sample variance of q (n + 1) / 6 over n parts; the
    mean of m of them and the value ``LAG`` parts later differ by a variance of
    q (LAG + (m - 1) (2 m - 1) / (6 m)).
    """
    walk = 6 / (PARTS + 1) * (LAG + (parts - 1) * (2 * parts - 1) / (6 * parts))
    return float(speed_sd * np.sqrt(walk))


def drift_expected(speed_sd: float, parts: int = PARTS) -> float:
    """Half of the 95 % interval of what :func:`drift_sd` tells the standard deviation of."""
    return t_quantile(PARTS - 1) * drift_sd(speed_sd, parts)


def drifts(records: Iterable[Record], times: Mapping[tuple[str, str], TimeFit]) -> dict[str, Drift]:
    """{place: drift} of the control images among ``records``.

    ``times``: by place and prompt class; those of another class do not count. A place with fewer
    than three control images has none.
    """
    ratios: dict[str, dict[str, float]] = defaultdict(dict)  # by id: a record counts once
    for record in records:
        task = record.task
        time = times.get((task.place, task.prompt_class))
        if task.purpose == "anchor" and time is not None:
            ratios[task.place][record.id] = ratio(record, time)
    return {
        place: Drift.of(list(by_id.values()))
        for place, by_id in ratios.items()
        if len(by_id) >= _LEAST_CONTROLS
    }
