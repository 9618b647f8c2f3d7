"""All judgements of a run; this is the one place that says what fails."""

from calibration.profiles.profile import Profiles
from calibration.validation.calibration_verdicts import of_calibration
from calibration.validation.prediction_verdicts import of_predictions
from calibration.validation.validation import Validation
from calibration.validation.verdict import FAIL, NOT_TESTED, PASS, Verdict

_WORST_FIRST = (FAIL, NOT_TESTED, PASS)


def verdicts(
    validation: Validation | None = None, profiles: Profiles | None = None
) -> list[Verdict]:
    """The verdicts of a run, of what it has, the worst first."""
    judged = [
        *(of_predictions(validation) if validation else ()),
        *(of_calibration(profiles, validation) if profiles else ()),
    ]
    return sorted(judged, key=lambda each: (_WORST_FIRST.index(each.verdict), -each.tolerance_used))


def failures(validation: Validation) -> list[str]:
    """A line for each prediction that fails: a total, or the coverage of a quantity."""
    return [
        f"{each.judged}: {each.value}; allowed: {each.allowed}"
        for each in of_predictions(validation)
        if each.verdict == FAIL
    ]
