"""A prediction beside what was measured."""

from dataclasses import dataclass
from typing import Any

from calibration.schema import Schema, limits


@dataclass(frozen=True)
class Comparison(Schema):
    """A ``predicted`` value, its 95 % interval from ``low`` to ``high``, and the ``measured`` one.

    ``low`` and ``high`` are None where no interval could be had, ``measured`` where nothing was
    measured. ``relative_error``: (predicted - measured) / |measured|; ``inside``: does the interval
    hold the measured value? ``paper``: what the paper's own forms predict (None: nothing), with its
    ``paper_relative_error``. ``basis``: measured, emulated, modelled, or several of these.
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

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; without an error of the paper's where it predicts nothing."""
        values = super().to_dict()
        if self.paper is None:
            del values["paper_relative_error"]
        return values


@dataclass(frozen=True, kw_only=True)
class Total(Comparison):
    """A ``quantity`` of all users together, in ``unit``; ``note``: what else is to be known."""

    quantity: str
    unit: str
    note: str | None = limits(omit_none=True, default=None)
