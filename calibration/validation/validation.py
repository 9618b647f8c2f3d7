"""How the predictions of an allocation compare with its execution; the file format
``validation/1``.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

from calibration.comparison import Comparison, Total
from calibration.costs.drift import Drift
from calibration.records.split import Split
from calibration.schema import Schema, frozen, limits
from calibration.serving.serving import Serving

#: What is compared for each user; time in s, energy in J, the others without unit.
QUANTITIES = ("time", "energy", "error", "utility", "clip_score")


@frozen
class UserValidation(Schema):
    """One user: the ``place`` and ``steps`` allocated to them, the means over their ``images``, and
    the ids of the ``records`` of these. ``utility`` and ``clip_score``: None where the profiles
    leave them out. ``split``: how the place, the edge, shares the steps with the user's device.
    """

    user: int
    prompt_class: str
    device_class: str
    place: str
    steps: int
    images: int
    time: Comparison
    energy: Comparison
    error: Comparison
    utility: Comparison | None
    clip_score: Comparison | None
    records: tuple[str, ...]
    split: Split | None = limits(omit_none=True, default=None)

    def quantity(self, name: str) -> Comparison | None:
        """The comparison of one of the :data:`QUANTITIES`."""
        return getattr(self, name)


@frozen
class Validation(Schema):
    """See :func:`calibration.validation.validate.validate`.

    By quantity: the medians over the users of the absolute relative errors, of the prediction and
    of the paper's forms, and ``coverage``, the share of users inside their interval; None where
    nothing was measured. ``drift``: by place. ``serving``: None where nobody was served in batches.
    The first files of the format had neither the paper's forms nor the drift.
    """

    SCHEMA: ClassVar[str] = "validation/1"

    users: tuple[UserValidation, ...]
    totals: tuple[Total, ...]
    median_absolute_error: Mapping[str, float | None]
    paper_median_absolute_error: Mapping[str, float | None]
    coverage: Mapping[str, float | None]
    drift: Mapping[str, Drift]
    notes: tuple[str, ...]
    serving: Serving | None = None

    @classmethod
    def from_dict(cls, values: object, where: str | None = None) -> Self:
        """The inverse of ``to_dict``; raises :class:`InputError` for anything else."""
        if isinstance(values, dict):
            values = {"paper_median_absolute_error": {}, "drift": {}, **values}
        return super().from_dict(values, where)
