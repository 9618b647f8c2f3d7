"""When requests arrive: processes that are drawn, and traces that others recorded.

All times are in seconds from the start, rising. A load generator is *open*: it sends each request
at its time, whatever became of those before, and tells how late it was itself.
"""

import ast
import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.checks import is_number, shortened, shown
from solver.inputs import InputError, read_text

Array = NDArray[np.float64]

#: Of the bursts: how many times the mean rate in a burst and between bursts, the share of the time
#: in bursts that this leaves, and mean requests of a burst.
HIGH, LOW, SHARE, BURST = 2.5, 0.25, 1 / 3, 100
#: Of a day: how far the rate swings about its mean.
SWING = 0.8
#: Requests a second, and how many are drawn and read of a trace: more fits no clock, no memory.
RATES, DRAWN, TRACED = (1e-9, 1e9), 10**7, 10**8
_LATEST = 1e12  # s
#: Keys of a trace's requests that mean something here; the others are skipped.
TRACE_KEYS = ("timestamp", "slo_ms", "width", "height", "num_inference_steps", "seed", "prompt")


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Arrival times, s, and deadlines, s after arrival (inf: none), both of shape (n,), of the
    ``process`` that made them.
    """

    process: str
    times: Array
    deadlines: Array

    @classmethod
    def of(cls, process: str, times: Array, deadlines: Array | None = None) -> "Arrivals":
        """Without deadlines where none are given."""
        none = np.full(len(times), np.inf)
        return cls(process, times, none if deadlines is None else deadlines)

    def scaled(self, rate: float) -> "Arrivals":
        """The same pattern at a mean ``rate`` of requests a second; deadlines stay."""
        span = self.times[-1] - self.times[0]
        if not span > 1 / _LATEST:
            raise InputError(
                f"{self.process}: found all requests at one moment; allowed: a span of time"
            )
        factor = (len(self.times) - 1) / rate / span
        return Arrivals(self.process, (self.times - self.times[0]) * factor, self.deadlines)


def poisson(rate: float, count: int, rng: np.random.Generator) -> Array:
    """``count`` arrivals of a Poisson process with ``rate`` a second."""
    return np.cumsum(rng.exponential(1 / rate, count))


def bursts(rate: float, count: int, rng: np.random.Generator) -> Array:
    """Poisson arrivals at 2.5 and 0.25 times the ``rate``, in turns (a process of two states).

    Both states last exponential times; a burst brings 100 requests in the mean.
    """
    times: list[float] = []
    for _, _, arrivals in turns(rate, rng, bool(rng.random() < SHARE)):
        times += arrivals
        if len(times) >= count:
            break
    return np.array(times[:count])


def turns(
    rate: float, rng: np.random.Generator, high: bool
) -> Iterator[tuple[float, bool, list[float]]]:
    """The states of :func:`bursts` from 0 s on, without end: each one's end, s, whether its rate is
    the high one, and the arrivals in it. ``high``: the first is.
    """
    length, now = BURST / (HIGH * rate), 0.0
    while True:
        lasts = rng.exponential(length if high else length * (1 - SHARE) / SHARE)
        many = rng.poisson(rate * (HIGH if high else LOW) * lasts)
        arrivals = np.sort(now + lasts * rng.random(many)).tolist()
        now += lasts
        yield now, high, arrivals
        high = not high


def diurnal(rate: float, count: int, rng: np.random.Generator) -> Array:
    """One day whose rate swings by 80 % about the mean ``rate``, as long as ``count`` take."""
    day, most = count / rate, 1 + SWING
    times: list[float] = []
    now = 0.0
    while len(times) < count:
        now += rng.exponential(1 / (rate * most))
        if rng.random() * most < 1 - SWING * math.cos(2 * math.pi * now / day):
            times.append(now)
    return np.array(times)


PROCESSES: dict[str, Callable[[float, int, np.random.Generator], Array]] = {
    "poisson": poisson,
    "bursts": bursts,
    "diurnal": diurnal,
}


def draw(process: str, rate: float, count: int, seed: int) -> Arrivals:
    """``count`` arrivals at a mean ``rate`` a second of one of ``PROCESSES``, or of a trace file.

    A file is read by :func:`read_trace` and played at the mean rate, from its beginning, again and
    again until there are ``count``. Raises InputError for an unknown process, a wrong file, and a
    rate or a count that is not positive.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(
            f"rate: found {rate:g} requests a second; allowed: {RATES[0]:g} to {RATES[1]:g}"
        )
    if not 1 <= count <= DRAWN:
        raise InputError(f"requests: found {shown(count)}; allowed: 1 to {DRAWN}")
    if process in PROCESSES:
        rng = np.random.default_rng(seed)
        return Arrivals.of(process, PROCESSES[process](rate, count, rng))
    if not os.path.exists(process):
        raise InputError(
            f"arrivals: found {shown(process)}; allowed: {', '.join(PROCESSES)}, or a trace file"
        )
    if count < 2:
        raise InputError("requests: found 1; allowed with a trace: at least 2, as it has a rate")
    trace = read_trace(process)
    rounds = math.ceil(count / len(trace.times))
    if rounds > 1:
        gap = trace.times[-1] - trace.times[0] + np.diff(trace.times).mean()
        times = (trace.times + gap * np.arange(rounds)[:, None]).ravel()
        trace = Arrivals(process, times, np.tile(trace.deadlines, rounds))
    return Arrivals(process, trace.times[:count], trace.deadlines[:count]).scaled(rate)


