"""What only some profiles have: metered energy, timed batches, the outcome of an adaptive sweep."""

from dataclasses import replace

import numpy as np

from calibration.costs.batch import fit_batching
from calibration.costs.energy import ClockRange, EnergyFit, PaperEnergy
from calibration.costs.line import LackOfFit, MedianPoint
from calibration.costs.power_law import ConstantPower, PowerLaw
from calibration.sweep.outcome import SweepOutcome, SweepRound, SweepWidth

WATTS = {"local": 8.0, "edge": 30.0}
BATCHES = np.repeat([1, 2, 4, 8], 5)


def with_optional_parts(profiles):
    """The profiles with all of it, at both places."""
    rng = np.random.default_rng(2)
    widths = iter([None, *np.linspace(0.04, 0.09, 5)])
    places = []
    for place in profiles.places:
        calls = BATCHES, (0.01 + 0.002 * BATCHES) * rng.normal(1, 0.01, len(BATCHES))
        classes = tuple(
            replace(profile, energy=energy(profile.time, WATTS[place.place], rng))
            for profile in place.classes
        )
        places.append(
            replace(
                place,
                classes=classes,
                batch=fit_batching(calls, calls, calls),
                sweep=outcome(place, widths),
            )
        )
    return replace(profiles, places=tuple(places))


def energy(time, watts, rng):
    return EnergyFit(
        meter="replay",
        basis="measured",
        overhead_j=watts * time.overhead,
        step_j=watts * time.step_time,
        covariance=((1e-6, 0.0), (0.0, 1e-8)),
        dof=40,
        r2=0.999,
        n=90,
        points=tuple(
            MedianPoint(point.steps, watts * point.median * rng.normal(1, 0.02), point.n)
            for point in time.points
        ),
        lack_of_fit=LackOfFit(p=0.4, largest=-0.012, at=6, affine=True),
        idle_watts=3.5,
        dynamic_overhead_j=None,
        dynamic_step_j=None,
        clock_hz=ClockRange(2.2e9, 2.5e9, 2.7e9),
        constant_power=ConstantPower(0.01, -0.02, 0.04, 0.5, True, None, None, None),
        law=PowerLaw(
            watts=9.0,
            dynamic=True,
            coefficient=0.6,
            clock_range=0.2,
            n=90,
            tested=True,
            reason=None,
            exponent=2.1,
            low=1.8,
            high=2.4,
            cubic=False,
        ),
        paper=PaperEnergy(0.01, 9.7),
    )


def outcome(place, half_widths):
    """Half of the evaluations of both places, and a width for each class."""
    return SweepOutcome(
        target=0.1,
        rounds=(SweepRound(50, 2000), SweepRound(85, 4500)),
        evaluations=4500,
        uniform_evaluations=22500,
        widths=tuple(
            SweepWidth(profile.prompt_class, "error", "decay", 0.2, half, half is not None)
            for profile, half in zip(place.classes, half_widths, strict=False)
        ),
    )
