"""Energy on records whose idle power, overhead, joules per step and law are known; the intervals'
coverage; what is refused.
"""

import json

import numpy as np
import pytest
from scipy.stats import t as student

from calibration.costs.energy import fit_energy, metered, power
from calibration.costs.time import fit_time
from calibration.profiles import build as profile
from solver.inputs import InputError
from tests.calibration.world import World, units

GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
OVERHEAD, STEP_TIME = 0.2, 0.1  # s
IDLE, ABOVE, CLOCK = 30.0, 100.0, 1.5e9  # W, W at the clock in Hz


def record(steps, seconds, joules, clock=None, idle=IDLE, period=0.0, meter="replay"):
    """``joules`` are those counted; an image too short for the counter has none of its own."""
    own = joules if meter and seconds >= period else None
    parts = None if meter is None else {"gpu0": joules}
    measured = {
        "time": seconds,
        "energy_j": own,
        "energy_parts_j": parts,
        "clock_hz": clock,
        "meter": meter,
    }
    return {
        "asked": {"steps": steps},
        "measured": measured,
        "environment": {"idle_watts": idle, "meter_period_s": period or None},
    }


def sweep(
    seed=0, n=12, noise=1.0, excess=0.0, exponent=0.0, clocks=0.0, period=0.0, grid=GRID, scale=1.0
):
    """Images of 0.2 s + 0.1 s a step (times ``scale``) at 130 W, 30 of them idling.

    ``excess``: J that the overhead takes beyond that; ``exponent``: of the rest in the clock, which
    varies by ``clocks``; ``period``: the counter's.
    """
    rng = np.random.default_rng(seed)
    records = []
    for steps in grid:
        for _ in range(n):
            seconds = (
                scale
                * (OVERHEAD + STEP_TIME * steps)
                * np.exp(0.03 * noise * rng.standard_normal())
            )
            clock = CLOCK * np.exp(clocks * rng.standard_normal())
            above = (
                ABOVE * (clock / CLOCK) ** exponent * np.exp(0.02 * noise * rng.standard_normal())
            )
            joules = (IDLE + above) * seconds + excess
            if period:
                joules *= np.floor(rng.uniform() + seconds / period) * period / seconds
            records.append(
                record(steps, float(seconds), float(joules), float(clock), period=period)
            )
    return records


def fit(records):
    time = fit_time(
        [one["asked"]["steps"] for one in records], [one["measured"]["time"] for one in records]
    )
    return fit_energy(metered(records), time)


def test_exact_records_give_the_truth():
    found = fit(sweep(noise=0.0))
    assert (found["overhead_j"], found["step_j"]) == pytest.approx((26.0, 13.0))
    assert (found["dynamic_overhead_j"], found["dynamic_step_j"]) == pytest.approx((20.0, 10.0))
    assert (found["meter"], found["basis"], found["n"]) == ("replay", "measured", 120)
    assert found["idle_watts"] == IDLE and found["r2"] == pytest.approx(1)
    assert found["points"][0] == {"steps": 1, "median": pytest.approx(39.0), "n": 12}
    assert found["constant_power"]["holds"] and found["constant_power"]["ratio"] == pytest.approx(1)
    assert np.diag(found["covariance"]) == pytest.approx([0, 0], abs=1e-12)


def test_the_papers_law_at_one_clock_is_derived_and_not_called_tested():
    records = sweep()
    found = fit(records)
    assert (
        found["law"]["coefficient"] == pytest.approx(ABOVE / 1.5**3, rel=0.01)
        and found["law"]["dynamic"]
    )
    assert (
        not found["law"]["tested"]
        and found["law"]["exponent"] is None
        and "varied by 0.0%" in found["law"]["reason"]
    )
    assert found["clock_hz"] == {"low": CLOCK, "median": CLOCK, "high": CLOCK}
    watts = power(metered(records))["watts"]
    assert (
        found["paper"]["coefficient"] * found["paper"]["frequency_ghz"] ** 3
        == pytest.approx(watts)
        == pytest.approx(130, rel=0.01)
    )


