"""A judgement of a run: PASS, FAIL or NOT TESTED."""

from dataclasses import dataclass
from typing import Self

PASS, FAIL, NOT_TESTED = "PASS", "FAIL", "NOT TESTED"

#: What predictions are meant to reach, as a relative error.
GOALS = {"time": 0.03, "energy": 0.03, "error": 0.05, "utility": 0.05}
_NOTHING = "–"


@dataclass(frozen=True)
class Verdict:
    """What was ``judged``, its ``value`` and what is ``allowed``, in words.

    ``about``: ``prediction`` or ``calibration``; ``tolerance_used``: the share of the allowed that
    the value uses (1: all); ``reason``: why it was not tested, or what else is to be known.
    """

    about: str
    judged: str
    value: str
    allowed: str
    verdict: str
    tolerance_used: float = 0.0
    reason: str = ""

    @classmethod
    def of(cls, about: str, judged: str, value: str, allowed: str, tolerance_used: float) -> Self:
        """PASS where at most all of the tolerance is used, else FAIL."""
        verdict = PASS if tolerance_used <= 1 else FAIL
        return cls(about, judged, value, allowed, verdict, tolerance_used)

    @classmethod
    def not_tested(
        cls, about: str, judged: str, reason: str, value: str = _NOTHING, allowed: str = _NOTHING
    ) -> Self:
        """NOT TESTED, and why."""
        return cls(about, judged, value, allowed, NOT_TESTED, reason=reason)
