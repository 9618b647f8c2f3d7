"""How much quicker or slower the machine ran while an allocation was executed than while it was calibrated.

A machine's speed drifts by more, over minutes, than a fitted time is uncertain. Anchors, images like those of the sweep that
are generated in between the users' images, tell the drift from a wrong prediction.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from calibration.timing import MEDIAN


@dataclass(frozen=True)
class Drift:
    """``ratio`` of measured to predicted time of ``n`` anchors at one place, its median, and that median's standard error."""

    ratio: float
    se: float
    n: int


def drifts(records, profiles):
    """{place: :class:`Drift`} of the records of anchors; without a place that has fewer than three."""
    fitted = {(entry["place"], entry["prompt_class"]): entry["time"] for entry in profiles["profiles"]}
    ratios = defaultdict(dict)  # by id: a record counts once
    for record in records:
        asked = record["asked"]
        if asked["purpose"] == "anchor":
            time = fitted[asked["place"], asked["prompt_class"]]
            ratios[asked["place"]][record["id"]] = record["measured"]["time"] / (time["overhead"] + time["step_time"] * asked["steps"])
    return {
        place: Drift(float(np.median(some)), float(MEDIAN * np.std(some, ddof=1) / np.sqrt(len(some))), len(some))
        for place, some in ((place, list(of.values())) for place, of in ratios.items())
        if len(some) >= 3
    }
