"""Verdicts of predictions: totals within their intervals, and the coverage of single users'."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from scipy.stats import betabinom, binom

from calibration.comparison import Total
from calibration.validation.validation import UserValidation, Validation
from calibration.validation.verdict import FAIL, PASS, Verdict

# A 95 % interval's coverage is called too low only where chance is less likely than this: several
# quantities are judged at once.
COVERAGE_LEVEL = 0.01
# Users of one class and place share the curve and the spread estimated in calibration, so that they
# lie inside, or outside, together: a spread known to 20 % (from a dozen prompts) moves the share
# inside by 0.03, which is this share of the variance, 0.95 * 0.05, of one user.
SHARED_VARIANCE = 0.02
# Not the CLIP score: it is the utility on another scale, and would be counted twice.
_COVERED = ("time", "energy", "error", "utility")
_MODELLED = "no meter: energy is watts times time, and time is judged"


def of_predictions(validation: Validation) -> list[Verdict]:
    """Are the totals within their 95 % intervals, and do the intervals of single users hold as many
    measured values as they should?
    """
    return [
        *(_total(total) for total in validation.totals),
        *(_coverage(name, validation.users) for name in _COVERED),
    ]


def _total(total: Total) -> Verdict:
    judged, unit = total.quantity, total.unit.replace("1", "")
    if total.measured is None:
        return Verdict.not_tested("prediction", judged, "not measured")
    if total.low is None or total.high is None:
        reason = "no interval: as many images as the calibration has"
        return Verdict.not_tested("prediction", judged, reason)
    value = f"predicted {total.predicted:.4g}, measured {total.measured:.4g} {unit}".rstrip()
    allowed = f"{total.low:.4g} to {total.high:.4g} {unit}".rstrip()
    if total.basis == "modelled":
        return Verdict.not_tested("prediction", judged, _MODELLED, value, allowed)
    above = total.measured > total.predicted
    half = total.high - total.predicted if above else total.predicted - total.low
    return Verdict(
        "prediction",
        judged,
        value,
        allowed,
        PASS if total.inside else FAIL,
        abs(total.measured - total.predicted) / half if half else 0.0,
        total.note or "",
    )


def _coverage(name: str, users: Sequence[UserValidation]) -> Verdict:
    judged = f"coverage of {name}"
    measured = [user for user in users if user.quantity(name).inside is not None]
    count = len(measured)
    inside = sum(bool(user.quantity(name).inside) for user in measured)
    chance = inside_by_chance([(user.prompt_class, user.place) for user in measured])
    least = int(chance.ppf(COVERAGE_LEVEL)) if measured else 0
    if not least:
        reason, value = "too few to show a lack of coverage", f"{count} users measured"
        return Verdict.not_tested("prediction", judged, reason, value)
    value = f"{inside} of {count} inside their 95 % intervals (p = {chance.cdf(inside):.2g})"
    allowed = f"at least {least} of {count} (p ≥ {COVERAGE_LEVEL:g}, binomial)"
    if all(user.quantity(name).basis == "modelled" for user in measured):
        return Verdict.not_tested("prediction", judged, _MODELLED, value, allowed)
    used = (count - inside) / max(1, count - least)
    return Verdict.of("prediction", judged, value, allowed, used)


def inside_by_chance(cells: Sequence[Hashable]) -> Any:
    """The distribution (of scipy) of how many users lie inside 95 % intervals that are right.

    ``cells``: each user's class and place. The distribution is binomial, but for pairs of one cell
    with a correlation :data:`SHARED_VARIANCE`: a beta-binomial with the mean correlation of all
    pairs.
    """
    n = len(cells)
    pairs = sum(count * (count - 1) for count in Counter(cells).values())
    if not pairs:
        return binom(n, 0.95)
    spread = n * (n - 1) / (SHARED_VARIANCE * pairs) - 1
    return betabinom(n, 0.95 * spread, 0.05 * spread)
