"""The machine's speed: its spread in a sweep, and its drift from control images."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.costs.drift import LAG, PARTS, drift_expected, drifts, ratio, speed_sd
from calibration.costs.time import fit_time
from calibration.statistics import t_quantile
from tests.calibration.world import record

TIME = fit_time([1, 2, 4, 8], [0.3, 0.4, 0.6, 1.0])  # 0.2 s + 0.1 s a step


def control(seed, factor, place="edge", steps=8):
    """A control image that took ``factor`` times the fitted time."""
    return record(
        place, seed=seed, steps=steps, purpose="anchor", time=factor * TIME.seconds(steps)
    )


def test_a_ratio_is_of_measured_over_fitted_seconds():
    assert ratio(control(0, 1.3), TIME) == pytest.approx(1.3)


def test_the_speeds_spread_between_parts_is_told_from_the_noise_of_images():
    rng = np.random.default_rng(1)
    noise = np.exp(0.05 * rng.standard_normal((200, PARTS * 20)))
    speeds = np.repeat(np.exp(0.1 * rng.standard_normal((200, PARTS))), 20, axis=1)
    assert np.mean([speed_sd(ratios) for ratios in noise]) < 0.01
    drifting = [speed_sd(ratios) ** 2 for ratios in noise * speeds]
    assert np.sqrt(np.mean(drifting)) == pytest.approx(0.1, rel=0.1)
    assert speed_sd(noise[0, : PARTS * 4 - 1]) == 0.0


def test_a_pause_of_the_machine_is_no_drift():
    ratios = np.exp(0.01 * np.random.default_rng(2).standard_normal(PARTS * 20))
    paused = np.where(np.arange(len(ratios)) % 20 == 3, 30.0, 1.0) * ratios
    assert speed_sd(paused) == pytest.approx(speed_sd(ratios), abs=0.005)


@pytest.mark.parametrize("parts", [1, PARTS])
def test_a_speed_that_walks_is_held_where_one_that_only_scatters_would_be_too_narrow(parts):
    """Five default runs were off by 3.0 times the spread of their sweeps' parts (root mean
    square), which is what a walk does.
    """
    walks = np.random.default_rng(5).standard_normal((20_000, PARTS + LAG)).cumsum(axis=1)
    seen, later = walks[:, :PARTS], walks[:, -1]
    off = np.abs(later - seen[:, PARTS - parts :].mean(axis=1)) / seen.std(axis=1, ddof=1)
    assert 0.90 < np.mean(off <= drift_expected(1.0, parts)) < 0.96
    scatter = t_quantile(PARTS - 1) * np.sqrt(1 + 1 / parts)
    assert np.mean(off <= scatter) < 0.89
    assert drift_expected(0.0, parts) == 0


def test_a_places_drift_is_the_median_of_its_control_images_each_counted_once():
    slow = [control(seed, factor) for seed, factor in enumerate((1.1, 1.2, 1.6))]
    few = [control(seed, 2.0, "local") for seed in range(2)]
    users = [record("edge", seed=9, purpose="user", user=1, time=50.0)]
    times = {(place, "object"): TIME for place in ("local", "edge")}
    other = replace(slow[0], id="of a class that was not calibrated")
    other = replace(other, task=replace(other.task, prompt_class="another"))
    by_place = drifts([*slow, slow[2], *few, *users, other], times)
    assert list(by_place) == ["edge"] and by_place["edge"].n == 3
    assert by_place["edge"].ratio == pytest.approx(1.2) and by_place["edge"].se > 0
