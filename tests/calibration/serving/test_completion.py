"""Completion times: predictions are the simulation's, intervals hold what is measured."""

import json

import numpy as np
import pytest

from calibration.comparison import Total
from calibration.costs.batch import seconds
from calibration.serving.completion import compare, predict, removed
from calibration.serving.serving import Completion, MeasuredCompletion
from calibration.serving.simulator import ORDERS, poisson, simulate
from solver.inputs import InputError
from tests.calibration.costs.timings import affine, batch_cost, decode, text
from tests.calibration.serving.tick_by_tick import tick_by_tick

STAGES = (affine, text, decode)


def test_no_batch_beyond_the_largest_that_was_timed():
    cost = batch_cost(np.random.default_rng(6))
    with pytest.raises(InputError, match="allowed: 1 to 32"):
        predict(cost, np.zeros(40), np.full(40, 3), 64)


@pytest.mark.parametrize("stream", [False, True])
def test_completions_lie_inside_their_intervals(stream):
    rng, inside, totals, errors, papers = np.random.default_rng(7), [], [], [], []
    for trial in range(12):
        cost = batch_cost(rng, sd=0.05, each=8)
        steps, order = rng.integers(4, 51, 16), list(ORDERS)[trial % 2]
        arrivals = poisson(6.0, 16, trial) if stream else np.zeros(16)
        prediction = predict(cost, arrivals, steps, 8, order)
        tick, *others = (
            lambda batch, cost=cost: cost(batch) * np.exp(rng.normal(0, 0.05)) for cost in STAGES
        )
        _, finished = tick_by_tick(arrivals, steps, tick, 8, order, *others)
        completion = compare(prediction, finished - arrivals)
        inside.append(completion.coverage)
        totals += [total.inside for total in completion.totals]
        errors.append(completion.median_absolute_error)
        papers.append(completion.paper_median_absolute_error)
    assert 0.92 < np.mean(inside) < 0.99 and np.mean(totals) > 0.87
    # sharing and waiting are most of it
    assert np.median(errors) < 0.05 and np.median(papers) > 0.3


def test_noise_of_calls_long_over_does_not_widen_an_interval():
    cost = batch_cost(np.random.default_rng(9), each=50)
    (alone,) = predict(cost, [0.0], [5], 2).requests
    _, after = predict(cost, [0.0, 100.0], [2000, 5], 2).requests
    assert after.high - after.low == pytest.approx(alone.high - alone.low, rel=0.2)


def test_predictions_are_of_the_simulation_and_beside_the_papers():
    cost = batch_cost(np.random.default_rng(8))
    steps, arrivals = [3, 7, 5], [0.5, 0.6, 9.0]
    prediction = predict(cost, arrivals, steps, 2)
    file = json.dumps(prediction.to_dict(), allow_nan=False)
    assert Completion.from_dict(json.loads(file)) == prediction
    assert predict(cost, arrivals, steps, 2) == prediction
    tick, *others = (
        lambda batch, call=call: seconds(call, batch)
        for call in (cost.tick, cost.text, cost.decode)
    )
    served = simulate(arrivals, steps, tick, 2, "first_come", *others)
    rows = prediction.requests
    assert [row.predicted for row in rows] == pytest.approx(served.total)
    assert all(row.low < row.predicted < row.high for row in rows)
    by_paper = [count * seconds(cost.tick, 1) for count in steps]
    assert [row.paper for row in rows] == pytest.approx(by_paper)
    makespan, total = prediction.totals
    assert makespan.predicted == pytest.approx(served.finished[2] - 0.5)
    assert total.predicted == pytest.approx(served.total.sum())
    assert makespan.paper == pytest.approx(8.5 + 5 * seconds(cost.tick, 1))
    assert total.paper == pytest.approx(15 * seconds(cost.tick, 1))


def test_measured_times_stand_beside_their_predictions():
    cost = batch_cost(np.random.default_rng(8))
    prediction = predict(cost, [0.5, 0.6, 9.0], [3, 7, 5], 2)
    expected = np.array([row.predicted for row in prediction.requests])
    completion = compare(prediction, 2 * expected)
    errors = [row.relative_error for row in completion.requests]
    assert errors == pytest.approx([-0.5] * 3)
    assert completion.coverage == 0 and not any(total.inside for total in completion.totals)
    assert completion.totals[1].measured == pytest.approx(2 * expected.sum())
    assert MeasuredCompletion.from_dict(completion.to_dict()) == completion
    for wrong in ([1.0, 2.0], [1.0, 2.0, 0.0], [1.0, 2.0, np.nan]):
        with pytest.raises(InputError, match="measured"):
            compare(prediction, wrong)
    with pytest.raises(InputError, match="requests: found none"):
        predict(cost, [], [], 2)


def test_a_total_at_the_machines_speed_holds_what_is_not_known_of_it():
    total = Total(
        quantity="makespan", unit="s", predicted=12.0, low=9.0, high=16.0, measured=15.0, paper=5.0
    )
    exact = removed(total, 0.0)
    assert exact.quantity == "makespan, drift removed" and exact.inside
    assert (exact.low, exact.predicted, exact.high, exact.paper) == (9.0, 12.0, 16.0, 5.0)
    wide = removed(total, 4.0)
    assert (wide.low, wide.high) == pytest.approx((7.0, 12 + np.hypot(4, 4)))


def test_a_machines_speed_changes_its_own_seconds_alone():
    """Of requests that arrive over 99 s a slower machine delays the last alone: such a stream once
    failed, as all of its makespan counted as the machine's.
    """
    cost = batch_cost(np.random.default_rng(8))
    steps, together, apart = [3, 7, 5], [0.0, 0.0, 0.0], [0.5, 50.0, 99.5]
    for arrivals in (together, apart):
        as_timed, slower = (predict(cost, arrivals, steps, 2, ratio=r) for r in (1.0, 1.5))
        times = [
            [(row.low, row.predicted, row.high) for row in completion.requests]
            for completion in (as_timed, slower)
        ]
        assert np.array(times[1]) == pytest.approx(1.5 * np.array(times[0]))
        assert [row.paper for row in slower.requests] == [row.paper for row in as_timed.requests]
        makespan, alone = (each.totals[0].predicted for each in (slower, as_timed))
        waited = 0.0 if arrivals is together else 99.0
        assert makespan - waited == pytest.approx(1.5 * (alone - waited))
