"""Seconds of a transfer against its bytes: T = a + b x + slow start.

A connection begins with a window of ten segments (RFC 6928), and waits a round trip for what does
not fit into it. The window then grows with each round trip, until the link is full (Cardwell,
Savage and Anderson, *Modeling TCP Latency*, INFOCOM 2000). A straight line through transfers of
many sizes would miss this: below that size a transfer waits for two round trips, and above it for
up to a handful more.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.comparison import Comparison
from calibration.costs.line import LackOfFit, fit_line
from calibration.records.record import Transfer
from calibration.schema import Schema, frozen, limits
from calibration.statistics import (
    MEDIAN_SE,
    Z95,
    Array,
    Matrix,
    central_95,
    matrix,
    pooled_sd,
    t_quantile,
)
from solver.inputs import InputError

#: Bytes of the first window: ten segments of 1448, as an MTU of 1500 leaves them.
FIRST_WINDOW = 14480
#: By how much the window grows in a round trip. It would double if each segment were confirmed at
#: once; ``python -m benchmarks.serving.link`` prints what others would give.
GROWTH = 1.8
_BINS = 16
_LEAST = 3  # transfers, and in a part of a bin
_ALIKE = 1.1
#: Standard deviation, in round trips, of transfers in whole windows about the curve; chosen on
#: other links than those of the benchmark.
_WINDOW_SD = 0.08
#: Round trips of a request with a connection of its own: to connect, and to ask and be answered.
ROUND_TRIPS = 2
_BASES = ("measured", "emulated")


@frozen
class Payload(Schema):
    """Bytes of an image's request (``up``) and answer (``down``), with their heads: means of ``n``
    images; ``sd`` of a single answer.
    """

    up: float = limits(least=0)
    down: float = limits(least=0)
    sd: float = limits(least=0)
    n: int = limits(least=1)


@frozen
class TransferPoint(Schema):
    """The ``median`` s of ``n`` transfers of about ``bytes`` bytes."""

    bytes: float = limits(least=0)
    median: float
    n: int


@frozen
class TransferFit(Schema):
    """Seconds that a request is on its way: ``overhead`` + ``per_byte`` x, and slow start's.

    x: bytes that come back, with their heads. ``round_trip``: median s of the handshakes.
    ``covariance`` (2, 2) of the two parameters, with ``dof`` degrees of freedom, of ``n`` transfers
    of up to ``largest`` bytes. ``low``, ``high``: s by which the central 95 % of single transfers
    deviate; ``window_sd``: see :meth:`on`. ``lack_of_fit``: ``at`` bytes, None where it cannot be
    tested. ``basis``: measured, or emulated where the link is.
    """

    overhead: float = limits(least=0)
    per_byte: float = limits(least=0)
    round_trip: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    dof: int = limits(least=0, key="freedom")
    n: int = limits(least=0)
    largest: float
    low: float
    high: float
    lack_of_fit: LackOfFit | None
    points: tuple[TransferPoint, ...]
    basis: str
    window_sd: float = limits(least=0, default=0.0)

    def seconds(self, size: float) -> float:
        """Predicted seconds of a transfer of ``size`` bytes."""
        late = float(slow_start([size], self.round_trip, self.per_byte)[0])
        return self.overhead + self.per_byte * size + late

    @property
    def sd(self) -> float:
        """Standard deviation of a single transfer, in s."""
        return (self.high - self.low) / (2 * Z95)

    def variance(self, size: float) -> float:
        """Of the fitted seconds of ``size`` bytes, in s²."""
        design = np.array([1.0, size])
        windows = self.window_sd**2 if size > FIRST_WINDOW else 0.0
        return float(design @ np.array(self.covariance) @ design) + windows

    def interval(self, size: float) -> tuple[float, float]:
        """The 95 % interval of a single transfer of ``size`` bytes."""
        seconds, own = self.seconds(size), t_quantile(self.dof) * math.sqrt(self.variance(size))
        return (
            max(0.0, seconds - math.hypot(self.low, own)),
            seconds + math.hypot(self.high, own),
        )

    def compare(self, transfer: Transfer) -> Comparison:
        """The prediction of a transfer of so many bytes, beside its time."""
        size = transfer.bytes_down
        low, high = self.interval(size)
        predicted = Comparison(self.seconds(size), low, high, basis=transfer.basis)
        return predicted.beside(transfer.seconds)

    def on(self, round_trip: float, rate: float) -> Self:
        """The same requests over a link of another ``round_trip`` (s) and ``rate`` (bit/s down).

        What is left of the overhead without its round trips is the ends' own. A link that was not
        fitted adds ``window_sd``: data comes in windows, and the curve goes between their steps.
        """
        ends = max(0.0, self.overhead - ROUND_TRIPS * self.round_trip)
        return replace(
            self,
            overhead=ends + ROUND_TRIPS * round_trip,
            per_byte=8 / rate,
            round_trip=round_trip,
            covariance=((self.covariance[0][0], 0.0), (0.0, 0.0)),
            window_sd=_WINDOW_SD * round_trip,
        )


def slow_start(
    sizes: ArrayLike, round_trip: float, per_byte: float, growth: float = GROWTH
) -> Array:
    """Seconds, shape (n,), that transfers of ``sizes`` bytes (n,) take beyond ``per_byte`` (s) of
    each.

    The data that came after t round trips is w (g^t - 1)/(g - 1), with the first window w and its
    growth g, from the second window on and until the link is full.
    """
    x, w, g = np.asarray(sizes, float), FIRST_WINDOW, growth
    if round_trip <= 0:
        return np.zeros_like(x)
    full = round_trip / per_byte if per_byte > 0 else math.inf  # bytes of a round trip
    # from then on data comes as fast as the link has it; not before the second window
    filled = max(1.0, math.log(full * (g - 1) / (w * math.log(g)), g)) if full < math.inf else None
    trips = np.log1p((g - 1) * x / w) / math.log(g)
    if filled is not None:
        by_then = w * (g**filled - 1) / (g - 1)
        trips = np.where(trips < filled, trips, filled + (x - by_then) / full)
    late = round_trip * trips - per_byte * x
    return np.where(x <= w, 0.0, np.maximum(late, 0.0))


def fit_transfer(
    sizes: ArrayLike, seconds: ArrayLike, round_trips: ArrayLike, basis: str = "measured"
) -> TransferFit:
    """Fit single transfers: their bytes, seconds, and handshakes' seconds, all of shape (n,).

    As with the time of a step, the line goes through medians (of transfers of about one size),
    weighted by their standard errors, because a pause of the machine only adds time. A single
    transfer's spread is taken as the same at all sizes: it is the machines', not the link's. Slow
    start follows from the slope, and the slope from what is left without it, so both are found in
    turns.

    Raises :class:`InputError` for fewer than three transfers, or numbers that are not finite.
    """
    x, y = np.asarray(sizes, float), np.asarray(seconds, float)
    round_trip = float(np.median(np.asarray(round_trips, float))) if len(x) else 0.0
    if len(x) < _LEAST:
        raise InputError(f"transfer: found {len(x)} transfers; allowed: at least {_LEAST}")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and math.isfinite(round_trip)):
        raise InputError("transfer: found a number that is not finite")
    groups = _bins(x)
    bytes_, medians = (np.array([np.median(v[g]) for g in groups]) for v in (x, y))
    counts = np.array([len(group) for group in groups])
    order, where = np.concatenate(groups), np.repeat(np.arange(len(groups)), counts)
    spread = pooled_sd(y[order] - medians[where], where)
    known = spread > 0
    sd = (spread if known else 1.0) * MEDIAN_SE / np.sqrt(counts)
    dof = len(x) - len(groups) if known else None
    line, covariance, lack = _line(bytes_, medians, sd, dof, round_trip)
    fit = TransferFit(
        overhead=float(line[0]),
        per_byte=float(line[1]),
        round_trip=round_trip,
        covariance=matrix(covariance),
        dof=max(1, len(groups) - 2 if dof is None else dof),
        n=len(x),
        largest=float(x.max()),
        low=0.0,
        high=0.0,
        lack_of_fit=lack,
        points=tuple(map(TransferPoint, bytes_.tolist(), medians.tolist(), counts.tolist())),
        basis=basis,
    )
    off = y - [fit.seconds(size) for size in x]
    low, high = central_95(off, parameters=2)
    return replace(fit, low=low, high=high)


def payload(answers: Sequence[Transfer]) -> Payload:
    """What the ``answers``, at least one, weigh."""
    up, down = (
        np.array([getattr(answer, name) for answer in answers], float)
        for name in ("bytes_up", "bytes_down")
    )
    sd = float(down.std(ddof=1)) if len(down) > 1 else 0.0
    return Payload(float(up.mean()), float(down.mean()), sd, len(answers))


def fit_transfers(transfers: Sequence[Transfer]) -> TransferFit:
    """Fit what was recorded of single images' transfers; see :func:`fit_transfer`."""
    return fit_transfer(
        [transfer.bytes_down for transfer in transfers],
        [transfer.seconds for transfer in transfers],
        [transfer.round_trip for transfer in transfers],
        max((transfer.basis for transfer in transfers), key=_BASES.index, default="measured"),
    )


