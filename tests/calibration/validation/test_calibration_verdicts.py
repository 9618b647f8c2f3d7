"""Verdicts of a calibration: what warns, what was not tested, what is information."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.costs.drift import Drift
from calibration.costs.energy import EnergyFit, PaperEnergy
from calibration.costs.line import LackOfFit
from calibration.costs.metering import Metered
from calibration.costs.power_law import law
from calibration.profiles.profile import DistancePoint
from calibration.sweep.outcome import SweepOutcome, SweepWidth
from calibration.validation.calibration_verdicts import of_calibration
from calibration.validation.verdict import INFO, NOT_TESTED, PASS, PROMPTS, SPEED, WARN
from tests.calibration.validation.world import validation, with_classes
from tests.calibration.world import CLASSES, World


@pytest.fixture(scope="module")
def profiles(measured):
    return measured


def judged(rows, start):
    return [verdict for verdict in rows if verdict.judged.startswith(start)]


def test_a_line_that_bends_warns_only_if_it_shows_and_matters(profiles):
    lacks = [
        None,
        LackOfFit(p=1e-6, largest=-0.06, at=2, affine=False),
        LackOfFit(p=1e-6, largest=0.02, at=2, affine=False),
        LackOfFit(p=0.3, largest=0.2, at=2, affine=True),
        LackOfFit(p=0.3, largest=0.02, at=2, affine=True),
    ]

    def first_verdict(lack):
        bent = with_classes(
            profiles, lambda _, each: replace(each, time=replace(each.time, lack_of_fit=lack))
        )
        return of_calibration(bent)[0]

    rows = [first_verdict(lack) for lack in lacks]
    assert [verdict.verdict for verdict in rows] == [NOT_TESTED, WARN, PASS, NOT_TESTED, PASS]
    assert rows[1].tolerance_used == pytest.approx(2)
    assert "−6.0" in rows[1].value.replace("-", "−")
    assert rows[3].cause == SPEED


def test_checks_are_corrected_together(profiles):
    """One bend that is likely to be seen by chance among so many checks does not warn."""

    def bent(p):
        lack = LackOfFit(p=p, largest=0.2, at=2, affine=False)
        return lambda place, each: (
            replace(each, time=replace(each.time, lack_of_fit=lack))
            if (place, each.prompt_class) == ("edge", CLASSES[0])
            else each
        )

    def warned(p):
        rows = of_calibration(with_classes(profiles, bent(p)))
        return [row.judged for row in rows if row.verdict == WARN]

    checks = 3 * 2 * len(CLASSES)
    assert warned(0.02 / checks) == []
    assert warned(0.005 / checks) == [f"time affine in steps: {CLASSES[0]}, edge"]


def test_curves_are_held_against_five_percent_and_their_own_errors(profiles):
    """The held-out error of the family that weighs most; beyond 5 % the points must show it."""
    rows = judged(of_calibration(profiles), "error curve")
    assert len(rows) == 2 * len(CLASSES)
    fits = [profile.error for place in profiles.places for profile in place.classes]
    for fit, verdict in zip(fits, rows, strict=True):
        family = max(fit.families, key=lambda family: family.weight)
        small = family.held_out_error <= 0.05
        assert verdict.verdict == (PASS if small else NOT_TESTED)
        assert small or verdict.cause == PROMPTS


def test_frechet_distances_have_enough_images_or_not_and_the_same_is_said_once(profiles):
    def measured(place, profile):
        note = None if place == "edge" else "too few"
        points = tuple(
            DistancePoint(4, 3.0, None, None, n, carried=note is None, note=note) for n in (12, 80)
        )
        return replace(profile, frechet=points)

    rows = judged(of_calibration(with_classes(profiles, measured)), "Fréchet")
    short, enough = sorted(rows, key=lambda verdict: verdict.reason, reverse=True)
    assert (short.verdict, short.reason) == (INFO, "too few")
    assert (enough.verdict, enough.reason) == (INFO, "")
    assert short.value == "12 to 80 images a point"
    none = judged(of_calibration(profiles), "Fréchet")
    assert [(verdict.verdict, verdict.reason) for verdict in none] == [(INFO, "not measured")]
    assert "all classes" in none[0].judged


@pytest.mark.parametrize(
    ("ratio", "se", "verdict"),
    [(1.02, 0.001, INFO), (1.2, 0.01, WARN), (0.8, 0.01, WARN), (1.05, 0.03, INFO)],
)
def test_a_machine_that_drifts_by_more_than_its_uncertainty_and_goal_warns(
    profiles, ratio, se, verdict
):
    drift = {"edge": Drift(ratio, se, 10)}
    (row,) = judged(of_calibration(profiles, validation(drift=drift)), "drift")
    assert row.verdict == verdict and ("slower" if ratio > 1 else "quicker") in row.value


def test_a_drift_that_the_intervals_of_times_hold_does_not_warn(profiles):
    unsteady = replace(
        profiles, places=tuple(replace(place, speed_sd=0.2) for place in profiles.places)
    )
    drift = validation(drift={"edge": Drift(1.3, 0.01, 10)})
    (row,) = judged(of_calibration(unsteady, drift), "drift")
    assert row.verdict == INFO


def test_no_anchors_no_verdict_on_drift(profiles):
    rows = judged(of_calibration(profiles, validation()), "drift")
    assert [verdict.verdict for verdict in rows] == [INFO]


def energy(power_law):
    """Joules of which only the law is known."""
    return EnergyFit(
        meter="replay",
        basis="measured",
        overhead_j=0.0,
        step_j=1.0,
        covariance=((0.0, 0.0), (0.0, 0.0)),
        dof=1,
        r2=1.0,
        n=60,
        points=(),
        lack_of_fit=None,
        idle_watts=None,
        dynamic_overhead_j=None,
        dynamic_step_j=None,
        clock_hz=None,
        constant_power=None,
        law=power_law,
        paper=PaperEnergy(coefficient=0.01, frequency_ghz=1.0),
    )


def test_the_law_of_power_is_judged_where_it_was_tested(profiles):
    """Power as the clock's square is no cube; a clock that stood still tests nothing."""
    ghz = 2.0 * np.exp(np.linspace(-0.2, 0.2, 60))
    images = Metered(
        meter="replay",
        steps=np.full(60, 8),
        joules=3 * ghz**2 * np.exp(0.01 * World(seed=1).draw.standard_normal(60)),
        seconds=np.ones(60),
        clock=1e9 * ghz,
        idle=np.zeros(60),
        period=0.0,
        spread=0.0,
    )
    still = replace(images, clock=np.full(60, 2e9))
    place = replace(profiles.places[0], classes=profiles.places[0].classes[:1])
    only = replace(profiles, places=(place,))

    def verdict(power_law):
        metered = with_classes(only, lambda _, each: replace(each, energy=energy(power_law)))
        (row,) = judged(of_calibration(metered), "power as")
        return row

    assert verdict(law(images)).verdict == WARN
    untested = verdict(law(still))
    assert untested.verdict == NOT_TESTED and "varied" in untested.reason


def test_a_sweep_that_missed_its_width_warns(profiles):
    for reached, kind in (((True, True), PASS), ((True, False), WARN)):
        widths = tuple(
            SweepWidth("object", "error", "scale", 1.0, 0.05, narrow) for narrow in reached
        )
        sweep = SweepOutcome(0.05, (), None, None, widths)
        places = (replace(profiles.places[0], sweep=sweep), *profiles.places[1:])
        rows = judged(of_calibration(replace(profiles, places=places)), "widths")
        assert rows[0].verdict == kind
