"""What a batch costs: seconds of one call against its batch size, and where larger batches stop
helping.

A call of b requests takes g(b) = α b + β s (Xu et al., *Batch Denoising for AIGC Service
Provisioning*, arXiv 2511.19847) where the timings bear that out, and otherwise what the table of
their medians says.
"""

from dataclasses import dataclass

import numpy as np

from calibration.checks import need, number, whole
from calibration.costs.line import LackOfFit
from calibration.costs.time import fit_time
from calibration.schema import Schema, limits
from calibration.statistics import MEDIAN_SE, Matrix, isotonic, t_quantile
from solver.inputs import InputError

#: A larger batch is worth it only if it makes more than this share more steps a second.
GAIN = 0.02


@dataclass(frozen=True)
class CallPoint(Schema):
    """Calls of ``batch`` requests: the ``median`` of ``n`` timings, the fitted ``seconds``, and
    their standard error.
    """

    batch: int = limits(least=1)
    median: float
    n: int
    seconds: float = limits(above=0)
    se: float = limits(least=0)


@dataclass(frozen=True)
class CallCost(Schema):
    """Seconds of one call of b requests: the line ``alpha`` b + ``beta`` where ``affine``, else the
    ``seconds`` of ``points`` with straight lines in between. See :func:`fit_call`.
    """

    alpha: float = limits(least=0)
    beta: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    lack_of_fit: LackOfFit | None
    affine: bool
    relative_sd: float = limits(least=0)
    dof: int = limits(least=0, key="freedom")
    points: tuple[CallPoint, ...] = limits(empty=False)


@dataclass(frozen=True)
class Ratio(Schema):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Throughput(Schema):
    """Steps a second of batches of ``batch``, with a 95 % interval."""

    batch: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BatchCost(Schema):
    """What batches cost on the edge: an iteration (``tick``), a text encoding, a decoding.

    ``throughput`` at the sizes measured; ``cap``: the least of these sizes than which no larger one
    makes over 2 % more steps a second; ``gain``: how many times as many steps a second as batches
    of 1; ``verdict``: this in a sentence; ``memory``: bytes that one more request takes (None: not
    measured).
    """

    tick: CallCost
    text: CallCost
    decode: CallCost
    throughput: tuple[Throughput, ...]
    cap: int
    gain: Ratio
    verdict: str
    memory: float | None = limits(above=0)


