"""What the records of a sweep say of time, error and utility at each place and of each class, and
what more images would say.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from math import ceil

import numpy as np

from calibration.costs.time import fit_time
from calibration.fitting.families import FAMILIES, PAPER
from calibration.fitting.least_squares import minimise, response
from calibration.fitting.profile_likelihood import best
from calibration.records.prompt_means import PromptMeans, fit_weights, prompt_means
from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import POINTS
from calibration.statistics import Array, interpolation_weights, t_quantile

#: Step counts of the pilot that go on after it: model error must stay visible.
LEAST_STEPS = 5
UNIFORM = np.arange(1.0, 51.0)  # the grid that people use
#: By the rule of three, none of n prompts shows a kind of prompt whose share is up to 3 / n (95 %).
#: Such prompts, if their errors are three times as large, shift the mean error by up to 2 * 3 / n.
UNSEEN = 6.0


class Cell(ABC):
    """One ``quantity`` (time, error, utility) of one place and prompt class."""

    def __init__(self, place: str, prompt_class: str, quantity: str) -> None:
        self.place, self.prompt_class, self.quantity = place, prompt_class, quantity

    @abstractmethod
    def half_widths(self) -> dict[str, tuple[float | None, float]]:
        """By parameter: its value, and the relative half-width of its 95 % interval; None and
        infinity where the records say nothing of it.
        """

    def half_width(self) -> float:
        """The largest of the half-widths."""
        return max(half for _, half in self.half_widths().values())

    @abstractmethod
    def sampling_half_width(self) -> float:
        """The largest half-width, without what the prompts so far may not have shown."""

    @abstractmethod
    def cheapest(self, width: float, target_cost: float, most: int) -> tuple[list[int], int]:
        """(step counts, further prompts, at most ``most``) expected to reach the half-width
        ``width`` at the least cost.

        The unit of cost is an evaluation of the denoiser for an image at a step count;
        ``target_cost``: of a further prompt beside its step counts. If no choice suffices: all
        step counts and ``most`` prompts.
        """

    @abstractmethod
    def uniform_evaluations(self, width: float, target_steps: int) -> int:
        """Evaluations that the uniform grid would take for the half-width ``width``."""


class TimeCell(Cell):
    """The seconds of a step at one place and of one class, from the ``records`` timed alone."""

    def __init__(self, place: str, prompt_class: str, records: Sequence[Record]) -> None:
        super().__init__(place, prompt_class, "time")
        self.steps = [record.task.steps for record in records]
        self.fit = fit_time(self.steps, [record.measured.time for record in records])

    def half_widths(self) -> dict[str, tuple[float | None, float]]:
        """That of Δt of eq. (3)."""
        step_time = self.fit.step_time
        half = t_quantile(self.fit.dof) * self.fit.covariance[1][1] ** 0.5
        return {"step_time": (step_time, half / step_time if step_time else np.inf)}

    def sampling_half_width(self) -> float:
        """All of the half-width."""
        return self.half_width()

    def cheapest(self, width: float, target_cost: float, most: int) -> tuple[list[int], int]:
        """The smallest and the largest step count, which say most of a slope; its error falls with
        the square root of the number of images.
        """
        prompts = self.steps.count(max(self.steps))
        needed = prompts * ((self.half_width() / width) ** 2 - 1)
        extra = ceil(needed) if needed < most else most
        return [min(self.steps), max(self.steps)], extra

    def uniform_evaluations(self, width: float, target_steps: int) -> int:
        """None: the images that the curves need are many more."""
        return 0


class CurveCell(Cell):
    """The paper's curve of error or utility through the ``means`` of one place and class.

    The half-widths are those of sampling. Model error does not narrow with more images; the
    intervals of :func:`calibration.fitting.fit.fit_curve` include it. An error is never known
    better than to ``UNSEEN`` / prompts.
    """

    def __init__(self, place: str, prompt_class: str, quantity: str, means: PromptMeans) -> None:
        super().__init__(place, prompt_class, quantity)
        self.family, self.means = FAMILIES[PAPER[quantity]], means
        self.unseen = UNSEEN if quantity == "error" else 0.0
        self.steps = np.array([point.steps for point in means.points], float)
        self.counts = np.array([point.prompts for point in means.points])
        values = np.array([point.value for point in means.points], float)
        sd = fit_weights(means.points, quantity)
        # Without these, values are all alike, or of different prompts: they say nothing of a width.
        self.known = sd is not None and means.covariance is not None
        if sd is not None and means.covariance is not None:
            self.p = self._fit(values, sd)
            # of single prompts, between step counts
            self.spread = means.covariance * np.maximum.outer(self.counts, self.counts)

    def _fit(self, values: Array, sd: Array) -> Array:
        low, high = np.transpose(self.family.bounds)
        return minimise(
            lambda p: self.family.function(self.steps, p),
            lambda p: self.family.gradient(self.steps, p),
            values,
            sd,
            best(self.family, self.steps, values[None], 1 / sd[None]),
            (low, high),
        )

    def half_widths(self) -> dict[str, tuple[float | None, float]]:
        """Those of the curve's parameters, eqs. (4) and (7)."""
        return self._half_widths(self.counts.max())

    def sampling_half_width(self) -> float:
        """The largest, as if the prompts had shown every kind of prompt."""
        return max(half for _, half in self._half_widths(np.inf).values())

    def _half_widths(self, prompts: float) -> dict[str, tuple[float | None, float]]:
        if not self.known or self.means.covariance is None:
            return dict.fromkeys(self.family.parameters, (None, np.inf))
        half = self._half(self.steps, self.means.covariance, t_quantile(self.means.dof), prompts)
        return {
            name: (float(value), float(width))
            for name, value, width in zip(self.family.parameters, self.p, half, strict=True)
        }

    def cheapest(self, width: float, target_cost: float, most: int) -> tuple[list[int], int]:
        """The cheapest choice of at least ``LEAST_STEPS`` step counts, the ends included."""
        every = range(len(self.steps))
        if not self.known or most <= 0:
            return self.steps.astype(int).tolist(), max(0, most)
        sizes = range(min(LEAST_STEPS, len(every)) - 2, len(every) - 1)
        designs = [
            [0, *inner, len(every) - 1]
            for inner in chain(*(combinations(every[1:-1], size) for size in sizes))
        ]
        designs.sort(key=lambda design: self.steps[design].sum())  # of equal cost: the least images
        chosen = np.array([np.isin(every, design) for design in designs])
        low, high = np.zeros(len(designs), int), np.full(len(designs), most)
        while (low < high).any():
            middle = (low + high) // 2
            enough = self._expected(chosen, middle) <= width
            low = np.where(enough, low, np.minimum(middle + 1, high))
            high = np.where(enough, middle, high)
        suffices = self._expected(chosen, low) <= width
        if not suffices.any():
            return self.steps.astype(int).tolist(), most
        least = np.argmin(np.where(suffices, self._cost(chosen, low, target_cost), np.inf))
        return self.steps[chosen[least]].astype(int).tolist(), int(low[least])

    def _cost(self, chosen: Array, extra: Array, target_cost: float) -> Array:
        """What it costs to bring ``chosen`` step counts, shape (designs, n), to ``extra`` more
        prompts, shape (designs,).
        """
        missing = self.counts.max() + extra[:, None] - self.counts
        return extra * target_cost + (chosen * missing) @ self.steps

    def _expected(self, chosen: Array, extra: Array) -> Array:
        """The half-width expected of ``extra`` more prompts, shape (designs,), at the ``chosen``
        step counts, shape (designs, n).
        """
        counts = np.where(chosen, self.counts.max() + extra[:, None], self.counts)
        dofs = (counts * (counts - 1)).sum(axis=1) // counts.sum(axis=1)
        covariance = self.spread / np.maximum(counts[:, :, None], counts[:, None])
        quantiles = np.array([[t_quantile(dof)] for dof in dofs.tolist()])
        prompts = counts.max(axis=1, keepdims=True)
        return self._half(self.steps, covariance, quantiles, prompts).max(axis=-1)

    def uniform_evaluations(self, width: float, target_steps: int) -> int:
        """From the spread at the measured step counts."""
        if not self.known:
            return 0
        weights = interpolation_weights(np.log(UNIFORM), np.log(self.steps))
        covariance = weights @ self.spread @ weights.T
        half = self._half(UNIFORM, covariance, t_quantile(None), np.inf).max()
        prompts = max(ceil((half / width) ** 2), ceil(self.unseen / width))
        return prompts * (target_steps + int(UNIFORM.sum()))

    def _half(
        self, steps: Array, covariance: Array, quantile: Array | float, prompts: Array | float
    ) -> Array:
        """Relative half-widths, shape (..., k), of this ``quantile`` of Student's t, from points at
        ``steps`` whose means over at most ``prompts`` prompts have this ``covariance``, shape
        (..., n, n).
        """
        sd = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 1e-24))[..., None]
        inverse, _ = response(self.family.gradient(steps, self.p) / sd)
        correlation = covariance / (sd * np.swapaxes(sd, -1, -2))
        variance = ((inverse @ correlation) * inverse).sum(axis=-1)
        half = quantile * np.sqrt(np.maximum(variance, 0.0))
        return np.maximum(half / np.maximum(np.abs(self.p), 1e-12), self.unseen / prompts)


def cells(records: Sequence[Record], scales: Mapping[tuple[str, str], Scales]) -> Iterator[Cell]:
    """The cells of each place and prompt class; ``scales`` by place and prompt class."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.task.place, record.task.prompt_class].append(record)
    for (place, name), group in groups.items():
        points = [record for record in group if record.task.purpose in POINTS]
        timed = [record for record in points if record.task.purpose == "sweep"]
        of_class = scales[place, name]
        yield TimeCell(place, name, timed)
        yield CurveCell(place, name, "error", prompt_means(points, of_class.error))
        if of_class.utility:
            yield CurveCell(place, name, "utility", prompt_means(points, of_class.utility))