@pytest.mark.parametrize("exponent", [3.0, 2.2])
def test_the_exponent_is_told_from_clocks_that_vary(exponent):
    law = fit(sweep(exponent=exponent, clocks=0.1))["law"]
    assert law["tested"] and law["reason"] is None and law["clock_range"] > 0.3
    assert law["low"] <= exponent <= law["high"] and law["high"] - law["low"] < 0.2
    assert law["cubic"] == (exponent == 3.0)


def test_power_that_differs_with_the_steps_does_not_pass_for_the_clock():
    """Long images run hotter, so at a lower clock, and at a power of their own: only images of
    equal steps are compared.
    """
    records = sweep(exponent=3.0, clocks=0.05)
    for one in records:
        share = one["asked"]["steps"] / 32
        one["measured"]["clock_hz"] *= 1 - 0.3 * share
        one["measured"]["energy_parts_j"]["gpu0"] += 80 * share * one["measured"]["time"]
    law = fit([one for one in records if one["asked"]["steps"] <= 4])["law"]
    assert law["tested"] and law["exponent"] == pytest.approx(3.0, abs=0.35)


def test_the_law_is_not_tested_without_idling_clock_or_images():
    records = sweep(exponent=3.0, clocks=0.1)
    for one in records:
        one["environment"]["idle_watts"] = None
    law = fit(records)["law"]
    assert not law["dynamic"] and not law["tested"] and "idle power" in law["reason"]
    assert fit(records)["dynamic_step_j"] is None and fit(records)["idle_watts"] is None
    for one in records:
        one["measured"]["clock_hz"] = None
    assert fit(records)["law"] is None and fit(records)["clock_hz"] is None
    assert (
        "more images than step counts" in fit(sweep(n=2, exponent=3.0, clocks=0.1))["law"]["reason"]
    )
    low = sweep(exponent=3.0, clocks=0.1)
    low[7]["measured"]["energy_parts_j"]["gpu0"] = 0.1
    assert "1 of 120 images took no more than idling" in fit(low)["law"]["reason"]


def coverage(truth, draws=600, **settings):
    """How often the 95 % intervals of overhead and joules per step held the truth, and those of the
    overhead's power ratio and the exponent.
    """
    inside = []
    for seed in range(draws):
        found = fit(sweep(seed, **settings))
        half = student.ppf(0.975, found["freedom"]) * np.sqrt(np.diag(found["covariance"]))
        line = np.abs([found["overhead_j"], found["step_j"]] - np.array(truth[:2])) <= half
        constant, law = found["constant_power"], found["law"]
        tested = not law["tested"] or law["low"] <= truth[3] <= law["high"]
        inside.append([*line, constant["ratio_low"] <= truth[2] <= constant["ratio_high"], tested])
    return np.mean(inside, axis=0)


@pytest.mark.parametrize(
    ("truth", "settings"),
    [
        ((26.0, 13.0, 1.0, 0.0), {"clocks": 0.1}),
        ((36.0, 13.0, 1 + 10 / 26, 0.0), {"excess": 10.0, "clocks": 0.1}),
        (
            (26.0, 13.0, 1.0, 0.0),
            {"period": 0.13, "clocks": 0.1},
        ),  # the shortest images are two updates long
    ],
    ids=["plain", "dearer overhead", "coarse counter"],
)
def test_intervals_cover(truth, settings):
    assert (np.abs(coverage(truth, **settings) - 0.955) <= 0.03).all()


def test_power_that_is_not_constant_is_found():
    found = fit(sweep(excess=10.0))["constant_power"]
    assert (
        not found["holds"]
        and found["p"] < 1e-6
        and found["ratio_low"] > 1.2
        and found["low"] < 10 < found["high"]
    )


