"""Costs of batches: known ones come back with honest intervals; the cap is where it should be."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.costs.batch import BatchCost, call_seconds, fit_batching, fit_call, seconds
from calibration.statistics import t_quantile
from solver.inputs import InputError
from tests.calibration.costs.timings import SIZES, affine, batch_cost, fit_iterations, timings


def covered(pairs):
    """Whether the share of (low, true, high) inside is 95 % to within what chance allows."""
    inside = [low <= true <= high for low, true, high in pairs]
    return abs(np.mean(inside) - 0.95) < 0.03


def test_known_costs_come_back_inside_their_intervals():
    rng, alphas, betas, rates, gains = np.random.default_rng(1), [], [], [], []
    for _ in range(300):
        cost = fit_iterations(*timings(affine, rng))
        quantile, errors = t_quantile(cost.tick.dof), np.sqrt(np.diag(cost.tick.covariance))
        for pairs, true, value, error in (
            (alphas, 0.004, cost.tick.alpha, errors[0]),
            (betas, 0.012, cost.tick.beta, errors[1]),
        ):
            pairs.append((value - quantile * error, true, value + quantile * error))
        rates += [(row.low, row.batch / affine(row.batch), row.high) for row in cost.throughput]
        gains.append((cost.gain.low, cost.cap * affine(1) / affine(cost.cap), cost.gain.high))
    assert covered(alphas) and covered(betas) and covered(rates) and covered(gains)


def test_a_cliff_is_kept_as_a_table_and_a_line_as_a_line():
    rng = np.random.default_rng(2)
    line = fit_call(*timings(affine, rng))
    assert line.affine and seconds(line, 6) == pytest.approx(affine(6), rel=0.03)
    cliff = fit_call(*timings(lambda batch: np.where(batch > 8, 3.0, 1.0) * affine(batch), rng))
    assert not cliff.affine and cliff.lack_of_fit.p < 1e-6
    assert seconds(cliff, 8) == pytest.approx(affine(8), rel=0.03)
    assert seconds(cliff, 12) == pytest.approx((affine(8) + 3 * affine(16)) / 2, rel=0.03)
    assert cliff.lack_of_fit.at in SIZES


def test_a_pause_of_the_machine_leaves_the_fit():
    batches, times = timings(affine, np.random.default_rng(3), sd=0.01)
    times[::12] *= 20
    fit = fit_call(batches, times)
    assert [seconds(fit, size) for size in SIZES] == pytest.approx(
        [affine(size) for size in SIZES], rel=0.03
    )


@settings(max_examples=50)
@given(st.lists(st.floats(1e-3, 10), min_size=2, max_size=6), st.integers(0, 10**6))
def test_a_larger_batch_never_costs_less(medians, seed):
    batches, times = timings(
        lambda batch: np.array(medians)[np.log2(batch).astype(int)],
        np.random.default_rng(seed),
        0.02,
        4,
        SIZES[: len(medians)],
    )
    fit = fit_call(batches, times)
    values, covariance = call_seconds(fit, np.arange(1, batches.max() + 1))
    assert (np.diff(values) >= -1e-12 * values[1:]).all() and (values > 0).all()
    assert (np.diag(covariance) >= 0).all()


@settings(max_examples=40)
@given(st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_the_unit_of_time_does_not_matter(unit, seed):
    batches, times = timings(affine, np.random.default_rng(seed), each=4)
    cost, scaled = fit_iterations(batches, times), fit_iterations(batches, unit * times)
    assert scaled.cap == cost.cap and scaled.tick.affine == cost.tick.affine
    assert scaled.tick.alpha == pytest.approx(unit * cost.tick.alpha)
    assert scaled.gain.to_dict() == pytest.approx(cost.gain.to_dict())


@pytest.mark.parametrize(
    ("cost", "sd", "cap", "says"),
    [
        # sharing costs nothing
        (lambda batch: 0.02 + 0.0 * batch, 0.02, 32, "larger batches were not timed"),
        (affine, 0.02, 32, "Batches of 32 make a step"),
        # full from 4 on
        (lambda batch: np.maximum(0.02, 0.005 * batch), 0.02, 4, "Batches of 4 make a step"),
        (
            lambda batch: affine(batch) * np.where(batch > 8, 3, 1),
            0.02,
            8,
            "beyond 8, up to 32, no gain above 2% shows",
        ),
        (lambda batch: 0.02 * batch, 0.02, 1, "Batching does not help here"),
        # noise is no gain
        (lambda batch: 0.02 * batch, 0.1, 1, "Batching does not help here"),
        # nor is 1 %, however sure
        (lambda batch: 0.0002 + 0.02 * batch, 0.001, 1, "the best makes +1.0% steps"),
        # worse than alone
        (lambda batch: 0.02 * batch * (1 + batch / 50), 0.02, 1, "the best makes -"),
    ],
)
def test_the_cap_is_where_more_stops_helping(cost, sd, cap, says):
    rng = np.random.default_rng(4)
    costs = [fit_iterations(*timings(cost, rng, sd)) for _ in range(20)]
    right = [fitted for fitted in costs if fitted.cap == cap]
    assert len(right) >= 18 and says in right[0].verdict
    true = cap * cost(np.array([1.0]))[0] / cost(np.array([cap]))[0]
    assert np.mean([fitted.gain.value for fitted in right]) == pytest.approx(true, rel=0.02)


def test_times_without_any_spread():
    batches = np.repeat(SIZES, 2)
    line = fit_call(batches, affine(batches))
    assert line.affine and line.relative_sd == pytest.approx(0, abs=1e-9)
    assert (line.alpha, line.beta) == pytest.approx((0.004, 0.012))
    steps = fit_call(batches, np.where(batches > 4, 0.2, 0.1))
    assert not steps.affine and seconds(steps, 4) == pytest.approx(0.1)


def test_the_cost_survives_json():
    cost = batch_cost(np.random.default_rng(5))
    again = BatchCost.from_dict(json.loads(json.dumps(cost.to_dict(), allow_nan=False)))
    assert again == cost and seconds(again.tick, 5) == seconds(cost.tick, 5)
    assert again.text.alpha == pytest.approx(0.002, rel=0.1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("cap",), 7, "batch: cap: found 7; allowed: 1, 2, 4, 8, 16, 32"),
        (("memory",), -1, "batch: memory: found -1"),
        (("tick", "alpha"), "fast", "batch: tick.alpha: found 'fast'"),
        (("text", "affine"), 1, "batch: text.affine: found 1"),
        (("text", "covariance"), [[1, 2], [3]], "batch: text.covariance"),
        (("decode", "points"), [], "batch: decode.points: found []"),
        (
            ("tick", "points", 1, "batch"),
            1,
            "batch: tick.points[1].batch: found 1; allowed: a whole number of at least 2",
        ),
        (("tick", "points", 0, "seconds"), 0, "batch: tick.points[0].seconds: found 0"),
        (("decode",), 3, "batch: decode: found 3; allowed: a table"),
    ],
)
def test_a_damaged_cost_is_named(path, value, message):
    values = copy.deepcopy(batch_cost(np.random.default_rng(5)).to_dict())
    part = values
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(InputError) as error:
        BatchCost.from_dict(values, "batch")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("batches", "times", "message"),
    [
        ([1, 1, 2], [1, 1, 1], "batches: found sizes 1 (2 times), 2 (1 times)"),
        (
            [2, 2, 4, 4],
            [1, 1, 1, 1],
            "batches: found sizes 2 (2 times), 4 (2 times); allowed: 1 and a larger one",
        ),
        ([1, 1], [1, 1], "batches: found sizes 1 (2 times)"),
        ([], [], "batches: found sizes none"),
        ([1, 1, 1.5, 1.5], [1, 1, 1, 1], "batches: found a size"),
        ([1, 1, 2, 2], [1, 1, 1], "batches: found (4,) sizes, (3,) times"),
        ([1, 1, 2, 2], [1, 1, 1, -1], "time: found a time"),
        ([1, 1, 2, 2], [1, 1, 1, np.nan], "time: found a time"),
    ],
)
def test_nonsense_timings_are_refused(batches, times, message):
    with pytest.raises(InputError) as error:
        fit_call(batches, times)
    assert str(error.value).startswith(message)


def test_the_timings_that_are_refused_are_named():
    good = ([1, 1, 2, 2], [1, 1, 1, 1])
    with pytest.raises(InputError, match="^text: batches: found sizes none"):
        fit_batching(good, ([], []), good)


def test_no_batch_beyond_the_largest_that_was_timed():
    with pytest.raises(InputError, match="batch: found 33 to 33; allowed: 1 to 32"):
        seconds(batch_cost(np.random.default_rng(6)).tick, 33)
