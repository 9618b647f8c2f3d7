"""Verdicts of the calibration: do its fits hold, and did the machine stay as it was?"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr

from calibration.costs.drift import Drift, drift_expected
from calibration.costs.energy import EnergyFit
from calibration.costs.line import LackOfFit
from calibration.costs.power_law import PowerLaw
from calibration.fitting.curve_fit import CurveFit
from calibration.profiles.profile import ClassProfile, Profiles
from calibration.statistics import t_quantile
from calibration.sweep.outcome import SweepWidth
from calibration.validation.misfit import heaviest, holm, misfit_p
from calibration.validation.validation import Validation
from calibration.validation.verdict import (
    CALIBRATION,
    FORM,
    GOALS,
    INFO,
    LAW,
    PASS,
    PROMPTS,
    SPEED,
    WARN,
    Cause,
    Verdict,
)

#: The probability that any check of a sound calibration warns.
LEVEL = 0.01


@dataclass(frozen=True)
class _Check:
    """A fit held against its own points.

    ``p``: of the test whether their errors explain the misfit (None: not testable). ``size`` of the
    misfit, which does not matter up to ``bound`` (None: any matters). ``noise``: what to do where
    the errors explain a larger one; ``cause`` of a misfit that they do not explain.
    """

    judged: str
    value: str
    p: float | None
    size: float = 0.0
    bound: float | None = None
    cause: Cause = FORM
    noise: Cause | None = None

    def verdict(self, p: float | None) -> Verdict:
        """The verdict at a corrected ``p``."""
        allowed = f"p ≥ {LEVEL:g}"
        used = LEVEL / max(p, 1e-12) if p is not None else 0.0
        if self.bound is not None:
            allowed, within = f"at most {100 * self.bound:g} %", self.size / self.bound
            used = min(used, within) if p is not None else within
        value = self.value if p is None else f"{self.value}; p = {p:.2g}"
        small = self.bound is not None and self.size <= self.bound
        if p is not None and p < LEVEL and not small:
            return Verdict(CALIBRATION, self.judged, value, allowed, WARN, used, cause=self.cause)
        if small or self.bound is None:
            return Verdict(CALIBRATION, self.judged, value, allowed, PASS, used)
        reason = "the points have no standard errors"
        if p is not None and self.noise:
            reason = f"{self.noise.name}: the points' own errors explain it"
        return Verdict.not_tested(
            CALIBRATION, self.judged, reason, value, allowed, self.noise if p is not None else None
        )


def of_calibration(profiles: Profiles, validation: Validation | None = None) -> list[Verdict]:
    """Are time and energy affine in steps? Does power follow the paper's law? Do the curves predict
    left-out points? Do the Fréchet distances have enough images? Did the machine drift before the
    ``validation``? Are the sweep's intervals as narrow as planned?

    A check warns where its points show more misfit than their errors explain. The p values of all
    checks are corrected together, so that a sound calibration warns with a probability of at most
    :data:`LEVEL`.
    """
    rows: list[Verdict | _Check] = []
    for place in profiles.places:
        for profile in place.classes:
            where = f"{profile.prompt_class}, {place.place}"
            rows.append(_affine("time", where, profile.time.lack_of_fit))
            if profile.energy:
                rows.append(_affine("energy", where, profile.energy.lack_of_fit))
            rows.append(_left_out("error", where, profile.error))
            if profile.utility:
                rows.append(_left_out("utility", where, profile.utility))
            if profile.energy:
                rows += _power(where, profile.energy)
    rows += _frechet(profiles)
    if validation:
        rows += _drift(profiles, validation.drift)
    swept = [place.sweep for place in profiles.places if place.sweep]
    if swept:
        rows.append(_widths([width for sweep in swept for width in sweep.widths]))
    return _corrected(rows)


def _corrected(rows: Sequence[Verdict | _Check]) -> list[Verdict]:
    """The verdicts, those of the checks at p values corrected for their number."""
    tested = [row for row in rows if isinstance(row, _Check) and row.p is not None]
    corrected = dict(zip(map(id, tested), holm([row.p for row in tested if row.p is not None])))
    return [row.verdict(corrected.get(id(row))) if isinstance(row, _Check) else row for row in rows]


def _affine(name: str, where: str, lack: LackOfFit | None) -> Verdict | _Check:
    judged = f"{name} affine in steps: {where}"
    if lack is None:
        reason = "one image at each step count, or two step counts"
        return Verdict.not_tested(CALIBRATION, judged, reason)
    value = f"largest distance {100 * lack.largest:+.1f} % at s = {lack.at}"
    return _Check(judged, value, lack.p, abs(lack.largest), GOALS[name], FORM, SPEED)


def _left_out(name: str, where: str, fit: CurveFit) -> Verdict | _Check:
    judged = f"{name} curve on left-out points: {where}"
    error = heaviest(fit).held_out_error
    if error is None:
        return Verdict.not_tested(CALIBRATION, judged, "too few points to leave one out")
    value = f"{100 * error:.2g} % relative error"
    return _Check(judged, value, misfit_p(fit), error, GOALS[name], FORM, PROMPTS)


def _power(where: str, energy: EnergyFit) -> list[Verdict | _Check]:
    """Power against the clock, and whether the overhead has the steps' power; nothing where the
    profile has neither.
    """
    rows: list[Verdict | _Check] = []
    if energy.law:
        residual_dof = energy.law.n - len(energy.points) - 1
        rows.append(_law(f"power as the clock's cube: {where}", energy.law, residual_dof))
    if energy.constant_power:
        constant = energy.constant_power
        value = f"{constant.excess_j:+.3g} J an image beyond power times time"
        judged = f"one power for overhead and steps: {where}"
        rows.append(_Check(judged, value, constant.p, cause=LAW))
    return rows


def _law(judged: str, law: PowerLaw, residual_dof: int) -> Verdict | _Check:
    if law.exponent is None or law.low is None or law.high is None:
        return Verdict.not_tested(CALIBRATION, judged, law.reason or "", allowed="3")
    value = f"exponent {law.exponent:.3g} ({law.low:.3g} to {law.high:.3g})"
    error = max((law.high - law.low) / 2 / t_quantile(residual_dof), 1e-12)
    p = float(2 * stdtr(max(1, residual_dof), -abs(law.exponent - 3) / error))
    return _Check(judged, value, p, cause=LAW)


def _frechet(profiles: Profiles) -> list[Verdict]:
    """On how many images the sweep's Fréchet distances rest, as information: one row for all curves
    of which the same is to be said.
    """
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in profiles.places:
        for profile in place.classes:
            alike[_frechet_sizes(profile)].append(f"{profile.prompt_class}, {place.place}")
    count = sum(len(where) for where in alike.values())
    rows = []
    for (value, reason), where in alike.items():
        names = "all classes and places" if len(where) == count else "; ".join(where)
        allowed = "more images than features"
        judged = f"Fréchet distances from enough images: {names}"
        rows.append(Verdict(CALIBRATION, judged, value, allowed, INFO, reason=reason))
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


def _drift(profiles: Profiles, places: Mapping[str, Drift]) -> list[Verdict]:
    """How much the speed changed, with a warning beyond what the intervals of times hold."""
    if not places:
        reason = "no images of the sweep's kind in between"
        return [Verdict(CALIBRATION, "drift of the machine", "–", "–", INFO, reason=reason)]
    rows = []
    for name, drift in sorted(places.items()):
        place = profiles.get(name)
        held = max(GOALS["time"], drift_expected(place.speed_sd) if place else 0.0)
        change, uncertainty = drift.ratio - 1, drift.half_width(1.0)
        value = (
            f"{100 * abs(change):.1f} % {'slower' if change > 0 else 'quicker'} than when "
            f"calibrated (± {100 * uncertainty:.1f} %)"
        )
        allowed = f"{100 * held:.2g} %, beyond that uncertainty"
        used = abs(change) / (held + uncertainty)
        rows.append(
            Verdict(
                CALIBRATION,
                f"drift of the machine: {name}",
                value,
                allowed,
                WARN if used > 1 else INFO,
                used,
                cause=SPEED if used > 1 else None,
            )
        )
    return rows


def _widths(widths: Sequence[SweepWidth]) -> Verdict:
    missed = sum(not width.reached for width in widths)
    return Verdict(
        CALIBRATION,
        "widths of the sweep plan",
        f"{len(widths) - missed} of {len(widths)} intervals as narrow as planned",
        "all",
        WARN if missed else PASS,
        1.0 + missed if missed else 0.0,
        cause=PROMPTS if missed else None,
    )
