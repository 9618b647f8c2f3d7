"""What is judged of a run, and the sentence that its page begins with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from calibration.profiles.profile import Profiles
from calibration.validation.validation import Validation
from calibration.validation.verdict import FAIL, NOT_TESTED, PREDICTION, SPEED, Verdict
from calibration.validation.verdicts import Warnings, headline, verdicts, warnings


@dataclass(frozen=True)
class Judgements:
    """The verdicts on ``predictions`` and on the ``calibration``, the worst first.

    ``headline``: do the predictions hold? ``warnings``: by cause. ``speeds``: by place, the
    relative standard deviation of the machine's speed, where it kept predicted times from being
    tested.
    """

    headline: str
    predictions: Sequence[Verdict]
    calibration: Sequence[Verdict]
    warnings: Sequence[Warnings]
    speeds: Mapping[str, float]

    @classmethod
    def of(cls, validation: Validation | None, profiles: Profiles | None) -> Self | None:
        """Those of a run; None where it has nothing to judge."""
        judged = verdicts(validation, profiles)
        if not judged:
            return None
        predictions = [each for each in judged if each.about == PREDICTION]
        return cls(
            headline(judged),
            predictions,
            [each for each in judged if each.about != PREDICTION],
            warnings(judged),
            {place.place: place.speed_sd for place in profiles.places}
            if profiles and any(each.cause == SPEED for each in predictions)
            else {},
        )

    @property
    def failed(self) -> set[str]:
        """The predictions that fail."""
        return {each.judged for each in self.predictions if each.verdict == FAIL}

    @property
    def untested(self) -> set[str]:
        """The predictions that could not be tested."""
        return {each.judged for each in self.predictions if each.verdict == NOT_TESTED}
