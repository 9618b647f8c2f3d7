"""A judgement of a run, and the cause of one that warns or could not be made."""

from dataclasses import dataclass
from typing import Self

PASS, FAIL, WARN, NOT_TESTED, INFO = "PASS", "FAIL", "WARN", "NOT TESTED", "INFO"

#: What predictions are meant to reach, as a relative error.
GOALS = {"time": 0.03, "energy": 0.03, "error": 0.05, "utility": 0.05}
PREDICTION, CALIBRATION = "prediction", "calibration"
_NOTHING = "–"


@dataclass(frozen=True)
class Cause:
    """What keeps a run from being judged, or makes it warn; ``remedy``: what to do about it."""

    name: str
    remedy: str


SPEED = Cause("the machine was too unsteady", "repeat the run when the machine is idle")
PROMPTS = Cause(
    "too few prompts",
    "raise prompts_per_class (most_prompts in an adaptive sweep), or set half_width = 0.1",
)
FORM = Cause("the form is rough", "measure more step counts where the residuals are large")
LAW = Cause("power is not the paper's", "nothing to repeat: predictions rest on the metered joules")


@dataclass(frozen=True)
class Verdict:
    """What was ``judged``, its ``value`` and what is ``allowed``, in words.

    ``about``: a prediction, which passes or fails, or the calibration, which passes or warns;
    either may be not tested, or be information only. ``tolerance_used``: the share of the allowed
    that the value uses (1: all); ``reason``: why it was not tested, or what else is to be known;
    ``cause``: of a warning, or of what was not tested, where it has a remedy.
    """

    about: str
    judged: str
    value: str
    allowed: str
    verdict: str
    tolerance_used: float = 0.0
    reason: str = ""
    cause: Cause | None = None

    @classmethod
    def not_tested(
        cls,
        about: str,
        judged: str,
        reason: str,
        value: str = _NOTHING,
        allowed: str = _NOTHING,
        cause: Cause | None = None,
    ) -> Self:
        """NOT TESTED, and why."""
        return cls(about, judged, value, allowed, NOT_TESTED, reason=reason, cause=cause)

    @property
    def kind(self) -> str:
        """What was judged of the calibration, without the class and the place; or a prediction."""
        return self.judged.split(": ")[0] if self.about == CALIBRATION else "predictions"
