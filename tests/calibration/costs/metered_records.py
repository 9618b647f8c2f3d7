"""Records of images whose time, idle power and power law are known, for the tests of energy."""

from dataclasses import replace
from functools import cache

import numpy as np

from calibration.costs.energy import fit_energy
from calibration.costs.metering import metered
from calibration.costs.time import fit_time
from calibration.records.record import Measured
from tests.calibration import world

GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
OVERHEAD, STEP_TIME = 0.2, 0.1  # s
IDLE, ABOVE, CLOCK = 30.0, 100.0, 1.5e9  # W, W at the clock in Hz


@cache
def asked(steps):
    """A record of an image of so many steps, as good as any other: its task takes time to make."""
    return world.record(steps=steps)


def record(steps, seconds, joules, clock=None, idle=IDLE, period=0.0, meter="replay"):
    """``joules`` are those counted; an image too short for the counter has none of its own."""
    return replace(
        asked(steps),
        measured=Measured(
            text_time=0.0,
            step_times=(),
            decode_time=0.0,
            time=seconds,
            energy_j=joules if meter and seconds >= period else None,
            energy_parts_j=None if meter is None else {"gpu0": joules},
            clock_hz=clock,
            meter=meter,
        ),
        environment={"idle_watts": idle, "meter_period_s": period or None},
    )


def sweep(
    seed=0,
    n=12,
    noise=1.0,
    excess=0.0,
    exponent=0.0,
    clocks=0.0,
    period=0.0,
    grid=GRID,
    scale=1.0,
    idle=IDLE,
    clocked=True,
    pauses=None,
    hotter=None,
    joules=None,
):
    """Images of 0.2 s + 0.1 s a step (times ``scale``) at 130 W, 30 of them idling.

    ``excess``: J that the overhead takes beyond that; ``exponent``: of the rest in the clock, which
    varies by ``clocks``; ``period``: the counter's. ``idle``: what is recorded of the idle power;
    ``clocked``: is the clock? ``pauses``: {index: s} at idle power; ``hotter``: {steps: share} of
    80 W more at a clock that is lower by 30 %; ``joules``: {index: J} counted instead.
    """
    rng = np.random.default_rng(seed)
    records = []
    for steps in np.repeat(grid, n).tolist():
        seconds = (
            scale * (OVERHEAD + STEP_TIME * steps) * np.exp(0.03 * noise * rng.standard_normal())
        )
        clock = CLOCK * np.exp(clocks * rng.standard_normal())
        above = ABOVE * (clock / CLOCK) ** exponent * np.exp(0.02 * noise * rng.standard_normal())
        counted = (IDLE + above) * seconds + excess
        if period:
            counted *= np.floor(rng.uniform() + seconds / period) * period / seconds
        share = (hotter or {}).get(steps, 0.0)
        clock *= 1 - 0.3 * share
        counted += 80 * share * seconds
        pause = (pauses or {}).get(len(records), 0.0)
        seconds += pause
        counted += pause * IDLE
        counted = (joules or {}).get(len(records), counted)
        records.append(
            record(steps, float(seconds), float(counted), clock if clocked else None, idle, period)
        )
    return records


def fit(records):
    """The energy fitted to ``records``, on the time fitted to them."""
    time = fit_time([made.task.steps for made in records], [made.measured.time for made in records])
    return fit_energy(metered(records), time)