def test_windows_without_an_update_count_in_the_mean_and_not_as_images_of_no_energy():
    """Images of 30 to 80 ms, a counter of 100 ms: most windows hold no update, and the others one
    too many.
    """
    records = sweep(n=400, period=0.1, scale=0.1, grid=(1, 3, 6))
    assert all(one["measured"]["energy_j"] is None for one in records)
    assert sum(one["measured"]["energy_parts_j"]["gpu0"] == 0 for one in records) > 300
    found = fit(records)
    assert power(metered(records))["watts"] == pytest.approx(130, rel=0.05) and found[
        "step_j"
    ] == pytest.approx(1.3, rel=0.3)
    with pytest.warns(UserWarning, match="measured at 0 step count"):
        assert fit(sweep(n=12, period=2.0, scale=0.1, grid=(1, 3, 6))) is None


def test_a_pause_of_the_machine_is_not_the_images_energy():
    records = sweep()
    for one in records[::12]:
        one["measured"]["time"] += 20.0
        one["measured"]["energy_parts_j"]["gpu0"] += 20.0 * IDLE
    found, clean = fit(records), fit(sweep())
    assert (found["overhead_j"], found["step_j"]) == pytest.approx(
        (clean["overhead_j"], clean["step_j"]), rel=0.03
    )
    assert power(metered(records))["watts"] == pytest.approx(130, rel=0.01) and found["n"] == 110


def test_without_a_meter_there_is_no_energy():
    records = [record(steps, 1.0 + steps, None, meter=None) for steps in GRID]
    assert metered(records) is None and fit_energy(None, {}) is None
    assert power(None) == {"watts": None, "relative_sd": None, "meter": None, "basis": "none"}
    assert (
        metered([record(4, 1.0, 0.0), record(8, 1.0, 0.0)]) is None
    )  # nothing counted at all is not zero joules


def test_one_metered_image_among_many_has_a_power_and_no_line():
    records = [record(steps, 1.0 + steps, None, meter=None) for steps in GRID] + [
        record(4, 5.0, 500.0)
    ]
    assert power(metered(records)) == {
        "watts": 100.0,
        "relative_sd": 0.0,
        "meter": "replay",
        "basis": "measured",
    }
    with pytest.warns(UserWarning, match="measured at 1 step count"):
        assert fit_energy(metered(records), {"overhead": 1.0, "step_time": 1.0}) is None


def test_meters_are_not_mixed():
    few = [record(steps, 1.0, 9000.0, meter="nvml") for steps in GRID]
    assert power(metered(sweep(noise=0.0) + few))["watts"] == pytest.approx(130)


def test_one_image_a_step_count_still_gives_a_line():
    found = fit(sweep(n=1))
    assert (
        found["step_j"] == pytest.approx(13.0, rel=0.1)
        and found["lack_of_fit"] is None
        and found["freedom"] == len(GRID) - 2
    )


# in profiles


def build(watts):
    records = World(watts=watts).calibrate(["object"], prompts=4, seeds=(0, 1))
    return profile.build(records, units(["object"]), {}, {}, {})


def test_a_profile_holds_the_energy_that_its_records_have():
    made = build(50.0)
    found = profile.find(made, "edge", "object")
    assert found["energy"]["step_j"] == pytest.approx(50 * found["time"]["step_time"], rel=0.03)
    assert found["energy"]["law"] is None and found["energy"]["idle_watts"] is None
    assert found["power"]["watts"] == pytest.approx(50.0, rel=0.02)
    assert profile.check(json.loads(json.dumps(made))) == made
    assert profile.find(build(None), "edge", "object")["energy"] is None


def test_a_profile_without_energy_loads_and_a_broken_one_is_named():
    made = build(50.0)
    for entry in made["profiles"]:
        del entry["energy"]
    assert profile.check(made)
    made["profiles"][0]["energy"] = {
        "overhead_j": 1.0,
        "step_j": -1.0,
        "covariance": [[0, 0], [0, 0]],
    }
    with pytest.raises(
        InputError, match="energy.step_j: found -1.0; allowed: a number of at least 0"
    ):
        profile.check(made)