def located(process: str) -> str:
    """A process as it is; a trace file by its whole path: the same from every folder."""
    known = process in PROCESSES or not os.path.exists(process)
    return process if known else os.path.abspath(process)


def read_trace(path: str | Path) -> Arrivals:
    """A recorded trace, of one of two forms.

    ``.csv``: Azure Functions' invocations, a row for each function with its counts of each minute
    in columns 1, 2, ...; the counts are summed over functions, and spread evenly over each minute.
    Any other: vLLM-Omni's benchmark traces, a line ``Request(timestamp=1.5, slo_ms=3000, width=512,
    height=512, num_inference_steps=20, seed=0)`` for each; without timestamps they come one a
    second. Steps and sizes are not taken over: those of the run decide. Raises InputError.
    """
    path, text = Path(path), read_text(path)
    if path.suffix == ".csv":
        return _counts(str(path), text)
    return _requests(str(path), text)


def _counts(path: str, text: str) -> Arrivals:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = [name for name in reader.fieldnames or () if re.fullmatch("[0-9]{1,9}", name)]
        if not names:
            raise InputError(f"{path}: found no column 1, 2, ...; allowed: counts of each minute")
        counts = dict.fromkeys(sorted(map(int, names)), 0)
        for row in reader:  # of a real trace tens of thousands: added up, not kept
            for name in names:
                if row[name]:
                    counts[int(name)] += int(row[name])
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except ValueError as error:
        raise InputError(
            f"{path}: counts: found {shortened(str(error), 160)}; allowed: whole numbers"
        ) from None
    least, total = min(counts.values()), sum(counts.values())
    if least < 0:
        raise InputError(f"{path}: counts: found {shown(least)}; allowed: at least 0")
    if not 2 <= total <= TRACED:
        raise InputError(
            f"{path}: counts: found {shown(total)} requests; allowed: at least 2, at most {TRACED}"
        )
    first = min(counts)
    spread = [
        60.0 * (minute - first + (np.arange(count) + 0.5) / count)
        for minute, count in counts.items()
    ]
    return Arrivals.of(path, np.concatenate(spread))


def _requests(path: str, text: str) -> Arrivals:
    times: list[float] = []
    deadlines: list[float] = []
    # not splitlines(): a prompt may hold other separators as they are, U+2028 for one
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line:
            continue
        where = f"{path}: line {number}"
        values = _request(where, line)
        at, slo = values.get("timestamp", float(len(times))), values.get("slo_ms")
        if not is_number(at) or abs(at) > _LATEST:  # type: ignore[arg-type]
            raise InputError(f"{where}: timestamp: found {shown(at)}; allowed: seconds")
        if slo is not None and not (is_number(slo) and 0 < slo <= 1e3 * _LATEST):  # type: ignore[operator]
            raise InputError(f"{where}: slo_ms: found {shown(slo)}; allowed: ms above 0")
        times.append(float(at))  # type: ignore[arg-type]
        deadlines.append(math.inf if slo is None else slo / 1000)  # type: ignore[operator]
    if len(times) < 2:
        raise InputError(f"{path}: found {len(times)} requests; allowed: at least 2")
    order = np.argsort(times, kind="stable")
    begun = np.array(times)[order]
    return Arrivals(path, begun - begun[0], np.array(deadlines)[order])


def _request(where: str, line: str) -> dict[str, object]:
    """The keywords of ``Request(...)``, each a literal."""
    try:
        call = ast.parse(line, mode="eval").body
        if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "Request":
            raise ValueError
        return {
            keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg
        }
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise InputError(
            f"{where}: found {shown(line)}; allowed: Request(key=value, ...), with any of "
            f"{', '.join(TRACE_KEYS)}"
        ) from None


def lateness(scheduled: Sequence[float] | Array, sent: Sequence[float] | Array) -> dict[str, float]:
    """How late a load generator was, s: the median, the 99th percentile, the largest."""
    late = np.maximum(np.asarray(sent) - np.asarray(scheduled), 0.0)
    return {
        "median": float(np.median(late)),
        "p99": float(np.quantile(late, 0.99)),
        "largest": float(late.max()),
    }
