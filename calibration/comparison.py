"""A prediction beside what was measured."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from calibration.schema import Schema, frozen, limits
from calibration.statistics import Z95


@frozen
class Comparison(Schema):
    """A ``predicted`` value, its 95 % interval from ``low`` to ``high``, and the ``measured`` one.

    ``low`` and ``high`` are None where no interval could be had, ``measured`` where nothing was
    measured. ``relative_error``: (predicted - measured) / |measured|; ``inside``: does the interval
    hold the measured value? ``paper``: what the paper's own forms predict (None: nothing), with its
    ``paper_relative_error``. ``basis``: measured, emulated, modelled, or several of these.
    ``fixed``: of a time what does not change with the machine's speed, as a link's seconds.
    """

    predicted: float
    low: float | None
    high: float | None
    measured: float | None = None
    relative_error: float | None = None
    inside: bool | None = None
    paper: float | None = limits(omit_none=True, default=None)
    paper_relative_error: float | None = None
    basis: str | None = limits(omit_none=True, default=None)
    fixed: float | None = limits(omit_none=True, default=None)

    @classmethod
    def of(
        cls,
        predicted: float,
        measured: float | None,
        half: float | None,
        paper: float | None = None,
        positive: bool = False,
        most: float | None = None,
        **about: Any,
    ) -> Self:
        """A comparison with an interval of half-width ``half``; of a ``positive`` quantity
        :func:`positive_interval` has the formula, as of the distance to the ``most`` that a
        quantity can be. ``about``: the other fields.
        """

        low, high = None, None
        if half is not None:
            low, high = float(predicted - half), float(predicted + half)
            if positive:
                low, high = positive_interval(float(predicted), float(half))
            elif most is not None:
                nearest, farthest = positive_interval(float(most - predicted), float(half))
                low, high = most - farthest, most - nearest
        row = cls(
            predicted=float(predicted),
            low=low,
            high=high,
            paper=None if paper is None else float(paper),
            **about,
        )
        return row if measured is None else row.beside(measured)

    def beside(self, measured: float) -> Self:
        """The prediction beside what was ``measured``."""

        def error(value: float | None) -> float | None:
            return (
                float((value - measured) / abs(measured))
                if measured and value is not None
                else None
            )

        return replace(
            self,
            measured=float(measured),
            relative_error=error(self.predicted),
            inside=None
            if self.low is None or self.high is None
            else bool(self.low <= measured <= self.high),
            paper_relative_error=error(self.paper),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; without an error of the paper's where it predicts nothing."""
        values = super().to_dict()
        if self.paper is None:
            del values["paper_relative_error"]
        return values


def positive_interval(mean: float, half: float) -> tuple[float, float]:
    """The 95 % interval of a positive quantity with mean ``mean`` and standard error
    ``half`` / 1.96: that of the log-normal distribution with these moments.

    Times and errors are skewed to the right, and so is what a score lacks of the largest. A
    symmetric interval of a mean of them would reach below 0, and would be missed above much more
    often than below. Where the standard error is 2.5 times the mean and more, the log-normal
    distribution has nearly all its mass near 0, and the symmetric interval's upper end counts.
    """
    if not mean > 0:
        return max(0.0, mean - half), max(0.0, mean + half)
    variance = math.log1p(min(half / Z95 / mean, 1e150) ** 2)  # a larger square overflows
    middle, reach = mean * math.exp(-variance / 2), math.exp(Z95 * math.sqrt(variance))
    return middle / reach, max(middle * reach, mean + half)


@dataclass(frozen=True, kw_only=True)
class Total(Comparison):
    """A ``quantity`` of all users together, in ``unit``; ``note``: what else is to be known."""

    quantity: str
    unit: str
    note: str | None = limits(omit_none=True, default=None)
