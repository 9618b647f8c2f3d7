"""What the edge has before it: a first-come batch, iteration by iteration.

Requests join in the order of their arrival, and none is set aside for another. So each has its
iterations, counted from the first, from the moment that it is taken on: a later request takes none
of them away, it only makes them longer. Seconds follow from how many share each iteration.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from solver.columnar import FloatArray, IntArray
from solver.online.calls import Calls, Pace


class Options(NamedTuple):
    """What taking on one more request would come to, by its steps; each of shape (1 + steps,).

    ``seconds`` until it is done, from the time that was asked about; ``shared``: its share of the
    edge's busy seconds; ``added``: by how much they grow; ``harm``: the cost of the delay of those
    present; ``kept``: whether those present still meet their deadlines. Column 0 means nothing.
    """

    seconds: FloatArray
    shared: FloatArray
    added: FloatArray
    harm: FloatArray
    kept: np.ndarray


class Done(NamedTuple):
    """A finished request: its ``name``, when it was ``finished``, s, and its ``shared`` seconds."""

    name: int
    finished: float
    shared: float


@dataclass(eq=False)
class _Running:
    name: int
    first: int
    last: int
    due: float
    weight: float
    new: bool
    number: int  # in the order of arrival


@dataclass(eq=False)
class Backlog:
    """The requests present at an engine with the costs ``calls``; see the module's head.

    ``clock`` is when the next iteration begins, s. A ``noise`` makes each call longer or shorter
    than expected; what :meth:`options` tells is what is expected at the ``speed`` of late.
    ``present`` requests are not finished, and still take ``left`` iterations, all together.
    """

    calls: Calls
    noise: Callable[[], float] | None = None  # the factor of the next call
    clock: float = 0.0
    busy: float = 0.0
    speed: Pace = field(default_factory=Pace)
    present: int = field(default=0, init=False)
    left: int = field(default=0, init=False)
    _at: int = 0  # the next iteration; arrays begin with it after _grow
    _top: int = 0  # one past the last iteration that anyone takes
    _count: int = 0  # of all who joined
    _free: list[int] = field(default_factory=list)  # by slot: its first free iteration
    _running: dict[int, list[_Running]] = field(default_factory=dict)  # by last iteration
    _begun: tuple[int, ...] = (0, 0, 0)  # batch, starts and ends of the last that began
    _asked: float = 0.0  # its expected seconds, at pace 1
    _ended: float = 0.0  # when it was over
    _paid: list[float] = field(default_factory=lambda: [0.0])  # running sum of tick / batch
    _encoded: list[float] = field(default_factory=list)  # of each iteration: text / starts

    def __post_init__(self) -> None:
        self._free, self._ended = [0] * self.calls.cap, self.clock
        self._room(1024)

    def _room(self, size: int) -> None:
        integers = np.zeros((3, size), np.int64)
        self._batch, self._starts, self._ends = integers
        self._seconds, self._weight = np.zeros((2, size))
        self._due = np.full(size, np.inf)
        self._base = self._at

    @property
    def pace(self) -> float:
        """How many times as long as ``calls`` say iterations take."""
        return self.speed.after(0.0 if self._at < self._top else self.clock - self._ended)

    def advance(self, now: float) -> list[Done]:
        """Go on until ``now``, s; returns what finished, in order.

        The iteration that is under way at ``now`` is already made: whoever comes now joins after
        it. A request that comes the moment that an iteration begins joins that one.
        """
        done: list[Done] = []
        while self._at < self._top and self.clock < now:
            done += self._iterate()
        if self._at >= self._top:
            self.clock = max(self.clock, now)
        return done

    def drain(self) -> list[Done]:
        """Finish all that is present."""
        return [done for _ in range(self._at, self._top) for done in self._iterate()]

    def add(
        self, name: int, steps: int, weight: float = 0.0, due: float = np.inf, new: bool = True
    ) -> tuple[int, int]:
        """Take on a request of ``steps`` >= 1; returns its first and its last iteration.

        ``weight``: what a second costs it; ``due``: when it must be done, s;
        ``new``: whether its text is yet to be encoded.
        """
        if self._at >= self._top:  # nobody was there
            self.speed.rest(self.clock - self._ended)
            self._ended = self.clock
        first = max(heapq.heappop(self._free), self._at)
        last = first + steps - 1
        heapq.heappush(self._free, last + 1)
        self._grow(last + 1)
        a, z = first - self._base, last - self._base
        self._batch[a : z + 1] += 1
        self._starts[a] += new
        self._ends[z] += 1
        self._weight[z] += weight
        self._due[z] = min(self._due[z], due)
        self._seconds[a : z + 1] = self._expected(slice(a, z + 1))
        self._top = max(self._top, last + 1)
        running = _Running(name, first, last, due, weight, new, self._count)
        self._running.setdefault(last, []).append(running)
        self._count += 1
        self.present, self.left = self.present + 1, self.left + steps
        return first, last

    def leave(self, name: int) -> None:
        """A request leaves between two iterations, unfinished; who waits may begin earlier."""
        present = (running for these in self._running.values() for running in these)
        rest = sorted((each for each in present if each.name != name), key=lambda each: each.number)
        self._running, self._free, self._top = {}, [self._at] * self.calls.cap, self._at
        self.present = self.left = 0
        ahead = slice(self._at - self._base, None)
        for column in (self._batch, self._starts, self._ends, self._seconds, self._weight):
            column[ahead] = 0
        self._due[ahead] = np.inf
        for each in rest:
            begun = each.first < self._at
            steps = each.last + 1 - max(each.first, self._at)
            _, last = self.add(each.name, steps, each.weight, each.due, each.new and not begun)
            if begun:
                self._running[last][-1].first = each.first

    def options(self, now: float, most_steps: int) -> Options:
        """What one more request, of 1 to ``most_steps``, would come to at ``now``.

        Nobody else is expected to come. ``now`` is not before the last :meth:`advance`.
        """
        calls, pace, first = self.calls, self.pace, max(self._free[0], self._at)
        self._grow(max(first + most_steps, self._top))
        at, a, top = self._at - self._base, first - self._base, self._top - self._base
        span = slice(a, a + most_steps)
        batch, starts, ends = self._batch[span], self._starts[a], self._ends[span]
        longer = pace * (calls.tick[batch + 1] - calls.tick[batch])
        text = pace * (calls.text[starts + 1] - calls.text[starts])
        decode = pace * (calls.decode[ends + 1] - calls.decode[ends])
        wait = self.clock - now + pace * self._seconds[at:a].sum() + text
        more = np.cumsum(longer)
        added = text + more + decode
        behind = self._weight[a:top].sum() - np.cumsum(self._weight[span]) + self._weight[span]
        seconds = wait + pace * np.cumsum(self._seconds[span]) + more + decode
        shared = pace * (
            np.cumsum(calls.tick[batch + 1] / (batch + 1))
            + calls.text[starts + 1] / (starts + 1)
            + calls.decode[ends + 1] / (ends + 1)
        )
        harm = text * behind[0] + np.cumsum(longer * behind) + decode * behind
        kept = self._kept(a, most_steps, text, more, decode)
        seconds, shared, added, harm = (
            np.append(np.nan, values) for values in (seconds, shared, added, harm)
        )
        return Options(seconds, shared, added, harm, np.append(True, kept))

    def expected(self, last: int, now: float) -> float:
        """Seconds from ``now`` until the iteration ``last`` ends, if nobody else comes."""
        at = self._at - self._base
        seconds = float(self._seconds[at : last - self._base + 1].sum())
        return self.clock - now + self.pace * seconds

    def remaining(self) -> IntArray:
        """Iterations until each request present is done, waiting included, ascending."""
        ends = [[last] * len(these) for last, these in sorted(self._running.items())]
        return np.array([last for these in ends for last in these], np.int64) - self._at + 1

    def _kept(
        self, a: int, most_steps: int, text: float, more: FloatArray, decode: FloatArray
    ) -> np.ndarray:
        """Whether all present still meet their deadlines, by the newcomer's steps."""
        at, top = self._at - self._base, self._top - self._base
        due = self._due[at:top]
        if not np.isfinite(due).any():
            return np.ones(most_steps, bool)
        ends = self.clock + self.pace * np.cumsum(self._seconds[at:top])
        spare = due - ends
        # those that were late anyway are not kept from it: others of their iteration may be
        for index in np.flatnonzero(spare < -1e-12):
            left = (running.due - ends[index] for running in self._running[self._at + int(index)])
            spare[index] = min((time for time in left if time >= -1e-12), default=np.inf)
        spare = spare[a - at :]
        spare = np.append(spare, np.full(max(0, most_steps + 1 - len(spare)), np.inf))
        during = np.minimum.accumulate(spare[:most_steps] - more - text)
        during = np.append(np.inf, during[:-1])  # all that end before the newcomer's last iteration
        after = np.minimum.accumulate(spare[::-1])[::-1][:most_steps]
        return (during >= -1e-12) & (after >= text + more + decode - 1e-12)

    def begin(self, now: float) -> float:
        """The next iteration begins at ``now``, s: whoever comes later joins after it.

        It is expected to end at ``clock``, until :meth:`end` says when it did. Returns its expected
        seconds at pace 1.
        """
        at = self._at - self._base
        self._begun = tuple(int(kind[at]) for kind in (self._batch, self._starts, self._ends))
        self._asked = float(self._seconds[at])
        self.clock = now + self.pace * self._asked
        self._at, self.left = self._at + 1, self.left - self._begun[0]
        return self._asked

    def end(self, clock: float, text: float, tick: float, decode: float) -> list[Done]:
        """The iteration that began is over at ``clock``, s, after calls of so many seconds;
        returns who was done with it.
        """
        batch, starts, ends = self._begun
        self.clock, self._ended, self.busy = clock, clock, self.busy + text + tick + decode
        if tick:  # no call, where all failed
            self.speed.add(self._asked, text + tick + decode)
        self._paid.append(self._paid[-1] + tick / batch)
        self._encoded.append(text / max(starts, 1))
        done = self._running.pop(self._at - 1, [])
        self.present -= len(done)
        return [
            Done(
                running.name,
                clock,
                self._paid[running.last + 1]
                - self._paid[running.first]
                + self._encoded[running.first]
                + decode / ends,
            )
            for running in done
        ]

    def _iterate(self) -> list[Done]:
        start = self.clock
        self.begin(start)
        batch, starts, ends = self._begun
        seconds = [self.calls.text[starts], self.calls.tick[batch], self.calls.decode[ends]]
        if self.noise is not None:
            seconds = [call * self.noise() if call else 0.0 for call in seconds]
        return self.end(start + sum(seconds), *seconds)

    def _expected(self, span: slice) -> FloatArray:
        return self.calls.seconds(self._starts[span], self._batch[span], self._ends[span])

    def _grow(self, until: int) -> None:
        """Make room for the iterations before ``until``, and drop those that are over."""
        if until - self._base <= len(self._seconds):
            return
        names = ("_batch", "_starts", "_ends", "_seconds", "_weight", "_due")
        kept = {name: getattr(self, name)[self._at - self._base :] for name in names}
        self._room(2 * (until - self._at))
        for name, values in kept.items():
            size = min(len(values), len(getattr(self, name)))
            getattr(self, name)[:size] = values[:size]
