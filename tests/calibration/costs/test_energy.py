"""Energy on records whose idle power, overhead and joules per step are known; the intervals'
coverage; what is refused.
"""

from dataclasses import replace

import numpy as np
import pytest

from calibration.costs.energy import EnergyFit, fit_energy
from calibration.costs.line import MedianPoint
from calibration.costs.metering import Power, metered, power
from calibration.costs.time import fit_time
from calibration.schema import plain
from calibration.statistics import t_quantile
from solver.inputs import InputError
from tests.calibration.costs.metered_records import GRID, IDLE, fit, record, sweep
from tests.calibration.world import World


def test_exact_records_give_the_truth():
    energy = fit(sweep(noise=0.0))
    assert (energy.overhead_j, energy.step_j) == pytest.approx((26.0, 13.0))
    assert (energy.dynamic_overhead_j, energy.dynamic_step_j) == pytest.approx((20.0, 10.0))
    assert (energy.meter, energy.basis, energy.n) == ("replay", "measured", 120)
    assert energy.idle_watts == IDLE and energy.r2 == pytest.approx(1)
    assert energy.points[0] == MedianPoint(1, pytest.approx(39.0), 12)
    assert energy.constant_power.holds and energy.constant_power.ratio == pytest.approx(1)
    assert np.diag(energy.covariance) == pytest.approx([0, 0], abs=1e-12)


def coverage(truth, draws=600, **settings):
    """How often the 95 % intervals of overhead and joules per step held the truth, and those of the
    overhead's power ratio and the exponent.
    """
    inside = []
    for seed in range(draws):
        energy = fit(sweep(seed, **settings))
        half = t_quantile(energy.dof) * np.sqrt(np.diag(energy.covariance))
        line = np.abs([energy.overhead_j, energy.step_j] - np.array(truth[:2])) <= half
        constant, law = energy.constant_power, energy.law
        tested = not law.tested or law.low <= truth[3] <= law.high
        inside.append([*line, constant.ratio_low <= truth[2] <= constant.ratio_high, tested])
    return np.mean(inside, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truth", "settings"),
    [
        ((26.0, 13.0, 1.0, 0.0), {"clocks": 0.1}),
        ((36.0, 13.0, 1 + 10 / 26, 0.0), {"excess": 10.0, "clocks": 0.1}),
        # the shortest images are two updates long
        ((26.0, 13.0, 1.0, 0.0), {"period": 0.13, "clocks": 0.1}),
    ],
    ids=["plain", "dearer overhead", "coarse counter"],
)
def test_intervals_cover(truth, settings):
    assert (np.abs(coverage(truth, **settings) - 0.955) <= 0.03).all()


def test_windows_without_an_update_count_in_the_mean_and_not_as_images_of_no_energy():
    """Images of 30 to 80 ms, a counter of 100 ms: most windows hold no update, and the others one
    too many.
    """
    records = sweep(n=400, period=0.1, scale=0.1, grid=(1, 3, 6))
    assert all(made.measured.energy_j is None for made in records)
    assert sum(made.measured.energy_parts_j["gpu0"] == 0 for made in records) > 300
    assert power(metered(records)).watts == pytest.approx(130, rel=0.05)
    assert fit(records).step_j == pytest.approx(1.3, rel=0.3)
    with pytest.warns(UserWarning, match="measured at 0 step count"):
        assert fit(sweep(n=12, period=2.0, scale=0.1, grid=(1, 3, 6))) is None


def test_a_pause_of_the_machine_is_not_the_images_energy():
    paused = {index: 20.0 for index in range(0, 120, 12)}
    records, clean = sweep(pauses=paused), fit(sweep())
    energy = fit(records)
    assert (energy.overhead_j, energy.step_j) == pytest.approx(
        (clean.overhead_j, clean.step_j), rel=0.03
    )
    assert power(metered(records)).watts == pytest.approx(130, rel=0.01) and energy.n == 110


