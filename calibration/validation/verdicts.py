"""All judgements of a run; this is the one place that says what fails."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.profiles.profile import Profiles
from calibration.validation.calibration_verdicts import of_calibration
from calibration.validation.prediction_verdicts import of_predictions
from calibration.validation.validation import Validation
from calibration.validation.verdict import (
    FAIL,
    INFO,
    NOT_TESTED,
    PASS,
    PREDICTION,
    WARN,
    Cause,
    Verdict,
)

_WORST_FIRST = (FAIL, WARN, NOT_TESTED, PASS, INFO)


@dataclass(frozen=True)
class Warnings:
    """What one ``cause`` makes a run warn of, or keeps from being tested.

    ``warned``: is there a warning among them? ``what``: each kind of judgement, with how many there
    are of it.
    """

    cause: Cause
    warned: bool
    what: Sequence[tuple[str, int]]


def verdicts(
    validation: Validation | None = None, profiles: Profiles | None = None
) -> list[Verdict]:
    """The verdicts of a run, of what it has: predictions first, of each the worst first."""
    judged = [
        *(of_predictions(validation) if validation else ()),
        *(of_calibration(profiles, validation) if profiles else ()),
    ]
    return sorted(
        judged,
        key=lambda each: (
            each.about != PREDICTION,
            _WORST_FIRST.index(each.verdict),
            -each.tolerance_used,
        ),
    )


def headline(judged: Iterable[Verdict]) -> str:
    """Whether the predictions hold, in one sentence; empty where there are none."""
    predictions = [each for each in judged if each.about == PREDICTION and each.verdict != INFO]
    if not predictions:
        return ""
    failed, untested = (
        [each.judged for each in predictions if each.verdict == word] for word in (FAIL, NOT_TESTED)
    )
    count = len(predictions)
    noun = "prediction" if count == 1 else "predictions"
    if failed:
        start = f"{len(failed)} of {count} {noun} fail{'s' * (len(failed) == 1)}: {_listed(failed)}"
    elif not untested:
        return f"All {count} {noun} hold."
    else:
        start = f"{count - len(untested)} of {count} {noun} hold"
    rest = f"; {len(untested)} could not be tested: {_listed(untested, 3)}" if untested else ""
    return f"{start}{rest}."


def warnings(judged: Iterable[Verdict]) -> list[Warnings]:
    """The warnings, and what was not tested for a cause that has a remedy, by cause."""
    groups: dict[Cause, list[Verdict]] = defaultdict(list)
    for each in judged:
        if each.cause:
            groups[each.cause].append(each)
    return sorted(
        (
            Warnings(
                cause,
                any(each.verdict == WARN for each in group),
                tuple(Counter(each.kind for each in group).items()),
            )
            for cause, group in groups.items()
        ),
        key=lambda group: not group.warned,
    )


def failures(validation: Validation) -> list[str]:
    """A line for each prediction that fails: a total, or the coverage of a quantity."""
    return [
        f"{each.judged}: {each.value}; allowed: {each.allowed}"
        for each in of_predictions(validation)
        if each.verdict == FAIL
    ]


def _listed(names: Sequence[str], most: int | None = None) -> str:
    """The names in words; of more than ``most`` the first and how many others."""
    shown = [
        name.replace("clip_score", "CLIP score").replace(", drift removed", " without drift")
        for name in names
    ]
    if most is not None and len(shown) > most:
        shown[most - 1 :] = [f"{len(shown) - most + 1} others"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
