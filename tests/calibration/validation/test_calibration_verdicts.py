"""Verdicts of a calibration, and of both together, the worst first."""

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
from calibration.validation.verdict import FAIL, NOT_TESTED, PASS
from calibration.validation.verdicts import verdicts
from tests.calibration.validation.world import row, validation, with_classes
from tests.calibration.world import CLASSES, World
from tests.calibration.world import profiles as profiles_of


@pytest.fixture(scope="module")
def profiles():
    return profiles_of(World(seed=2).calibrate(prompts=8))


def judged(rows, start):
    return [verdict for verdict in rows if verdict.judged.startswith(start)]


def test_the_worst_comes_first(profiles):
    rows = verdicts(validation([row(), row(False, 8.0), row(False, 3.0)], inside=12), profiles)
    order = [(FAIL, NOT_TESTED, PASS).index(verdict.verdict) for verdict in rows]
    assert order == sorted(order) and set(order) == {0, 1, 2}
    for kind in (FAIL, PASS):
        used = [verdict.tolerance_used for verdict in rows if verdict.verdict == kind]
        assert used == sorted(used, reverse=True)
        assert all(share > 1 if kind == FAIL else share <= 1 for share in used)
    assert verdicts() == []
    assert {verdict.about for verdict in rows} == {"prediction", "calibration"}


def test_a_line_that_bends_fails_only_if_it_shows_and_matters(profiles):
    lacks = [
        None,
        LackOfFit(p=1e-6, largest=-0.06, at=2, affine=False),
        LackOfFit(p=1e-6, largest=0.02, at=2, affine=False),
        LackOfFit(p=0.3, largest=0.2, at=2, affine=True),
    ]

    def first_verdict(lack):
        bent = with_classes(
            profiles, lambda _, each: replace(each, time=replace(each.time, lack_of_fit=lack))
        )
        return of_calibration(bent)[0]

    rows = [first_verdict(lack) for lack in lacks]
    assert [verdict.verdict for verdict in rows] == [NOT_TESTED, FAIL, PASS, PASS]
    assert rows[1].tolerance_used == pytest.approx(2)
    assert "−6.0" in rows[1].value.replace("-", "−")


def test_curves_are_held_against_the_goal_of_five_percent(profiles):
    """The held-out error of the family that weighs most, against 5 %."""
    rows = judged(of_calibration(profiles), "error curve")
    assert len(rows) == 2 * len(CLASSES)
    fits = [profile.error for place in profiles.places for profile in place.classes]
    for fit, verdict in zip(fits, rows, strict=True):
        family = max(fit.families, key=lambda family: family.weight)
        assert verdict.tolerance_used == pytest.approx(family.held_out_error / 0.05)
        assert verdict.verdict == (PASS if family.held_out_error <= 0.05 else FAIL)


def test_frechet_distances_have_enough_images_or_not_and_the_same_is_said_once(profiles):
    def measured(place, profile):
        note = None if place == "edge" else "too few"
        points = tuple(
            DistancePoint(4, 3.0, None, None, n, carried=note is None, note=note) for n in (12, 80)
        )
        return replace(profile, frechet=points)

    rows = judged(of_calibration(with_classes(profiles, measured)), "Fréchet")
    short, enough = sorted(rows, key=lambda verdict: verdict.verdict)
    assert (short.verdict, short.reason, enough.verdict) == (NOT_TESTED, "too few", PASS)
    assert short.value == "12 to 80 images a point"
    none = judged(of_calibration(profiles), "Fréchet")
    assert [(verdict.verdict, verdict.reason) for verdict in none] == [(NOT_TESTED, "not measured")]
    assert "all classes" in none[0].judged


@pytest.mark.parametrize(
    ("ratio", "se", "verdict"),
    [(1.02, 0.001, PASS), (1.2, 0.01, FAIL), (0.8, 0.01, FAIL), (1.05, 0.03, PASS)],
)
def test_a_machine_that_drifts_by_more_than_its_uncertainty_and_goal_fails(
    profiles, ratio, se, verdict
):
    drift = {"edge": Drift(ratio, se, 10)}
    (row,) = judged(of_calibration(profiles, validation(drift=drift)), "drift")
    assert row.verdict == verdict and ("slower" if ratio > 1 else "quicker") in row.value


def test_no_anchors_no_verdict_on_drift(profiles):
    rows = judged(of_calibration(profiles, validation()), "drift")
    assert [verdict.verdict for verdict in rows] == [NOT_TESTED]


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

    assert verdict(law(images)).verdict == FAIL
    untested = verdict(law(still))
    assert untested.verdict == NOT_TESTED and "varied" in untested.reason


def test_a_sweep_that_missed_its_width_fails(profiles):
    for reached, kind in (((True, True), PASS), ((True, False), FAIL)):
        widths = tuple(
            SweepWidth("object", "error", "scale", 1.0, 0.05, narrow) for narrow in reached
        )
        sweep = SweepOutcome(0.05, (), None, None, widths)
        places = (replace(profiles.places[0], sweep=sweep), *profiles.places[1:])
        rows = judged(of_calibration(replace(profiles, places=places)), "widths")
        assert rows[0].verdict == kind
