"""Completion times: predictions are the simulation's, intervals hold what is measured."""

import json

import numpy as np
import pytest

from calibration.comparison import Total
from calibration.costs.batch import seconds
from calibration.costs.drift import Drift
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
    for trial in range(24):
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


def test_a_total_without_drift_moves_with_the_machine_and_holds_the_ratios_uncertainty():
    total = Total(
        quantity="makespan", unit="s", predicted=10.0, low=7.0, high=14.0, measured=12.0, paper=5.0
    )
    exact = removed(total, Drift(1.2, 0.0, 5))
    assert exact.quantity == "makespan, drift removed" and exact.predicted == pytest.approx(12.0)
    assert (exact.low, exact.high) == (pytest.approx(8.4), pytest.approx(16.8))
    assert exact.inside and exact.relative_error == pytest.approx(0.0, abs=1e-12)
    assert exact.paper == 5.0
    drift = Drift(1.2, 0.1, 5)
    wide = removed(total, drift)
    for half, end in ((1.2 * 3, 12 - wide.low), (1.2 * 4, wide.high - 12)):
        assert end == pytest.approx(np.hypot(half, drift.half_width(10.0)))
