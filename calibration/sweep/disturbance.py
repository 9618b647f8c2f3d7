"""Whether other processes disturb the measurement of images that are timed alone."""

from collections import defaultdict, deque

import numpy as np

from calibration.records.record import Measured

#: A time so many times as large as expected is that of a disturbance: images alone vary by a few
#: hundredths.
DISTURBED = 1.5
#: Images of a place that tell what to expect: at least so many, and at most the last of them.
LEAST, RECENT = 5, 30
#: Step times are scattered where one in ten is above so many medians of its image.
SCATTERED = 2.0
_STEPS = (50, 400)  # that tell whether they scatter: at least, at most
_WITH_SCATTER = 3  # steps of an image whose median says something of the others


class Disturbances:
    """What the timed images of each place have taken so far, and which of them stand out."""

    def __init__(self) -> None:
        self._images: dict[str, deque[tuple[float, float]]] = defaultdict(
            lambda: deque(maxlen=RECENT)
        )
        self._steps: deque[float] = deque(maxlen=_STEPS[1])

    def add(self, place: str, measured: Measured) -> None:
        """Take in an image that was timed alone; one without steps' times says nothing."""
        if not _tells(measured):
            return
        step = float(np.median(measured.step_times))
        self._images[place].append((measured.time - sum(measured.step_times), step))

    def add_steps(self, measured: Measured) -> None:
        """Take in how the steps of an image scatter, of every attempt to time it."""
        if _tells(measured) and len(measured.step_times) >= _WITH_SCATTER:
            self._steps.extend(np.array(measured.step_times) / np.median(measured.step_times))

    def excess(self, place: str, measured: Measured) -> float:
        """How many times longer than expected an image took, which is not among those so far.

        Expected is what its own median step says, and what other images of the ``place`` do.
        Without steps' times of a single model nothing is expected.
        """
        if not _tells(measured):
            return 1.0
        steps, times = len(measured.step_times), sum(measured.step_times)
        ratios = [1.0]
        if steps >= _WITH_SCATTER:
            ratios.append(times / (steps * float(np.median(measured.step_times))))
        if len(others := self._images[place]) >= LEAST:
            overhead, step = np.median(np.array(others), axis=0)
            ratios.append(measured.time / float(overhead + steps * step))
        return max(ratios)

    def scatter(self) -> float | None:
        """The 0.9 quantile of recent steps over the medians of their images; None where they are
        few.
        """
        return float(np.quantile(self._steps, 0.9)) if len(self._steps) >= _STEPS[0] else None


def _tells(measured: Measured) -> bool:
    """Whether an image's steps can be compared: there are some, all of the same model."""
    return bool(measured.step_times) and measured.handover is None


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
