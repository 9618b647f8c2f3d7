"""The paper's law on records whose exponent and overhead's power are known, and when it is not
tested.
"""

import pytest

from calibration.costs.metering import metered, power
from tests.calibration.costs.metered_records import ABOVE, CLOCK, GRID, fit, sweep


def test_the_papers_law_at_one_clock_is_derived_and_not_called_tested():
    records = sweep()
    energy = fit(records)
    law = energy.law
    assert law.coefficient == pytest.approx(ABOVE / 1.5**3, rel=0.01) and law.dynamic
    assert not law.tested and law.exponent is None and "varied by 0.0%" in law.reason
    assert energy.clock_hz.to_dict() == {"low": CLOCK, "median": CLOCK, "high": CLOCK}
    watts = power(metered(records)).watts
    modelled = energy.paper.coefficient * energy.paper.frequency_ghz**3
    assert modelled == pytest.approx(watts) == pytest.approx(130, rel=0.01)


@pytest.mark.parametrize("exponent", [3.0, 2.2])
def test_the_exponent_is_told_from_clocks_that_vary(exponent):
    law = fit(sweep(exponent=exponent, clocks=0.1)).law
    assert law.tested and law.reason is None and law.clock_range > 0.3
    assert law.low <= exponent <= law.high and law.high - law.low < 0.2
    assert law.cubic == (exponent == 3.0)


def test_power_that_differs_with_the_steps_does_not_pass_for_the_clock():
    """Long images run hotter, so at a lower clock, and at a power of their own: only images of
    equal steps are compared.
    """
    hotter = {steps: steps / 32 for steps in GRID if steps <= 4}
    records = sweep(exponent=3.0, clocks=0.05, hotter=hotter)
    law = fit([made for made in records if made.task.steps <= 4]).law
    assert law.tested and law.exponent == pytest.approx(3.0, abs=0.35)


def test_the_law_is_not_tested_without_idling_clock_or_images():
    energy = fit(sweep(exponent=3.0, clocks=0.1, idle=None))
    assert not energy.law.dynamic and not energy.law.tested
    assert "idle power" in energy.law.reason
    assert energy.dynamic_step_j is None and energy.idle_watts is None
    energy = fit(sweep(exponent=3.0, clocks=0.1, idle=None, clocked=False))
    assert energy.law is None and energy.clock_hz is None
    few = fit(sweep(n=2, exponent=3.0, clocks=0.1)).law
    assert "more images than step counts" in few.reason
    low = sweep(exponent=3.0, clocks=0.1, joules={7: 0.1})
    assert "1 of 120 images took no more than idling" in fit(low).law.reason


def test_power_that_is_not_constant_is_found():
    constant = fit(sweep(excess=10.0)).constant_power
    assert not constant.holds and constant.p < 1e-6
    assert constant.ratio_low > 1.2 and constant.low < 10 < constant.high
