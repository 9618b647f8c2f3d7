"""Verdicts of the calibration: do its fits hold, and did the machine stay as it was?"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from calibration.costs.drift import Drift
from calibration.costs.energy import EnergyFit
from calibration.costs.line import AFFINE_LEVEL, LackOfFit
from calibration.costs.power_law import ConstantPower, PowerLaw
from calibration.fitting.curve_fit import CurveFit
from calibration.fitting.prediction import members
from calibration.profiles.profile import ClassProfile, Profiles
from calibration.sweep.outcome import SweepWidth
from calibration.validation.validation import Validation
from calibration.validation.verdict import FAIL, GOALS, NOT_TESTED, PASS, Verdict

_ABOUT = "calibration"


def of_calibration(profiles: Profiles, validation: Validation | None = None) -> list[Verdict]:
    """Are time and energy affine in steps? Does power follow the paper's law? Do the curves predict
    left-out points? Do the Fréchet distances have enough images? Did the machine drift before the
    ``validation``? Are the sweep's intervals as narrow as planned?
    """
    rows = []
    for place in profiles.places:
        for profile in place.classes:
            where = f"{profile.prompt_class}, {place.place}"
            rows.append(_affine("time", where, profile.time.lack_of_fit))
            if profile.energy:
                rows.append(_affine("energy", where, profile.energy.lack_of_fit))
            rows.append(_held_out("error", where, profile.error))
            rows.append(_held_out("utility", where, profile.utility))
            if profile.energy:
                rows += _power(where, profile.energy)
    rows += _frechet(profiles)
    if validation:
        rows += _drift(validation.drift)
    swept = [place.sweep for place in profiles.places if place.sweep]
    if swept:
        rows.append(_widths([width for sweep in swept for width in sweep.widths]))
    return rows


def _judge(judged: str, value: str, allowed: str, tolerance_used: float) -> Verdict:
    return Verdict.of(_ABOUT, judged, value, allowed, tolerance_used)


def _affine(name: str, where: str, lack: LackOfFit | None) -> Verdict:
    judged, goal = f"{name} affine in steps: {where}", GOALS[name]
    if lack is None:
        reason = "one image at each step count, or two step counts"
        return Verdict.not_tested(_ABOUT, judged, reason)
    value = f"p = {lack.p:.2g}; largest distance {lack.largest:+.1%} at s = {lack.at}"
    allowed = f"p ≥ {AFFINE_LEVEL:g}, or at most {goal:.0%}"
    # Enough images show any bend: one that leaves the goal in reach does not count against the
    # line.
    used = min(AFFINE_LEVEL / max(lack.p, 1e-12), abs(lack.largest) / goal)
    return _judge(judged, value.replace("%", " %"), allowed.replace("%", " %"), used)


def _held_out(name: str, where: str, fit: CurveFit) -> Verdict:
    judged, goal = f"{name} curve on left-out points: {where}", GOALS[name]
    family, _ = max(members(fit), key=lambda member: member[1])
    error = family.held_out_error
    if error is None:
        return Verdict.not_tested(_ABOUT, judged, "too few points to leave one out")
    value, allowed = f"{100 * error:.2g} % relative error", f"at most {100 * goal:g} %"
    return _judge(judged, value, allowed, error / goal)


def _power(where: str, energy: EnergyFit) -> list[Verdict]:
    """Power against the clock, and whether the overhead has the steps' power; nothing where the
    profile has neither.
    """
    rows = []
    if energy.law:
        rows.append(_law(f"power as the clock's cube: {where}", energy.law))
    if energy.constant_power:
        judged = f"one power for overhead and steps: {where}"
        rows.append(_constant_power(judged, energy.constant_power))
    return rows


def _law(judged: str, law: PowerLaw) -> Verdict:
    allowed = "3 within the interval"
    if law.exponent is None or law.low is None or law.high is None:
        return Verdict.not_tested(_ABOUT, judged, law.reason or "", allowed=allowed)
    value = f"exponent {law.exponent:.3g} ({law.low:.3g} to {law.high:.3g})"
    used = abs(law.exponent - 3) / max((law.high - law.low) / 2, 1e-12)
    return _judge(judged, value, allowed, used)


def _constant_power(judged: str, constant: ConstantPower) -> Verdict:
    value = f"p = {constant.p:.2g}; {constant.excess_j:+.3g} J an image beyond power times time"
    return _judge(judged, value, f"p ≥ {AFFINE_LEVEL:g}", AFFINE_LEVEL / max(constant.p, 1e-12))


def _frechet(profiles: Profiles) -> list[Verdict]:
    """Do the sweep's Fréchet distances rest on enough images? One verdict for all curves of which
    the same is to be said.
    """
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in profiles.places:
        for profile in place.classes:
            alike[_frechet_sizes(profile)].append(f"{profile.prompt_class}, {place.place}")
    count = sum(len(where) for where in alike.values())
    rows = []
    for (value, reason), where in alike.items():
        names = "all classes and places" if len(where) == count else "; ".join(where)
        verdict = NOT_TESTED if reason else PASS
        allowed = "more images than features"
        judged = f"Fréchet distances from enough images: {names}"
        rows.append(Verdict(_ABOUT, judged, value, allowed, verdict, reason=reason))
    return rows


def _frechet_sizes(profile: ClassProfile) -> tuple[str, str]:
    """How many images the points of the Fréchet distance have, and why that is too few, or ""."""
    if not profile.frechet:
        return "–", "not measured"
    sizes = sorted({point.n for point in profile.frechet})
    value = f"{sizes[0]} to {sizes[-1]}" if sizes[1:] else f"{sizes[0]}"
    # a profile of an older testbed does not say
    notes = [
        point.note if point.carried is not None else "not said by the profile"
        for point in profile.frechet
    ]
    return f"{value} images a point", next(filter(None, notes), "")


def _drift(places: Mapping[str, Drift]) -> list[Verdict]:
    goal = GOALS["time"]
    if not places:
        reason = "no images of the sweep's kind in between"
        return [Verdict.not_tested(_ABOUT, "drift of the machine", reason)]
    rows = []
    for place, drift in sorted(places.items()):
        change, uncertainty = drift.ratio - 1, drift.half_width(1.0)
        value = (
            f"{100 * abs(change):.1f} % {'slower' if change > 0 else 'quicker'} than when "
            f"calibrated (± {100 * uncertainty:.1f} %)"
        )
        allowed = f"{100 * goal:g} %, beyond that uncertainty"
        judged = f"drift of the machine: {place}"
        rows.append(_judge(judged, value, allowed, abs(change) / (goal + uncertainty)))
    return rows


def _widths(widths: Sequence[SweepWidth]) -> Verdict:
    missed = sum(not width.reached for width in widths)
    return Verdict(
        _ABOUT,
        "widths of the sweep plan",
        f"{len(widths) - missed} of {len(widths)} intervals as narrow as planned",
        "all",
        FAIL if missed else PASS,
        1.0 + missed if missed else 0.0,
    )
