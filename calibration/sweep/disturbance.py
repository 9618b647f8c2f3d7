"""Whether other processes disturb the measurement of images that are timed alone."""

from collections import defaultdict, deque
from typing import TypeAlias

import numpy as np

from calibration.records.record import Measured
from calibration.records.task import Task

#: A time so many times as large as expected is that of a disturbance: images alone vary by a few
#: hundredths.
DISTURBED = 1.5
#: Images of a place that tell what to expect: at least so many, and at most the last of them.
LEAST, RECENT = 5, 30
#: Step times are scattered where one in ten is above so many medians of its image.
SCATTERED = 2.0
_STEPS = (50, 400)  # that tell whether they scatter: at least, at most
_WITH_SCATTER = 3  # steps of a model whose median says something of the others
_Kind: TypeAlias = tuple[str, str | None]  # a place, and who began a split image


class Disturbances:
    """What the timed images so far have taken, and which of them stand out.

    An image is compared with those of its own place, a split image with those split in the same
    order: of each model with its own steps.
    """

    def __init__(self) -> None:
        self._beside: dict[_Kind, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._step: dict[_Kind, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._scatter: deque[float] = deque(maxlen=_STEPS[1])

    def add(self, task: Task, measured: Measured) -> None:
        """Take in an image that was timed alone; one without steps' times says nothing."""
        if measured.step_times:
            self._beside[_kind(task)].append(measured.time - sum(measured.step_times))
            for kind, times in _parts(task, measured).items():
                self._step[kind].append(float(np.median(times)))

    def add_steps(self, task: Task, measured: Measured) -> None:
        """Take in how the steps of an image scatter, of every attempt to time it."""
        for times in _parts(task, measured).values():
            if len(times) >= _WITH_SCATTER:
                self._scatter.extend(np.array(times) / np.median(times))

    def excess(self, task: Task, measured: Measured) -> float:
        """How many times longer than expected an image took, which is not among those so far.

        Expected is what the median step of each model says, and what other images do. Without
        steps' times nothing is expected.
        """
        if not measured.step_times:
            return 1.0
        parts = _parts(task, measured)
        ratios = [1.0]
        ratios += [
            sum(times) / (len(times) * float(np.median(times)))
            for times in parts.values()
            if len(times) >= _WITH_SCATTER
        ]
        if len(others := self._beside[_kind(task)]) >= LEAST:
            steps = sum(len(of) * float(np.median(self._step[kind])) for kind, of in parts.items())
            ratios.append(measured.time / (float(np.median(others)) + steps))
        return max(ratios)

    def scatter(self) -> float | None:
        """The 0.9 quantile of recent steps over the medians of their images; None where they are
        few.
        """
        enough = len(self._scatter) >= _STEPS[0]
        return float(np.quantile(self._scatter, 0.9)) if enough else None


def _kind(task: Task) -> _Kind:
    return task.place, task.split.first if task.split else None


def _parts(task: Task, measured: Measured) -> dict[_Kind, tuple[float, ...]]:
    """An image's steps by the model that made them."""
    times = measured.step_times
    if task.split is None:
        return {_kind(task): times}
    (first, before), (last, _) = task.split.parts(task.steps).items()
    return {(first, first): times[:before], (last, first): times[before:]}


def contention(
    scatter: float | None, load: float | None, threads: int, cores: int | None
) -> str | None:
    """In words, that another process takes part of the machine, and what follows; None if not.

    ``scatter``: see :meth:`Disturbances.scatter`; ``load``: the processes that want a core, of
    which this run makes ``threads``; None where the system does not say.
    """
    if scatter is not None and scatter > SCATTERED:
        sign = f"one step in ten takes more than {scatter:.1f} times the median of its image"
    elif load is not None and cores and load - threads >= 0.75 and load >= cores - 0.25:
        sign = f"the load is {load:.1f} on {cores} cores, of which this run makes {threads}"
    else:
        return None
    return (
        f"another process takes part of the machine: {sign}. The 95 % intervals of predicted times "
        "get wider, and this takes longer; images and their quality stay the same. Images that "
        "were clearly disturbed are timed again, at most twice"
    )
