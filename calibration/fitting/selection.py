"""Which of several fitted families is chosen, and the weight of each in the average.

The weight of a family is the mean square of its errors on points that it was not fitted to, to the
power -n/4 for n points. That is half the exponent of a Gaussian likelihood of independent errors,
because the errors of neighbouring points are correlated. A family that another fitted family
contains has weight 0: a nested family adds no information and understates the floor's uncertainty.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.fitting.curve_fit import FamilyFit

#: A family whose held-out error is within this factor of the least one stays in the running.
GUARD = 1.5
#: A held-out error below this is rounding.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Candidate:
    """A family's ``fit``, and what its selection needs beside it.

    ``held_out_square``: mean square of the errors of points predicted from the others, in units of
    their sd; None with too few points. ``supported``: do the points support a curve of this family?
    (A floor that the points do not reach refuses the estimate, not the curve.)
    """

    fit: FamilyFit
    held_out_square: float | None
    supported: bool = True


def least_held_out_error(fits: Iterable[FamilyFit]) -> float:
    """The least held-out error, at least :data:`ROUNDING`; infinite where none is known."""
    errors = (fit.held_out_error for fit in fits if fit.held_out_error is not None)
    return max(ROUNDING, min(errors, default=math.inf))


def in_the_running(fits: Sequence[FamilyFit]) -> list[FamilyFit]:
    """The ``fits`` that predicted left-out points comparably well to the best."""
    limit = GUARD * least_held_out_error(fits)
    return [fit for fit in fits if fit.held_out_error is not None and fit.held_out_error <= limit]


def choose(fits: Sequence[FamilyFit]) -> str:
    """The name of the best family; see :func:`calibration.fitting.fit.fit_curve`."""
    running = in_the_running(fits)
    by_aicc = bool(running) and all(fit.aicc is not None for fit in fits)
    best = min(
        running or fits, key=lambda fit: (fit.aicc if by_aicc else fit.held_out_error) or 0.0
    )
    return best.family


def weights(candidates: Sequence[Candidate], points: int) -> dict[str, float]:
    """{family: weight} in the average of ``candidates``, fitted to so many ``points``.

    If every family with a larger one was refused, a family is nested only in those that remain.
    """
    names = {candidate.fit.family for candidate in candidates}
    outer = [candidate for candidate in candidates if not candidate.fit.within] or [
        candidate for candidate in candidates if not names & set(candidate.fit.within)
    ]
    errors = {
        candidate.fit.family: max(candidate.held_out_square, ROUNDING**2)
        for candidate in outer
        if candidate.held_out_square is not None
    }
    if errors:
        least = min(errors.values())
        shares = {name: (least / error) ** (points / 4) for name, error in errors.items()}
    else:  # all have as many parameters as there are points
        shares = {candidate.fit.family: 1.0 for candidate in outer}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}