def test_without_a_meter_there_is_no_energy():
    records = [record(steps, 1.0 + steps, None, meter=None) for steps in GRID]
    time = fit_time([1, 2], [1.0, 2.0])
    assert metered(records) is None and fit_energy(None, time) is None
    assert power(None) == Power(watts=None, relative_sd=None, meter=None, basis="none")
    # nothing counted at all is not zero joules
    assert metered([record(4, 1.0, 0.0), record(8, 1.0, 0.0)]) is None


def test_one_metered_image_among_many_has_a_power_and_no_line():
    records = [record(steps, 1.0 + steps, None, meter=None) for steps in GRID]
    records.append(record(4, 5.0, 500.0))
    assert power(metered(records)) == Power(100.0, 0.0, "replay", "measured")
    with pytest.warns(UserWarning, match="measured at 1 step count"):
        assert fit_energy(metered(records), fit_time([1, 2], [2.0, 3.0])) is None


def test_meters_are_not_mixed():
    few = [record(steps, 1.0, 9000.0, meter="nvml") for steps in GRID]
    assert power(metered(sweep(noise=0.0) + few)).watts == pytest.approx(130)


def test_one_image_a_step_count_still_gives_a_line():
    energy = fit(sweep(n=1))
    assert energy.step_j == pytest.approx(13.0, rel=0.1)
    assert energy.lack_of_fit is None and energy.dof == len(GRID) - 2


def test_energy_survives_json_and_a_damaged_one_is_named():
    energy = fit(sweep())
    values = plain(energy)
    assert EnergyFit.from_dict(values) == energy
    with pytest.raises(InputError, match="energy: step_j: found -1.0; allowed: a number of at l"):
        EnergyFit.from_dict({**values, "step_j": -1.0}, "energy")


def test_energy_of_a_made_up_sweep_follows_its_watts():
    records = [
        made
        for made in World(watts=50.0).calibrate(["object"], prompts=4, seeds=(0, 1))
        if made.task.place == "edge" and made.task.purpose == "sweep"
    ]
    energy = fit(records)
    time = fit_time([made.task.steps for made in records], [made.measured.time for made in records])
    assert energy.step_j == pytest.approx(50 * time.step_time, rel=0.03)
    assert energy.law is None and energy.idle_watts is None
    assert power(metered(records)).watts == pytest.approx(50.0, rel=0.02)


@pytest.mark.parametrize("wrong", [[-4.9e5], [-300.0], [4.9e5], [3e3, -20.0, 9e4], [4.9e5] * 3])
def test_one_reset_or_jump_of_a_counter_leaves_out_its_window_alone(wrong):
    spoiled = {7 + 9 * i: joules for i, joules in enumerate(wrong)}
    clean, counted = sweep(n=12), sweep(n=12, joules=spoiled)
    with pytest.warns(UserWarning, match="a counter was reset"):
        images = metered(counted)
    assert len(images.joules) >= 120 - len(wrong) - 2
    truth = power(metered(clean))
    assert power(images).watts == pytest.approx(truth.watts, rel=0.01)
    with pytest.warns(UserWarning, match="a counter was reset"):
        assert fit(counted).step_j == pytest.approx(fit(clean).step_j, rel=0.02)


def test_a_counter_that_fell_beside_one_that_rose_is_no_small_energy():
    made = sweep(n=12)
    parts = {"gpu0": 90.0, "cpu0": -50.0}
    measured = replace(made[3].measured, energy_j=None, energy_parts_j=parts)
    with pytest.warns(UserWarning, match="left out 1 of 120 images in which a counter fell"):
        images = metered([*made[:3], replace(made[3], measured=measured), *made[4:]])
    assert len(images.joules) == 119


def test_windows_of_coarse_counters_and_of_unlike_power_all_count(recwarn):
    coarse = sweep(n=400, period=0.1, scale=0.1, grid=(1, 3, 6))
    assert len(metered(coarse).joules) >= 1190
    assert len(metered(sweep(n=12, hotter={32: 1.0}, idle=5.0)).joules) >= 115
    assert not recwarn.list