def fit_call(batches, seconds):
    """Fit the seconds of one call to single timings: ``batches``, ``seconds``, both (n,); 1 and a
    larger size, each at least twice.

    Returns a dict, fit for JSON: ``alpha``, ``beta`` s, both >= 0, and their ``covariance`` (2, 2):
    the line through the medians by :func:`calibration.costs.time.fit_time`; ``lack_of_fit`` as
    there, ``at`` a batch size, None where it cannot be tested; ``affine``: is it that line that
    counts? If not, it is the ``seconds`` of ``points`` [{batch, median, n, seconds, se}], the
    medians made monotone, with straight lines in between, and ``alpha`` and ``beta`` only say what
    the nearest line would be. ``relative_sd`` is that of a single call, ``freedom`` the degrees of
    freedom of all of it. Raises :class:`InputError` for sizes that are not whole, too few of them,
    or times that are not positive.
    """
    batches, seconds = np.asarray(batches, float), np.asarray(seconds, float)
    if batches.ndim != 1 or batches.shape != seconds.shape:
        raise InputError(
            f"batches: found {batches.shape} sizes, {seconds.shape} times; allowed: one time for each"
        )
    if not (
        np.isfinite(batches).all() and (batches >= 1).all() and (batches == np.round(batches)).all()
    ):
        raise InputError("batches: found a size that is no whole number of at least 1")
    sizes, where, counts = np.unique(batches, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or sizes[0] != 1 or counts.min() < 2:
        found = ", ".join(
            f"{size:.0f} ({count} times)" for size, count in zip(sizes, counts, strict=True)
        )
        raise InputError(
            f"batches: found sizes {found or 'none'}; allowed: 1 and a larger one, each timed at least twice"
        )
    line = fit_time(batches, seconds)
    medians = np.array([point["median"] for point in line["points"]])
    on_line = line["overhead"] + line["step_time"] * sizes
    # times that never vary leave nothing to test with
    affine = (
        line["lack_of_fit"]["affine"]
        if line["lack_of_fit"]
        else np.allclose(on_line, medians, rtol=1e-6)
    )
    expected = on_line if affine else isotonic(medians, counts / medians**2, rising=True)
    low, high = np.quantile(seconds / expected[where] - 1, [0.025, 0.975])
    free = len(seconds) - (2 if affine else len(sizes))
    relative_sd = (high - low) / (2 * 1.96) * np.sqrt(len(seconds) / free)
    se = MEDIAN_SE * relative_sd * medians / np.sqrt(counts)
    return {
        "alpha": line["step_time"],
        "beta": line["overhead"],
        "covariance": np.array(line["covariance"])[::-1, ::-1].tolist(),
        "lack_of_fit": line["lack_of_fit"],
        "affine": bool(affine),
        "relative_sd": float(relative_sd),
        "freedom": line["freedom"],
        "points": [
            {
                "batch": int(size),
                "median": float(median),
                "n": int(count),
                "seconds": float(value),
                "se": float(error),
            }
            for size, median, count, value, error in zip(
                sizes, medians, counts, expected, se, strict=True
            )
        ],
    }


def curve(fit, batches):
    """Seconds of a call, shape (m,), and their covariance, shape (m, m), at ``batches``; none
    beyond the largest measured.

    Larger batches may not fit in memory, or fall off a cliff: they raise :class:`InputError`.
    """
    b, largest = np.asarray(batches, float), fit["points"][-1]["batch"]
    if not ((b >= 1) & (b <= largest)).all():
        raise InputError(
            f"batch: found {b.min():g} to {b.max():g}; allowed: 1 to {largest}, the largest that was timed"
        )
    if fit["affine"]:
        design = np.stack([b, np.ones_like(b)], axis=1)
        return design @ [fit["alpha"], fit["beta"]], design @ np.array(fit["covariance"]) @ design.T
    at, values, se = (
        np.array([point[name] for point in fit["points"]], float)
        for name in ("batch", "seconds", "se")
    )
    shares = np.stack([np.interp(b, at, one) for one in np.eye(len(at))], axis=1)
    return shares @ values, (shares * se**2) @ shares.T


def seconds(fit, batch):
    """Seconds of one call of ``batch`` requests."""
    return float(curve(fit, [batch])[0][0])


def fit_tick(batches, seconds):
    """:func:`fit_call` of ticks, with ``throughput``, ``cap``, ``gain`` and ``verdict``.

    ``throughput``: [{batch, value, low, high}], b / g(b), steps a second with 95 % intervals, at
    the sizes measured. ``cap``: the least of these sizes than which no larger one makes over 2 %
    more steps a second, and surely more (95 %); 1 where batching does not help. ``gain``: {value,
    low, high}, how many times as many it makes as batches of 1. ``verdict``: all this in a sentence
    for people.
    """
    fit = fit_call(batches, seconds)
    sizes = np.array([point["batch"] for point in fit["points"]])
    value, covariance = curve(fit, sizes)
    throughput, doubt = sizes / value, t_quantile(fit["freedom"])
    relative = covariance / np.outer(value, value)
    variance = np.diag(relative)
    ratio = throughput / throughput[:, None]
    spread = doubt * np.sqrt(np.maximum(variance + variance[:, None] - 2 * relative, 0.0))
    better = np.triu((ratio > 1 + GAIN) & (ratio > np.exp(spread)), 1)
    best = int(np.argmin(better.any(axis=1)))
    cap, largest = int(sizes[best]), int(sizes[-1])
    gain = _about(ratio[0, best], spread[0, best])
    if cap == 1:
        most = int(np.argmax(ratio[0, 1:])) + 1
        low, high = (ratio[0, most] * np.exp(sign * spread[0, most]) - 1 for sign in (-1, 1))
        verdict = (
            f"Batching does not help here: up to batches of {largest}, the best makes {ratio[0, most] - 1:+.1%} steps a second "
            f"against one alone ({low:+.1%} to {high:+.1%})."
        )
    else:
        beyond = (
            f"beyond {cap}, up to {largest}, no gain above {GAIN:.0%} shows"
            if cap < largest
            else "larger batches were not timed"
        )
        between = f"({gain['low']:.1f} to {gain['high']:.1f})"
        verdict = f"Batches of {cap} make a step {gain['value']:.1f} times cheaper than one alone {between}; {beyond}."
    rows = [
        {"batch": int(size), **_about(rate, doubt * sd)}
        for size, rate, sd in zip(sizes, throughput, np.sqrt(variance), strict=True)
    ]
    return {**fit, "throughput": rows, "cap": cap, "gain": gain, "verdict": verdict}


def fit_batching(tick, text, decode, memory=None):
    """What a profile has under ``batching``: :func:`fit_tick` of ``tick``, with ``text`` and
    ``decode``, the :func:`fit_call` of the two.

    Each is a pair (batches, seconds). ``memory``: bytes that one more request in the batch takes,
    None where nobody measured.
    """
    parts = {}
    for name, fitted, timings in (
        ("tick", fit_tick, tick),
        ("text", fit_call, text),
        ("decode", fit_call, decode),
    ):
        try:
            parts[name] = fitted(*timings)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return check({**parts.pop("tick"), **parts, "memory": memory})


def check(batching, where="batching"):
    """Return ``batching`` if it is what :func:`fit_batching` makes, as far as this package reads
    it; else :class:`InputError`.
    """
    need(where, batching, ("throughput", "cap", "gain", "verdict", "text", "decode", "memory"))
    for spot, fit in (
        (where, batching),
        (f"{where}.text", batching["text"]),
        (f"{where}.decode", batching["decode"]),
    ):
        need(
            spot,
            fit,
            (
                "alpha",
                "beta",
                "covariance",
                "lack_of_fit",
                "affine",
                "relative_sd",
                "freedom",
                "points",
            ),
        )
        for name in ("alpha", "beta", "relative_sd", "freedom"):
            number(f"{spot}.{name}", fit[name], least=0.0)
        if not isinstance(fit["affine"], bool):
            raise InputError(f"{spot}.affine: found {fit['affine']!r}; allowed: true or false")
        covariance, before = np.array(fit["covariance"], object), 0
        if covariance.shape != (2, 2):
            raise InputError(
                f"{spot}.covariance: found {fit['covariance']!r}; allowed: 2 lists of 2 numbers"
            )
        for value in covariance.flat:
            number(f"{spot}.covariance", value)
        if not isinstance(fit["points"], list) or not fit["points"]:
            raise InputError(
                f"{spot}.points: found {fit['points']!r}; allowed: a list of at least one"
            )
        for index, point in enumerate(fit["points"]):
            need(f"{spot}.points[{index}]", point, ("batch", "seconds", "se"))
            whole(f"{spot}.points[{index}].batch", point["batch"], before + 1)
            number(f"{spot}.points[{index}].seconds", point["seconds"], above=0.0)
            number(f"{spot}.points[{index}].se", point["se"], least=0.0)
            before = point["batch"]
    sizes = [point["batch"] for point in batching["points"]]
    if batching["cap"] not in sizes:
        raise InputError(
            f"{where}.cap: found {batching['cap']!r}; allowed: {', '.join(map(str, sizes))}"
        )
    if batching["memory"] is not None:
        number(f"{where}.memory", batching["memory"], above=0.0)
    return batching


def _about(value, spread):
    """``value`` with its interval; ``spread``: half of it on the logarithm, so that no bound is
    below 0.
    """
    return {
        "value": float(value),
        "low": float(value * np.exp(-spread)),
        "high": float(value * np.exp(spread)),
    }
