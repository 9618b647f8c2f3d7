"""The cost of a batch: seconds of one call against its batch size, and the size from which larger
batches no longer help.

A call of b requests takes g(b) = α b + β s (Xu et al., *Batch Denoising for AIGC Service
Provisioning*, arXiv 2511.19847) where the timings support that, and otherwise the medians in a
table.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.checks import whole
from calibration.costs.line import LackOfFit
from calibration.costs.time import fit_time
from calibration.schema import Schema, frozen, limits
from calibration.statistics import (
    MEDIAN_SE,
    Array,
    Matrix,
    interpolation_weights,
    isotonic,
    robust_sd,
    t_quantile,
)
from solver.inputs import InputError

#: A larger batch is worth it only if it makes more than this share more steps a second.
GAIN = 0.02

#: Single timings: batch sizes and seconds, both shape (n,).
Timings = tuple[ArrayLike, ArrayLike]


@frozen
class CallPoint(Schema):
    """Calls of ``batch`` requests: the ``median`` of ``n`` timings, the fitted ``seconds``, and
    their standard error.
    """

    batch: int = limits(least=1)
    median: float
    n: int
    seconds: float = limits(above=0)
    se: float = limits(least=0)


@frozen
class CallCost(Schema):
    """Seconds of one call of b requests; see :func:`fit_call`.

    Where ``affine``, it is the line ``alpha`` b + ``beta``. Otherwise it is the ``seconds`` of
    ``points``, the medians made monotone, with straight lines in between; ``alpha`` and ``beta``
    are then only the nearest line. ``covariance`` (2, 2) of the two, with ``dof`` degrees of
    freedom; ``lack_of_fit``: of the line, ``at`` a batch size, None where it cannot be tested;
    ``relative_sd`` of a single call.
    """

    alpha: float = limits(least=0)
    beta: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    lack_of_fit: LackOfFit | None
    affine: bool
    relative_sd: float = limits(least=0)
    dof: int = limits(least=0, key="freedom")
    points: tuple[CallPoint, ...] = limits(empty=False)

    def __post_init__(self) -> None:
        smaller = 0
        for index, size in enumerate(self.sizes):
            whole(f"points[{index}].batch", size, smaller + 1)
            smaller = size

    @property
    def sizes(self) -> list[int]:
        """The batch sizes that were timed, rising."""
        return [point.batch for point in self.points]


@frozen
class Ratio(Schema):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@frozen
class Throughput(Schema):
    """Steps a second of batches of ``batch``, with a 95 % interval."""

    batch: int
    value: float
    low: float
    high: float


@frozen
class BatchCost(Schema):
    """What batches cost on the edge: an iteration (``tick``), a text encoding, a decoding.

    ``throughput`` at the sizes measured; ``cap``: the least of these sizes such that no larger one
    surely (95 %) makes over 2 % more steps a second, 1 where batching does not help; ``gain``: the
    steps a second at the cap over those of batches of 1; ``verdict``: this in a sentence;
    ``memory``: bytes that one more request takes (None: not measured).
    """

    tick: CallCost
    text: CallCost
    decode: CallCost
    throughput: tuple[Throughput, ...]
    cap: int
    gain: Ratio
    verdict: str
    memory: float | None = limits(above=0)

    def __post_init__(self) -> None:
        sizes = self.tick.sizes
        if self.cap not in sizes:
            raise InputError(f"cap: found {self.cap!r}; allowed: {', '.join(map(str, sizes))}")


def fit_call(batches: ArrayLike, seconds: ArrayLike) -> CallCost:
    """Fit the seconds of one call to single timings, both arguments of shape (n,).

    The line goes through the medians (:func:`calibration.costs.time.fit_time`). Raises
    :class:`InputError` for sizes that are not whole, times that are not positive, or timings other
    than of 1 and a larger size, each at least twice.
    """
    batches, seconds = np.asarray(batches, float), np.asarray(seconds, float)
    sizes, where, counts = _timed_sizes(batches, seconds)
    line = fit_time(batches, seconds)
    medians = np.array([point.median for point in line.points])
    on_line = line.overhead + line.step_time * sizes
    if line.lack_of_fit:
        affine = line.lack_of_fit.affine
    else:  # timings without any scatter leave nothing to test with
        affine = np.allclose(on_line, medians, rtol=1e-6)
    expected = on_line if affine else isotonic(medians, counts / medians**2, rising=True)
    relative_sd = robust_sd(seconds / expected[where] - 1, 2 if affine else len(sizes))
    se = MEDIAN_SE * relative_sd * medians / np.sqrt(counts)
    beta, alpha = line.covariance
    return CallCost(
        alpha=line.step_time,
        beta=line.overhead,
        covariance=(alpha[::-1], beta[::-1]),
        lack_of_fit=line.lack_of_fit,
        affine=affine,
        relative_sd=relative_sd,
        dof=line.dof,
        points=tuple(
            CallPoint(int(size), median, int(count), value, error)
            for size, median, count, value, error in zip(
                sizes, medians.tolist(), counts, expected.tolist(), se.tolist(), strict=True
            )
        ),
    )


def fit_batching(
    tick: Timings, text: Timings, decode: Timings, memory: float | None = None
) -> BatchCost:
    """Fit what batches cost to timings of iterations (``tick``), text encodings and decodings.

    ``memory``: bytes that one more request in the batch takes, None if not measured. Raises
    :class:`InputError` naming the timings that :func:`fit_call` refuses.
    """
    iteration = _fit_named("tick", tick)
    return BatchCost(
        iteration,
        _fit_named("text", text),
        _fit_named("decode", decode),
        *_throughput(iteration),
        memory,
    )


def call_seconds(cost: CallCost, sizes: ArrayLike) -> tuple[Array, Array]:
    """Seconds of a call of each of ``sizes``, shape (m,), and their covariance, shape (m, m).

    Raises :class:`InputError` beyond the largest size that was timed: a larger batch may not fit in
    memory, or cost far more.
    """
    b, largest = np.asarray(sizes, float), cost.sizes[-1]
    if not ((b >= 1) & (b <= largest)).all():
        raise InputError(
            f"batch: found {b.min():g} to {b.max():g}; "
            f"allowed: 1 to {largest}, the largest that was timed"
        )
    if cost.affine:
        design = np.stack([b, np.ones_like(b)], axis=1)
        return design @ [cost.alpha, cost.beta], design @ np.array(cost.covariance) @ design.T
    values = np.array([point.seconds for point in cost.points])
    se = np.array([point.se for point in cost.points])
    weights = interpolation_weights(b, cost.sizes)
    return weights @ values, (weights * se**2) @ weights.T


def seconds(cost: CallCost, batch: int) -> float:
    """Seconds of one call of ``batch`` requests."""
    return float(call_seconds(cost, [batch])[0][0])


def _timed_sizes(
    batches: Array, seconds: Array
) -> tuple[Array, NDArray[np.int_], NDArray[np.int_]]:
    """The sizes timed, the index of each timing's size, and the number of timings of each size."""
    if batches.ndim != 1 or batches.shape != seconds.shape:
        shapes = f"{batches.shape} sizes, {seconds.shape} times"
        raise InputError(f"batches: found {shapes}; allowed: one time for each")
    if not (np.isfinite(batches) & (batches >= 1) & (batches == np.round(batches))).all():
        raise InputError("batches: found a size that is no whole number of at least 1")
    sizes, where, counts = np.unique(batches, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or sizes[0] != 1 or counts.min() < 2:
        timed = ", ".join(
            f"{size:.0f} ({count} times)" for size, count in zip(sizes, counts, strict=True)
        )
        raise InputError(
            f"batches: found sizes {timed or 'none'}; "
            "allowed: 1 and a larger one, each timed at least twice"
        )
    return sizes, where, counts


def _fit_named(name: str, timings: Timings) -> CallCost:
    try:
        return fit_call(*timings)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _throughput(tick: CallCost) -> tuple[tuple[Throughput, ...], int, Ratio, str]:
    """Steps a second at each size, the cap, its gain and the verdict; see :class:`BatchCost`.

    The standard errors are those of logarithms, so that no bound is below 0.
    """
    sizes = np.array(tick.sizes)
    value, covariance = call_seconds(tick, sizes)
    rate, quantile = sizes / value, t_quantile(tick.dof)
    relative = covariance / np.outer(value, value)
    variance = np.diag(relative)
    ratio = rate / rate[:, None]
    half = quantile * np.sqrt(np.maximum(variance + variance[:, None] - 2 * relative, 0.0))
    better = np.triu((ratio > 1 + GAIN) & (ratio > np.exp(half)), 1)
    best = int(np.argmin(better.any(axis=1)))
    cap, largest = int(sizes[best]), int(sizes[-1])
    gain = Ratio(*_interval(ratio[0, best], half[0, best]))
    if cap == 1:
        most = int(np.argmax(ratio[0, 1:])) + 1
        change, low, high = (end - 1 for end in _interval(ratio[0, most], half[0, most]))
        verdict = (
            f"Batching does not help here: up to batches of {largest}, the best makes "
            f"{change:+.1%} steps a second against one alone ({low:+.1%} to {high:+.1%})."
        )
    else:
        beyond = (
            f"beyond {cap}, up to {largest}, no gain above {GAIN:.0%} shows"
            if cap < largest
            else "larger batches were not timed"
        )
        verdict = (
            f"Batches of {cap} make a step {gain.value:.1f} times cheaper than one alone "
            f"({gain.low:.1f} to {gain.high:.1f}); {beyond}."
        )
    rows = tuple(
        Throughput(int(size), *_interval(rate[i], quantile * np.sqrt(variance[i])))
        for i, size in enumerate(sizes)
    )
    return rows, cap, gain, verdict


def _interval(value: float, half: float) -> tuple[float, float, float]:
    """``value`` and its interval; ``half``: half of it, of the logarithm."""
    return float(value), float(value * np.exp(-half)), float(value * np.exp(half))
