"""The scales of error and utility: the measured value each rests on, and what counts as 0 and 1."""

from typing import Self, overload

from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError


@frozen
class Scale(Schema):
    """``(value - zero) / (full - zero)`` of a measured ``field`` of an image."""

    field: str = limits(choices=("distance", "clip_score"))
    zero: float
    full: float

    @property
    def unit(self) -> float:
        """The measured difference that counts as 1."""
        return self.full - self.zero

    @overload
    def of(self, value: float) -> float: ...
    @overload
    def of(self, value: None) -> None: ...
    def of(self, value: float | None) -> float | None:
        """A measured value on this scale; None stays None."""
        return None if value is None else (value - self.zero) / self.unit


@frozen
class Scales(Schema):
    """The scales of one place and prompt class.

    ``error`` is the distance to the converged image in units of the distance between images of
    different prompts. ``utility`` is the CLIP score, with 0 at the mean score of wrong captions and
    1 at that of the right ones; None where it is left out, for the reason in ``utility_note``.
    Raises :class:`InputError` unless 1 lies above 0 on both.
    """

    error: Scale
    utility: Scale | None
    utility_note: str | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        for name, scale in (("error", self.error), ("utility", self.utility)):
            if scale is not None and not scale.full > scale.zero:
                raise InputError(
                    f"{name}.full: found {scale.full!r}; allowed: above {name}.zero, {scale.zero!r}"
                )

    @classmethod
    def of(cls, error_unit: float, utility_floor: float, utility_ceiling: float) -> Self:
        """The scales that these measured means make."""
        return cls(
            Scale("distance", 0.0, error_unit),
            Scale("clip_score", utility_floor, utility_ceiling),
        )

    @classmethod
    def without_utility(cls, error_unit: float, reason: str) -> Self:
        """The scale of error alone; ``reason``: why utility is left out, and what to do."""
        return cls(Scale("distance", 0.0, error_unit), None, reason)
