"""When will each request be done? The step engine's completion times predicted from what its calls
cost, and held against the measured.
"""

import numpy as np

from calibration.costs.batch import curve
from calibration.serving.simulator import simulate
from solver.inputs import InputError

# Draws of the costs and of single calls' noise: their quantiles are the intervals.
_DRAWS = 400


def predict(fit, text, decode, arrivals, steps, cap, order="first_come", drift=0.0):
    """End-to-end seconds of requests that arrive at ``arrivals`` s with ``steps``, both (n,), under
    the engine: a dict, fit for JSON.

    ``fit``, ``text``, ``decode``: the costs of ticks, text encodings and decodings
    (:mod:`calibration.costs.batch`); ``cap``, ``order``: as
    :func:`calibration.serving.simulator.simulate` has them. ``requests``: [{request, arrival,
    steps, predicted, low, high, paper}], seconds from arrival until decoded, where ``paper`` is T =
    s Δt, eq. (3): a request alone, Δt the fitted seconds of a tick of one. ``totals``: the same of
    all requests together, the ``makespan`` (first arrival until all are done) and the ``time
    (sum)``.

    The 95 % intervals are quantiles of simulations with costs drawn from their covariance
    (Student's t, on the logarithm, so that none is below 0) and with the noise of every single
    call. That noise delays what follows until the engine next has nothing to do; that it may also
    change who shares a batch is neglected. ``drift``: by how much the machine's speed may be
    another one than when the costs were timed, half of a relative 95 % interval
    (:func:`calibration.costs.drift.drift_expected`). Raises :class:`InputError` for requests that
    cannot be simulated, and for batches larger than were timed.
    """
    if not len(steps):
        raise InputError("requests: found none; allowed: at least one")
    sizes = np.arange(1, max(1, min(cap, len(steps))) + 1)
    stages = (fit, text, decode)
    costs = [curve(stage, sizes) for stage in stages]
    centre = [seconds for seconds, _ in costs]
    served = _served(arrivals, steps, cap, order, centre)
    rng = np.random.default_rng(0)
    factors = [np.exp(_drawn(rng, stage, *cost)) for stage, cost in zip(stages, costs, strict=True)]
    totals, spans = np.empty((_DRAWS, len(served.total))), np.empty(_DRAWS)
    for draw, tables in enumerate(zip(*factors, strict=True)):
        speed = np.exp(rng.normal() * drift / 1.96)
        tables = [speed * seconds * factor for seconds, factor in zip(centre, tables, strict=True)]
        one = _served(arrivals, steps, cap, order, tables)
        late = _late(rng, one, stages, tables)
        totals[draw] = one.total + late
        spans[draw] = np.max(one.finished + late) - one.arrivals.min()
    paper = np.asarray(steps) * centre[0][0]
    begin = served.arrivals.min()
    rows = [
        {
            "request": index,
            "arrival": float(arrival),
            "steps": int(count),
            **interval,
            "paper": float(by_paper),
        }
        for index, (arrival, count, interval, by_paper) in enumerate(
            zip(served.arrivals, steps, map(_interval, served.total, totals.T), paper, strict=True)
        )
    ]
    makespan = {
        **_interval(served.finished.max() - begin, spans),
        "paper": float((served.arrivals + paper).max() - begin),
    }
    time = {**_interval(served.total.sum(), totals.sum(axis=1)), "paper": float(paper.sum())}
    return {
        "order": order,
        "cap": int(cap),
        "requests": rows,
        "totals": [
            {"quantity": "makespan", "unit": "s", **makespan},
            {"quantity": "time (sum)", "unit": "s", **time},
        ],
    }


def compare(prediction, measured):
    """:func:`predict`'s dict with what was ``measured``: each request's end-to-end seconds, shape
    (n,), in the same order.

    Requests and totals gain ``measured``, ``relative_error``, (predicted - measured) / measured,
    ``inside`` its interval, and ``paper_relative_error``; all of it ``median_absolute_error`` and
    ``paper_median_absolute_error`` over the requests, and ``coverage``, the share of requests
    inside. Raises :class:`InputError` for another number of times, or times that are not positive.
    """
    measured, requests = np.asarray(measured, float), prediction["requests"]
    if measured.shape != (len(requests),):
        raise InputError(
            f"measured: found {len(np.atleast_1d(measured))} times; allowed: {len(requests)}, one a request"
        )
    if not (np.isfinite(measured).all() and (measured > 0).all()):
        raise InputError("measured: found a time that is not a positive number of seconds")
    arrivals = np.array([row["arrival"] for row in requests])
    totals = {
        "makespan": np.max(arrivals + measured) - arrivals.min(),
        "time (sum)": measured.sum(),
    }
    rows = [compared(row, seconds) for row, seconds in zip(requests, measured, strict=True)]
    return {
        **prediction,
        "requests": rows,
        "totals": [compared(row, totals[row["quantity"]]) for row in prediction["totals"]],
        "median_absolute_error": float(np.median([abs(row["relative_error"]) for row in rows])),
        "paper_median_absolute_error": float(
            np.median([abs(row["paper_relative_error"]) for row in rows])
        ),
        "coverage": float(np.mean([row["inside"] for row in rows])),
    }


def _served(arrivals, steps, cap, order, tables):
    tick, text, decode = (lambda batch, table=table: table[batch - 1] for table in tables)
    return simulate(arrivals, steps, tick, cap, order, text, decode)


def _drawn(rng, fit, seconds, covariance):
    """Relative errors of a cost at all its sizes, shape (draws, sizes)."""
    relative = covariance / np.outer(seconds, seconds)
    normal = rng.multivariate_normal(np.zeros(len(seconds)), relative, _DRAWS, method="eigh")
    return normal * np.sqrt(fit["freedom"] / rng.chisquare(fit["freedom"], (_DRAWS, 1)))


def _late(rng, served, stages, tables):
    """Seconds, shape (n,), by which the noise of single calls delays the end of each request."""
    log = served.log
    variance = sum(
        calls * (stage["relative_sd"] * np.where(calls > 0, table[batch - 1], 0.0)) ** 2
        for stage, table, calls, batch in zip(
            stages,
            tables,
            (log["ticks"], np.minimum(log["encoded"], 1), np.minimum(log["decoded"], 1)),
            (log["batch"], log["encoded"], log["decoded"]),
            strict=True,
        )
    )
    late = np.cumsum(rng.normal(size=len(log)) * np.sqrt(variance))
    begun = np.maximum.accumulate(np.where(log["waited"] > 0, np.arange(len(log)), 0))
    late -= np.concatenate([[0.0], late])[begun]
    return late[np.searchsorted(log["end"], served.finished)]


def _interval(predicted, draws):
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "predicted": float(predicted),
        "low": float(min(low, predicted)),
        "high": float(max(high, predicted)),
    }


def compared(row, measured):
    """``row`` {predicted, low, high, paper} with what was ``measured``, as :func:`compare` gives
    it.
    """
    return {
        **row,
        "measured": float(measured),
        "relative_error": float(row["predicted"] / measured - 1),
        "inside": bool(row["low"] <= measured <= row["high"]),
        "paper_relative_error": float(row["paper"] / measured - 1),
    }
