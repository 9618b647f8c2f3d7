"""When each request will be done: completion times under continuous batching, predicted from what
the engine's calls cost, and held against the measured ones.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.comparison import Comparison, Total
from calibration.costs.batch import BatchCost, CallCost, call_seconds
from calibration.serving.serving import Completion, MeasuredCompletion, RequestTime
from calibration.serving.simulator import Served, simulate
from calibration.statistics import Z95
from solver.inputs import InputError

Array = NDArray[np.float64]
Row = TypeVar("Row", bound=Comparison)

# Draws of the costs and of single calls' noise; their quantiles are the intervals.
_DRAWS = 400


def predict(
    cost: BatchCost,
    arrivals: ArrayLike,
    steps: Sequence[int] | NDArray[np.int_],
    cap: int,
    order: str = "first_come",
    drift: float = 0.0,
    ratio: float = 1.0,
) -> Completion:
    """When requests that arrive at ``arrivals`` s with ``steps``, both shape (n,), will be done.

    ``cap``, ``order``: as :func:`calibration.serving.simulator.simulate` has them. ``drift``: half
    of the relative 95 % interval of the machine's speed over that of the timings
    (:func:`calibration.costs.drift.drift_expected`). ``ratio``: of a call's seconds over those of
    the timings, where the speed is known (:class:`calibration.costs.drift.Drift`). ``paper`` is
    T = s Δt, eq. (3): a request alone, with Δt the fitted seconds of an iteration with one request.

    The 95 % intervals are quantiles of simulations. The costs are drawn from their covariance
    (Student's t on the logarithm, so that none is below 0), and every call has its own noise. That
    noise delays what follows until the engine next has nothing to do; that it may also change who
    shares a batch is neglected.

    Raises :class:`InputError` for requests that cannot be simulated, and for batches larger than
    any that was timed.
    """
    if not len(steps):
        raise InputError("requests: found none; allowed: at least one")
    sizes = np.arange(1, max(1, min(cap, len(steps))) + 1)
    calls = (cost.tick, cost.text, cost.decode)
    costs = [call_seconds(call, sizes) for call in calls]
    centre = [ratio * seconds for seconds, _ in costs]
    served = _served(arrivals, steps, cap, order, centre)
    rng = np.random.default_rng(0)
    factors = [np.exp(_draws(rng, call, *about)) for call, about in zip(calls, costs, strict=True)]
    totals, spans = np.empty((_DRAWS, len(served.total))), np.empty(_DRAWS)
    for draw, errors in enumerate(zip(*factors, strict=True)):
        speed = np.exp(rng.normal() * drift / Z95)
        drawn = [speed * seconds * error for seconds, error in zip(centre, errors, strict=True)]
        other = _served(arrivals, steps, cap, order, drawn)
        delays = _delays(rng, other, calls, drawn)
        totals[draw] = other.total + delays
        spans[draw] = np.max(other.finished + delays) - other.arrivals.min()

    begin, paper = served.arrivals.min(), np.asarray(steps) * costs[0][0][0]
    low, high = _interval(served.total, totals)
    requests = tuple(
        RequestTime(
            request=index,
            arrival=float(served.arrivals[index]),
            steps=int(count),
            predicted=float(served.total[index]),
            low=float(low[index]),
            high=float(high[index]),
            paper=float(paper[index]),
        )
        for index, count in enumerate(steps)
    )
    by_paper = (served.arrivals + paper).max() - begin
    sums = (
        _total("makespan", served.finished.max() - begin, spans, by_paper),
        _total("time (sum)", served.total.sum(), totals.sum(axis=1), paper.sum()),
    )
    return Completion(order, int(cap), requests, sums)


def compare(prediction: Completion, measured: ArrayLike) -> MeasuredCompletion:
    """The ``prediction`` beside the ``measured`` end-to-end seconds of its requests, shape (n,).

    Raises :class:`InputError` for another number of times, or times that are not positive.
    """
    times, requests = np.asarray(measured, float), prediction.requests
    if times.shape != (len(requests),):
        raise InputError(
            f"measured: found {len(np.atleast_1d(times))} times; "
            f"allowed: {len(requests)}, one a request"
        )
    if not (np.isfinite(times).all() and (times > 0).all()):
        raise InputError("measured: found a time that is not a positive number of seconds")
    arrivals = np.array([request.arrival for request in requests])
    sums = {"makespan": np.max(arrivals + times) - arrivals.min(), "time (sum)": times.sum()}
    rows = tuple(row.beside(seconds) for row, seconds in zip(requests, times, strict=True))
    errors = np.array([(row.relative_error, row.paper_relative_error) for row in rows], float)
    median, paper_median = np.median(np.abs(errors), axis=0).tolist()
    return MeasuredCompletion(
        prediction.order,
        prediction.cap,
        rows,
        tuple(total.beside(sums[total.quantity]) for total in prediction.totals),
        median_absolute_error=median,
        paper_median_absolute_error=paper_median,
        coverage=float(np.mean([row.inside for row in rows])),
    )


def delayed(prediction: Completion, seconds: float, sd: float) -> Completion:
    """A ``prediction`` whose requests and answers travel for ``seconds``, with a standard deviation
    ``sd`` of each.
    """
    count = len(prediction.requests)
    sums = {"makespan": (seconds, sd), "time (sum)": (count * seconds, math.sqrt(count) * sd)}
    return replace(
        prediction,
        requests=tuple(_delayed(row, seconds, sd) for row in prediction.requests),
        totals=tuple(_delayed(total, *sums[total.quantity]) for total in prediction.totals),
    )


def _delayed(row: Row, seconds: float, sd: float) -> Row:
    low, high = (
        None
        if end is None
        else row.predicted + seconds + sign * math.hypot(end - row.predicted, Z95 * sd)
        for sign, end in ((-1, row.low), (1, row.high))
    )
    return replace(row, predicted=row.predicted + seconds, low=low, high=high)


def removed(total: Total, error: float) -> Total:
    """A compared ``total`` that is predicted at the speed that the machine had while it served.

    ``error``: half of the 95 % interval of the prediction, for what is not known of this speed.
    """
    low, high = (
        None if end is None else total.predicted + sign * math.hypot(end - total.predicted, error)
        for sign, end in ((-1, total.low), (1, total.high))
    )
    moved = replace(total, quantity=f"{total.quantity}, drift removed", low=low, high=high)
    return moved if total.measured is None else moved.beside(total.measured)


def _served(
    arrivals: ArrayLike, steps: ArrayLike, cap: int, order: str, seconds: Sequence[Array]
) -> Served:
    """The simulation with the ``seconds`` of iterations, encodings and decodings by batch size."""
    # numbers of Python's own, as the simulation adds them one by one
    tables = [table.tolist() for table in seconds]
    tick, text, decode = (lambda batch, table=table: table[batch - 1] for table in tables)
    return simulate(arrivals, steps, tick, cap, order, text, decode)


def _draws(rng: np.random.Generator, call: CallCost, seconds: Array, covariance: Array) -> Array:
    """Relative errors of a call's cost at all its sizes, shape (draws, sizes)."""
    relative = covariance / np.outer(seconds, seconds)
    normal = rng.multivariate_normal(np.zeros(len(seconds)), relative, _DRAWS, method="eigh")
    return normal * np.sqrt(call.dof / rng.chisquare(call.dof, (_DRAWS, 1)))


def _delays(
    rng: np.random.Generator, served: Served, calls: Sequence[CallCost], seconds: Sequence[Array]
) -> Array:
    """Seconds, shape (n,), by which the noise of single calls delays the end of each request."""
    log = served.log
    counts = log["ticks"], np.minimum(log["encoded"], 1), np.minimum(log["decoded"], 1)
    batches = log["batch"], log["encoded"], log["decoded"]
    variance = sum(
        count * (call.relative_sd * np.where(count > 0, table[batch - 1], 0.0)) ** 2
        for call, table, count, batch in zip(calls, seconds, counts, batches, strict=True)
    )
    late = np.cumsum(rng.normal(size=len(log)) * np.sqrt(variance))
    begun = np.maximum.accumulate(np.where(log["waited"] > 0, np.arange(len(log)), 0))
    late -= np.concatenate([[0.0], late])[begun]
    return late[np.searchsorted(log["end"], served.finished)]


def _interval(predicted: ArrayLike, draws: Array) -> tuple[Array, Array]:
    """The central 95 % of ``draws``, shape (draws, ...), with ``predicted`` inside."""
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return np.minimum(low, predicted), np.maximum(high, predicted)


def _total(quantity: str, predicted: float, draws: Array, paper: float) -> Total:
    low, high = _interval(predicted, draws)
    return Total(
        quantity=quantity,
        unit="s",
        predicted=float(predicted),
        low=float(low),
        high=float(high),
        paper=float(paper),
    )
