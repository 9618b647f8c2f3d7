"""How much quicker or slower the machine ran while an allocation was executed than while it was
calibrated.

A machine's speed drifts by more, over minutes, than a fitted time is uncertain. How much it
wandered during the sweep says what is to be expected, and is part of the intervals of times;
anchors, images like those of the sweep that are generated in between the users' images, tell a
drift from a wrong prediction.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from calibration.costs.time import MAD, MEDIAN
from calibration.fitting.prediction import t_quantile

PARTS = 8  # of a sweep, one after the other
LEAST = 4  # images in a part


@dataclass(frozen=True)
class Drift:
    """``ratio`` of measured to predicted time of ``n`` anchors at one place, its median, and that
    median's standard error.
    """

    ratio: float
    se: float
    n: int

    @classmethod
    def of(cls, ratios):
        """``ratios``, shape (n,), of measured to predicted times."""
        return cls(
            float(np.median(ratios)),
            float(MEDIAN * np.std(ratios, ddof=1) / np.sqrt(len(ratios))),
            len(ratios),
        )


def ratio(record, time):
    """Measured to fitted seconds of a record; ``time``: its profile's."""
    return record["measured"]["time"] / (
        time["overhead"] + time["step_time"] * record["asked"]["steps"]
    )


def wander(ratios):
    """Relative standard deviation of the machine's speed from one part of a sweep to another,
    beyond what single images vary.

    ``ratios``: shape (n,), of measured to fitted times, in the order in which the images were made;
    0 with too few of them.
    """
    if len(ratios) < PARTS * LEAST:
        return 0.0
    parts = np.array_split(np.log(ratios), PARTS)
    medians = np.array([np.median(part) for part in parts])
    spreads = [
        MAD * np.median(np.abs(part - median)) for part, median in zip(parts, medians)
    ]  # a pause moves neither
    noise = np.mean([(MEDIAN * spread) ** 2 / len(part) for part, spread in zip(parts, spreads)])
    return float(np.sqrt(max(0.0, np.var(medians, ddof=1) - noise)))


def drift_expected(time, parts=PARTS):
    """Half of the 95 % interval of a later time over the predicted one, for the machine's speed
    alone.

    ``time``: a profile's; ``parts``: of how many parts of a sweep, each at another speed, the
    prediction is the mean.
    """
    return t_quantile(PARTS - 1) * time.get("wander", 0.0) * np.sqrt(1 + 1 / parts)


def drifts(records, profiles):
    """{place: :class:`Drift`} of the records of anchors; without a place that has fewer than three."""
    fitted = {
        (entry["place"], entry["prompt_class"]): entry["time"] for entry in profiles["profiles"]
    }
    ratios = defaultdict(dict)  # by id: a record counts once
    for record in records:
        asked = record["asked"]
        if asked["purpose"] == "anchor":
            ratios[asked["place"]][record["id"]] = ratio(
                record, fitted[asked["place"], asked["prompt_class"]]
            )
    return {
        place: Drift.of(list(some.values())) for place, some in ratios.items() if len(some) >= 3
    }
