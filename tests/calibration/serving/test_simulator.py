"""The simulation of continuous batching against one that goes tick by tick, against arithmetic by
hand, and against what must hold of any queue.
"""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.serving.simulator import ORDERS, poisson, simulate
from solver.inputs import InputError
from tests.calibration.serving.tick_by_tick import tick_by_tick


# binary fractions, so that clocks are exact and an arrival may fall together with a tick's end
def tick(batch):
    return 0.75 + 0.25 * batch


def text(batch):
    return 0.125 * batch + 0.25


def decode(batch):
    return 0.5 * batch


requests = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 4), st.integers(1, 6)), min_size=1, max_size=12
)
few = settings(max_examples=50)


def anything(test):
    return few(given(requests, st.integers(1, 5), st.sampled_from(list(ORDERS)))(test))


def served(asked, cap, order):
    return simulate(*zip(*asked, strict=True), tick, cap, order, text, decode)


@anything
def test_equals_the_engine_that_looks_before_every_tick(asked, cap, order):
    result = served(asked, cap, order)
    joined, finished = tick_by_tick(*zip(*asked, strict=True), tick, cap, order, text, decode)
    assert result.joined.tolist() == joined
    assert result.finished.tolist() == finished


@anything
def test_work_is_conserved_and_nobody_waits_beside_an_idle_engine(asked, cap, order):
    result = served(asked, cap, order)
    arrivals, steps = (np.array(column) for column in zip(*asked, strict=True))
    log = result.log
    assert np.sum(log["batch"] * log["ticks"]) == steps.sum()
    assert log["encoded"].sum() == log["decoded"].sum() == len(steps)
    assert log["batch"].max() <= cap and len(log) <= 2 * len(steps)  # arrivals and ends
    busy = sum(
        text(row["encoded"]) * (row["encoded"] > 0)
        + row["ticks"] * tick(row["batch"])
        + decode(row["decoded"])
        for row in log
    )
    assert log["end"][-1] == busy + log["waited"].sum() == result.finished.max()
    assert (log["end"][:-1] + log["waited"][1:] == log["start"][1:]).all()
    for row in log[log["waited"] > 0]:
        began = row["start"] - row["waited"]
        assert not ((arrivals < row["start"]) & (result.finished > began)).any()
    assert np.array_equal(result.total, result.queue + result.service)
    alone = text(1) + steps * tick(1) + decode(1)
    assert (result.queue >= 0).all() and (result.service >= alone).all()


@few
@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.sampled_from(list(ORDERS)))
def test_alone_a_request_takes_the_papers_time(steps, order):
    result = simulate(100.0 * np.arange(len(steps)), steps, tick, 1, order)
    assert np.array_equal(result.total, np.array(steps) * tick(1))  # T = s Δt, eq. (3)
    assert not result.queue.any()


@few
@given(requests, st.integers(1, 5))
def test_first_come_is_chosen_first(asked, cap):
    result = served(asked, cap, "first_come")
    by_arrival = np.argsort(result.arrivals, kind="stable")
    assert (np.diff(result.joined[by_arrival]) >= 0).all()
    if cap == 1:
        assert (np.diff(result.finished[by_arrival]) > 0).all()


@few
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_shortest_has_the_least_mean_time_of_all_orders_one_at_a_time(steps):
    result = simulate(np.zeros(len(steps)), steps, tick, 1, "shortest", text, decode)
    alone = [text(1) + count * tick(1) + decode(1) for count in steps]
    assert result.total.sum() == min(sum(np.cumsum(order)) for order in permutations(alone))


