"""What an evaluation of the denoiser costs, by how its image is made."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.records.record import Record


@dataclass(frozen=True)
class EvaluationCosts:
    """Seconds of an evaluation for an image at a step count (``untimed``) and for a ``converged``
    image, or anything in proportion to them.

    What a timed image costs decides nothing: no other image can stand for it.
    """

    untimed: float = 1.0
    converged: float = 1.0

    @property
    def of_converged(self) -> float:
        """The cost of an evaluation for a converged image, in those for an untimed one."""
        return self.converged / self.untimed


def measured_costs(records: Sequence[Record]) -> dict[str, EvaluationCosts]:
    """The costs at each place: medians of the ``records``.

    A place without images of both kinds has none.
    """
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        measured = record.measured
        if not measured.step_times:  # of a server that does not tell its stages
            continue
        spent = sum(measured.step_times) / len(measured.step_times) / measured.batch
        seconds[record.task.place][record.task.purpose].append(spent)
    costs = {}
    for place, by_purpose in seconds.items():
        if {"untimed", "converged"} <= by_purpose.keys():
            untimed, converged = (
                float(np.median(by_purpose[purpose])) for purpose in ("untimed", "converged")
            )
            costs[place] = EvaluationCosts(untimed, converged)
    return costs
