"""Verdicts of predictions: totals within their intervals, and the coverage of single users'."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from scipy.special import ndtri

from calibration.comparison import Comparison, Total
from calibration.costs.drift import Drift
from calibration.statistics import Z95
from calibration.validation.validation import UserValidation, Validation
from calibration.validation.verdict import (
    FAIL,
    INFO,
    PASS,
    PREDICTION,
    PROMPTS,
    SPEED,
    Cause,
    Verdict,
)

#: The probability that any prediction fails in a run whose intervals are right.
LEVEL = 0.01
# Users of one class and place share the curve and the spread estimated in calibration, so that they
# lie inside, or outside, together: a spread known to 20 % (from a dozen prompts) moves the share
# inside by 0.03, which is this share of the variance, 0.95 * 0.05, of one user.
SHARED_VARIANCE = 0.02
# Not the CLIP score: it is the utility on another scale, and would be counted twice.
_COVERED = ("time", "energy", "error", "utility")
_MODELLED = "no meter: energy is watts times time, and time is judged"


def of_predictions(validation: Validation) -> list[Verdict]:
    """Are the totals within their intervals, and do the 95 % intervals of single users hold as many
    measured values as they should?

    Of ten right intervals of 95 % one often misses. So the intervals of the totals are widened, and
    the coverage that is asked for is lowered, until all of a run would hold together with a
    probability of 1 - :data:`LEVEL` (Bonferroni), were the widened tails those of normal
    distributions. What lies outside fails; inside an interval wider than the value it is not
    tested.
    """
    counted = [total for total in validation.totals if _testable(total)]
    covered = [
        _Coverage.of(name, validation.users, validation.drift if name == "time" else {})
        for name in _COVERED
        if not validation.users or any(user.quantity(name) for user in validation.users)
    ]
    level = LEVEL / max(1, len(counted) + sum(row.testable for row in covered))
    widened = float(-ndtri(level / 2)) / Z95
    unsteady = any(total.unit == "s" and _too_wide(total, widened) for total in counted)
    return [
        *(_total(total, widened, unsteady) for total in validation.totals),
        *(row.verdict(level) for row in covered),
    ]


def _testable(total: Total) -> bool:
    return total.inside is not None and total.basis != "modelled"


def _allowed(row: Comparison, widened: float) -> tuple[float, float]:
    """The 95 % interval, ``widened`` times as wide; in proportion where it lies above 0."""
    assert row.low is not None and row.high is not None
    if 0 < row.low <= row.predicted:
        ends = (row.predicted * (end / row.predicted) ** widened for end in (row.low, row.high))
    else:
        ends = (row.predicted + widened * (end - row.predicted) for end in (row.low, row.high))
    low, high = ends
    return low, high


def _too_wide(row: Comparison, widened: float = 1.0) -> bool:
    """Whether the interval reaches further from the value than 0 is."""
    if row.low is None or row.high is None:
        return False
    low, high = _allowed(row, widened)
    return max(high - row.predicted, row.predicted - low) > abs(row.predicted)


def _total(total: Total, widened: float, unsteady: bool) -> Verdict:
    """``widened``: times the half-width of 95 %; ``unsteady``: the intervals of times are too wide,
    which make that of the objective.
    """
    judged, unit = total.quantity, total.unit.replace("1", "")
    if total.measured is None:
        return Verdict.not_tested(PREDICTION, judged, "not measured")
    if total.low is None or total.high is None:
        reason = "no interval: as many images as the calibration has"
        return Verdict.not_tested(PREDICTION, judged, reason, cause=PROMPTS)
    low, high = _allowed(total, widened)
    value = f"predicted {total.predicted:.4g}, measured {total.measured:.4g} {unit}".rstrip()
    allowed = f"{low:.4g} to {high:.4g} {unit}".rstrip()
    if total.basis == "modelled":
        return Verdict(PREDICTION, judged, value, allowed, INFO, reason=_MODELLED)
    missed = total.measured - total.predicted
    used = missed / max(high - total.predicted, 1e-300)
    if missed < 0:
        used = missed / min(low - total.predicted, -1e-300)
    if used <= 1 and _too_wide(total, widened):
        timed = unit in ("s", "J") or (judged == "objective" and unsteady)
        return _untold(judged, value, allowed, SPEED if timed else PROMPTS)
    verdict = PASS if used <= 1 else FAIL
    return Verdict(PREDICTION, judged, value, allowed, verdict, used, total.note or "")


@dataclass(frozen=True)
class _Coverage:
    """How many of the measured users' intervals of the quantity ``name`` hold.

    ``chance``: the distribution of how many hold where all are right; ``modelled``: none was
    metered; ``wide``: how many are wider than their value.
    """

    name: str
    count: int
    inside: int
    wide: int
    modelled: bool
    chance: Any

    @classmethod
    def of(cls, name: str, users: Sequence[UserValidation], drift: Mapping[str, Drift]) -> Self:
        """``drift``: by place; measured values are taken at the speed before it. All users share
        it, and the total is judged with it.
        """
        compared = [
            (user, _without(row, drift.get(user.place)))
            for user in users
            if (row := user.quantity(name))
        ]
        measured = [(user, row) for user, row in compared if row.inside is not None]
        rows = [row for _, row in measured]
        return cls(
            name,
            len(rows),
            sum(bool(row.inside) for row in rows),
            sum(_too_wide(row) for row in rows),
            all(row.basis == "modelled" for row in rows),
            inside_by_chance([(user.prompt_class, user.place) for user, _ in measured]),
        )

    @property
    def testable(self) -> bool:
        return self.count > 0 and not self.modelled

    def verdict(self, level: float) -> Verdict:
        judged, count = f"coverage of {self.name}", self.count
        least = int(self.chance.ppf(level)) if count else 0
        value = f"{self.inside} of {count} inside their 95 % intervals"
        allowed = f"at least {least} of {count}"
        if count and self.modelled:
            return Verdict(PREDICTION, judged, value, allowed, INFO, reason=_MODELLED)
        if not least:
            reason, value = "too few to show a lack of coverage", f"{count} users measured"
            return Verdict.not_tested(PREDICTION, judged, reason, value)
        if self.inside >= least and 2 * self.wide > count:
            timed = self.name in ("time", "energy")
            return _untold(judged, value, allowed, SPEED if timed else PROMPTS)
        used = (count - self.inside) / max(1, count - least)
        return Verdict(PREDICTION, judged, value, allowed, PASS if used <= 1 else FAIL, used)


def _without(row: Comparison, drift: Drift | None) -> Comparison:
    """``row`` as if it had been measured before the ``drift``."""
    if drift is None or row.inside is None or row.low is None or row.high is None:
        return row
    assert row.measured is not None
    fixed = row.fixed or 0.0
    before = fixed + (row.measured - fixed) / drift.ratio
    return replace(row, inside=row.low <= before <= row.high)


def _untold(judged: str, value: str, allowed: str, cause: Cause) -> Verdict:
    reason = f"{cause.name}: the interval is wider than the value"
    return Verdict.not_tested(PREDICTION, judged, reason, value, allowed, cause)


def inside_by_chance(cells: Sequence[Hashable]) -> Any:
    """The distribution (of scipy) of how many users lie inside 95 % intervals that are right.

    ``cells``: each user's class and place. The distribution is binomial, but for pairs of one cell
    with a correlation :data:`SHARED_VARIANCE`: a beta-binomial with the mean correlation of all
    pairs.
    """
    from scipy.stats import betabinom, binom  # half a second to import: only when asked for

    n = len(cells)
    pairs = sum(count * (count - 1) for count in Counter(cells).values())
    if not pairs:
        return binom(n, 0.95)
    spread = n * (n - 1) / (SHARED_VARIANCE * pairs) - 1
    return betabinom(n, 0.95 * spread, 0.05 * spread)
