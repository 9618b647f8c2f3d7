"""Transfers: slow start, the fit, its intervals, and links that it was not fitted on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.costs.transfer import (
    FIRST_WINDOW,
    GROWTH,
    TransferFit,
    fit_transfer,
    payload,
    slow_start,
)
from calibration.records.record import Transfer
from solver.inputs import InputError

SIZES = np.array([1e3, 5e3, 12e3, 2e4, 4e4, 8e4, 15e4, 3e5, 6e5, 12e5])


def window_by_window(size, round_trip, per_byte):
    """Seconds until ``size`` bytes are there, byte by byte of each window: an oracle.

    A window is sent as fast as the link is, the next one when the first byte of it is confirmed,
    until the windows fill the link.
    """
    window, sent, clock, free = FIRST_WINDOW, 0.0, 0.0, 0.0
    while True:
        begin = max(clock, free)
        part = min(window, size - sent)
        free = begin + part * per_byte
        sent += part
        if sent >= size:
            return free
        clock += round_trip
        window *= GROWTH


@pytest.mark.parametrize("rate, round_trip", [(82e6, 0.022), (20e6, 0.04), (5e6, 0.06)])
def test_slow_start_is_that_of_windows_that_grow(rate, round_trip):
    per_byte = 8 / rate
    late = slow_start(SIZES, round_trip, per_byte)
    expected = [window_by_window(size, round_trip, per_byte) - size * per_byte for size in SIZES]
    # whole windows come in steps, which the curve goes between
    assert np.abs(late - expected).max() < round_trip
    assert np.abs(late - expected)[SIZES <= FIRST_WINDOW].max() < 1e-9


@given(
    st.lists(st.floats(0, 1e7), min_size=2, max_size=20),
    st.just(0.0) | st.floats(1e-5, 1),
    st.just(0.0) | st.floats(1e-11, 1e-4),
)
def test_more_bytes_never_take_less_time(sizes, round_trip, per_byte):
    sizes = np.sort(sizes)
    late = slow_start(sizes, round_trip, per_byte)
    assert (late >= 0).all() and np.isfinite(late).all()
    assert (np.diff(late + per_byte * sizes) >= -1e-9).all()


def world(rng, link, n=240, noise=0.002):
    """Bytes, seconds and round trips of transfers over a ``link`` (round trip, bit/s)."""
    round_trip, rate = link
    sizes = rng.choice(SIZES, n) + rng.integers(0, 300, n)
    seconds = 2 * round_trip + 0.001 + 8 / rate * sizes
    seconds = seconds + slow_start(sizes, round_trip, 8 / rate)
    # a few are disturbed, which only adds time
    pauses = rng.exponential(0.05, n) * (rng.random(n) < 0.03)
    return sizes, seconds + rng.normal(0, noise, n) + pauses, np.full(n, round_trip)


def test_the_fit_finds_the_link_and_its_intervals_hold():
    rng = np.random.default_rng(1)
    inside = []
    for link in [(0.022, 82e6), (0.04, 20e6), (0.06, 5e6)] * 4:
        fit = fit_transfer(*world(rng, link))
        assert 8 / fit.per_byte == pytest.approx(link[1], rel=0.05)
        assert fit.overhead == pytest.approx(2 * link[0] + 0.001, abs=0.002)
        assert fit.lack_of_fit.affine
        ends = np.array([(*fit.interval(size), t) for size, t, _ in zip(*world(rng, link))])
        inside.append(np.mean((ends[:, 0] <= ends[:, 2]) & (ends[:, 2] <= ends[:, 1])))
    assert 0.93 <= np.mean(inside) <= 0.97


def test_a_link_that_was_not_fitted_is_predicted():
    rng = np.random.default_rng(2)
    fit = fit_transfer(*world(rng, (0.022, 82e6))).on(0.06, 5e6)
    sizes, seconds, _ = world(rng, (0.06, 5e6))
    off = [abs(fit.seconds(size) / t - 1) for size, t in zip(sizes, seconds)]
    assert np.median(off) < 0.01
    # a straight line of the same two ends is far off in between: the control of slow start
    line = 0.12 + 8 / 5e6 * sizes
    assert np.median(np.abs(line / seconds - 1)) > 0.05


def test_sizes_too_much_alike_show_no_rate():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1490, 1500, 60)
    fit = fit_transfer(sizes, 0.05 + rng.normal(0, 0.002, 60), np.full(60, 0.022))
    assert fit.per_byte == 0.0 and fit.lack_of_fit is None
    assert fit.seconds(1495) == pytest.approx(0.05, abs=0.001)


def test_equal_transfers_are_fitted_without_a_spread():
    fit = fit_transfer([1000] * 3, [0.1] * 3, [0.02] * 3)
    assert fit.seconds(1000) == pytest.approx(0.1) and fit.interval(1000)[0] <= 0.1
    assert TransferFit.from_dict(fit.to_dict()) == fit


@pytest.mark.parametrize(
    "sizes, seconds, word",
    [([1, 2], [0.1, 0.1], "2 transfers"), ([1, 2, 3], [0.1, 0.1, np.nan], "not finite")],
)
def test_too_little_is_refused(sizes, seconds, word):
    with pytest.raises(InputError, match=word):
        fit_transfer(sizes, seconds, [0.01] * len(sizes))


def transfer(**change):
    parts = {"round_trip": 0.01, "connect": 0.01, "send": 0.001, "wait": 0.3, "receive": 0.02}
    return Transfer(**{**parts, "bytes_up": 300, "bytes_down": 9000, **change})


def test_what_counts_as_the_way_depends_on_what_the_server_says():
    silent, telling = transfer(), transfer(server=0.28)
    assert silent.service == 0.3 and silent.seconds == pytest.approx(0.031)
    assert telling.service == 0.28 and telling.seconds == pytest.approx(0.051)
    # a server cannot have taken longer than it all did
    assert transfer(server=9.0).seconds == 0.0
    assert payload([silent, transfer(bytes_down=11000)]).down == 10000


def test_a_transfer_that_is_quicker_than_slow_start_has_no_negative_overhead():
    """A proxy that begins with a large window, and images of one size."""
    rng = np.random.default_rng(0)
    seconds = 0.15 + 0.002 * rng.standard_normal(60)
    fit = fit_transfer([500_000] * 60, seconds.tolist(), [0.05] * 60)
    assert TransferFit.from_dict(fit.to_dict(), "here") == fit and fit.overhead >= 0