def test_by_hand():
    # 0 s: 0 and 1 are encoded (0.5), two ticks of two (1.25 each) until 3; 2 has come at 1 s, is
    # shorter than 0 and takes its place
    shortest = simulate([0.0, 0.0, 1.0], [9, 3, 1], tick, 2, "shortest", text, decode)
    assert shortest.joined.tolist() == [0.0, 0.0, 1.75]
    # 1.75: encoded (0.375), tick of 1 and 2 (1.25), 2 decoded (0.5): 3.875; tick of 0 and 1 (1.25),
    # 1 decoded: 5.625; 7 ticks of 1
    assert shortest.finished.tolist() == [13.125, 5.625, 3.875]
    assert [tuple(row) for row in shortest.log] == [
        (0.0, 0.0, 2, 2, 1, 0, 1.75),
        (1.75, 0.0, 1, 2, 1, 1, 3.875),
        (3.875, 0.0, 0, 2, 1, 1, 5.625),
        (5.625, 0.0, 0, 1, 7, 1, 13.125),
    ]
    # first come: 0 and 1 make three ticks (0.5 + 3.75), 1 is decoded: 4.75; 2 encoded, tick of 0
    # and 2, 2 decoded: 6.875; 5 ticks of 0
    first = simulate([0.0, 0.0, 1.0], [9, 3, 1], tick, 2, "first_come", text, decode)
    assert first.joined.tolist() == [0.0, 0.0, 4.75]
    assert first.finished.tolist() == [12.375, 4.75, 6.875]


@anything
def test_neither_the_hour_nor_the_unit_nor_the_row_of_a_request_matters(asked, cap, order):
    arrivals, steps = (np.array(column) for column in zip(*asked, strict=True))
    result = served(asked, cap, order)
    later = simulate(arrivals + 64, steps, tick, cap, order, text, decode)
    assert np.array_equal(later.total, result.total)
    longer = (lambda batch, cost=cost: 4 * cost(batch) for cost in (tick, text, decode))
    slower = simulate(4 * arrivals, steps, next(longer), cap, order, *longer)
    assert np.array_equal(slower.total, 4 * result.total)
    apart = arrivals + np.arange(len(steps)) / 1024  # no two at once: the index breaks no tie
    turned = np.arange(len(steps))[::-1]
    back = simulate(apart[turned], steps[turned], tick, cap, order, text, decode)
    assert np.array_equal(
        back.total[turned], simulate(apart, steps, tick, cap, order, text, decode).total
    )


def test_many_requests_of_a_poisson_stream():
    count = 40_000
    arrivals = poisson(2.0, count, seed=3)
    assert np.array_equal(arrivals, poisson(2.0, count, seed=3))
    assert not np.array_equal(arrivals, poisson(2.0, count, seed=4))
    assert np.mean(np.diff(arrivals)) == pytest.approx(0.5, rel=0.02) == np.std(np.diff(arrivals))
    # M/D/1: mean wait ρ D / 2 (1 - ρ), Pollaczek and Khinchine
    result = simulate(arrivals, np.full(count, 5), lambda batch: 0.06, 1)
    assert np.mean(result.queue) == pytest.approx(0.6 * 0.3 / (2 * 0.4), rel=0.05)
    assert len(result.log) < 2.5 * count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrivals": [0.0]}, "requests: found arrivals of shape (1,), steps of (2,)"),
        ({"arrivals": [0.0, np.nan]}, "arrivals"),
        ({"arrivals": [0.0, -1.0]}, "arrivals"),
        ({"steps": [1, 0]}, "steps"),
        ({"steps": [1, 1.5]}, "steps"),
        ({"cap": 0}, "cap: found 0"),
        ({"cap": 1.5}, "cap: found 1.5"),
        ({"order": "longest"}, "order: found 'longest'; allowed: first_come, shortest"),
        ({"tick": lambda batch: 0.0}, "tick: found 0.0 s for a batch of 2"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(InputError) as error:
        simulate(**{"arrivals": [0.0, 0.0], "steps": [1, 2], "tick": tick, "cap": 2} | change)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.inf])
def test_no_stream_without_a_rate(rate):
    with pytest.raises(InputError, match="rate"):
        poisson(rate, 3, 0)