def _bins(sizes: Array) -> list[NDArray[np.int_]]:
    """Indices of transfers of about one size, the smallest first.

    In a bin none is a tenth larger than another, or beyond the first window if the other is not.
    Where many are alike they are split, so that a slope shows between them.
    """
    order = np.argsort(sizes, kind="stable")
    alike: list[list[int]] = []
    for index in order.tolist():
        smallest = sizes[alike[-1][0]] if alike else -math.inf
        apart = sizes[index] > _ALIKE * smallest or smallest <= FIRST_WINDOW < sizes[index]
        if apart or not alike:
            alike.append([])
        alike[-1].append(index)
    least = max(_LEAST, math.ceil(len(sizes) / _BINS))
    return [part for group in alike for part in np.array_split(group, max(1, len(group) // least))]


def _rises(sizes: Array, medians: Array, sd: Array) -> bool:
    """Whether larger transfers take longer by more than two standard errors."""
    if len(sizes) < 2:
        return False
    spread = sizes - np.average(sizes, weights=1 / sd**2)
    variance = 1 / np.sum((spread / sd) ** 2)
    return bool(np.sum(spread * medians / sd**2) * variance > 2 * math.sqrt(variance))


def _line(
    sizes: Array, medians: Array, sd: Array, dof: int | None, round_trip: float
) -> tuple[Array, Array, LackOfFit | None]:
    """The line, its covariance and its test; see :func:`calibration.costs.line.fit_line`.

    Where sizes are too much alike to show a slope, it is 0.
    """
    if not _rises(sizes, medians, sd):
        late = slow_start(sizes, round_trip, 0.0)
        level = max(0.0, float(np.average(medians - late, weights=1 / sd**2)))
        return np.array([level, 0.0]), np.diag([1 / np.sum(1 / sd**2), 0.0]), None
    slope = max(0.0, float(np.polyfit(sizes, medians, 1)[0]))
    for _ in range(100):
        late = slow_start(sizes, round_trip, slope)
        line, covariance, lack = fit_line(sizes, medians - late, sd, dof)
        if abs(line[1] - slope) <= 1e-9 * max(slope, 1e-12):
            break
        slope = 0.5 * (slope + float(line[1]))
    return line, covariance, lack
