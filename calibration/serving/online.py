"""Requests that arrive, simulated: a policy decides on each, with what the edge has before it.

The edge is :class:`solver.online.Backlog`, first come first served: the same engine that
:func:`calibration.serving.simulator.simulate` has, and a test holds one against the other. Users
who serve themselves do so on a device of their own, at once.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.costs.batch import BatchCost, CallCost, call_seconds
from calibration.serving.quotes import Quotes
from solver.inputs import InputError
from solver.online.backlog import Backlog, Done
from solver.online.calls import Calls
from solver.online.certificate import Outcome
from solver.online.state import Policy, State
from solver.online.tables import Tables

Array = NDArray[np.float64]
#: What a quote is multiplied by, and its interval, before anything was seen.
FIRST = (1.0, float(np.exp(-0.5)), float(np.exp(0.5)))


@dataclass(frozen=True, eq=False)
class Served:
    """What became of a trace: the ``outcome``; of each request the moment ``decided``, s, and the
    ``quotes`` (n, 3) of seconds from arrival until done, predicted, low, high (at home: as it was);
    ``deciding``: the CPU seconds of each decision; ``busy``: the edge's busy seconds.
    """

    outcome: Outcome
    decided: Array
    quotes: Array
    deciding: Array
    busy: float


def calls_of(cost: BatchCost, cap: int | None = None) -> Calls:
    """The expected seconds of calls of 1 to ``cap`` requests (None: as measured best)."""
    cap = cap or min(cost.cap, cost.text.sizes[-1], cost.decode.sizes[-1])
    sizes = np.arange(1, cap + 1)

    def seconds(call: CallCost) -> Array:
        return np.maximum.accumulate(
            call_seconds(call, sizes)[0]
        )  # monotone, as medians may not be

    return Calls.of(seconds(cost.tick), seconds(cost.text), seconds(cost.decode))


class Noise:
    """A factor of mean 1 for each call, log-normal."""

    def __init__(self, relative_sd: float, seed: int) -> None:
        self._rng, self._sd = np.random.default_rng(seed), relative_sd

    def __call__(self) -> float:
        """The next call's."""
        return float(np.exp(self._rng.normal(-(self._sd**2) / 2, self._sd)))


def events(arrival: Array, window: float | None) -> Iterator[tuple[float, list[int]]]:
    """The moments at which decisions fall, and who is decided on: on arrival, or at the end of the
    ``window`` (s) in which a request came.
    """
    if not window:
        yield from ((float(at), [index]) for index, at in enumerate(arrival))
        return
    number = np.floor(arrival / window).astype(int)
    for which in np.unique(number):
        yield float((which + 1) * window), np.flatnonzero(number == which).tolist()


def serve(
    tables: Tables,
    calls: Calls,
    kind: NDArray[np.int_],
    arrival: Array,
    policy: Policy,
    noise: Callable[[], float] | None = None,
) -> Served:
    """Serve requests of ``kind`` that come at ``arrival`` s, rising, both of shape (n,).

    A policy with a ``window``, s, and a method ``decide`` of all States in it holds requests until
    the window's end.
    """
    desk = Desk(tables, kind, arrival, policy)
    backlog = Backlog(calls, noise)
    for now, indices in events(arrival, desk.window):
        desk.finish(backlog.advance(now))
        for index, steps in desk.decide(backlog, now, indices):
            if steps:
                desk.join(backlog, now, index, steps)
    desk.finish(backlog.drain())
    return desk.served(backlog.busy)


class Desk:
    """Where requests are decided on, and what became of each is written down."""

    def __init__(
        self, tables: Tables, kind: NDArray[np.int_], arrival: Array, policy: Policy
    ) -> None:
        self.tables, self.kind, self.arrival, self.policy = tables, kind, arrival, policy
        self.window: float | None = getattr(policy, "window", None)
        count = len(kind)
        self.steps, self.edge = np.zeros(count, int), np.zeros(count, bool)
        self.seconds, self.shared = np.full(count, np.nan), np.zeros(count)
        self.decided, self.deciding = np.zeros(count), np.zeros(count)
        self.quotes = np.full((count, 3), np.nan)
        self._quotes = Quotes()
        self._expected: dict[int, tuple[float, Array]] = {}

    def decide(self, backlog: Backlog, now: float, indices: list[int]) -> list[tuple[int, int]]:
        """Decide on these requests at ``now`` s; those at home are served. Returns all, with their
        steps at the edge, 0 at home.
        """
        begun = time.thread_time()
        states = [
            State(self.tables, backlog, int(self.kind[i]), float(self.arrival[i]), now)
            for i in indices
        ]
        if self.window:
            answers = self.policy.decide(states)  # type: ignore[attr-defined]
        else:
            answers = [self.policy(state) for state in states]
        self.deciding[indices] = (time.thread_time() - begun) / len(indices)
        self.decided[indices] = now
        for index, state, steps in zip(indices, states, answers, strict=True):
            self.edge[index] = steps > 0
            self.steps[index] = steps or state.home[0]
            if not steps:
                own = self.tables.local_time[state.kind, state.home[0]]
                self.seconds[index] = now - state.arrival + own
                self.quotes[index] = self.seconds[index]
        return list(zip(indices, answers, strict=True))

    def join(self, backlog: Backlog, now: float, index: int, steps: int) -> None:
        """Quote a request its completion time, and take it on."""
        tables, kind, arrival = self.tables, self.kind[index], self.arrival[index]
        transfer = tables.transfer[kind]
        due = arrival + tables.deadline[kind] - transfer
        met = np.array([backlog.present + 1, steps, backlog.left + steps], float)
        _, last = backlog.add(index, steps, float(tables.time_weight[kind]), float(due))
        expected = backlog.expected(last, now)
        self._expected[index] = expected, met
        quote = expected * self._quotes.factors(met[None], np.array(FIRST)[:, None])[:, 0]
        self.quotes[index] = quote + (now - arrival + transfer)

    def refuse(self, index: int, now: float) -> None:
        """The edge did not take a request that it had been chosen for: it is served at home.

        Raises InputError for one that has no option there.
        """
        steps, cost = self.tables.at_home(int(self.kind[index]), now - self.arrival[index])
        if not np.isfinite(cost):
            raise InputError(f"requests[{index}]: refused by the edge; allowed: a local option")
        self._expected.pop(index, None)
        own = self.tables.local_time[self.kind[index], steps]
        self.edge[index], self.steps[index] = False, steps
        self.seconds[index] = now - self.arrival[index] + own
        self.quotes[index] = self.seconds[index]

    def finish(self, done: list[Done]) -> None:
        """Write down requests that the edge finished."""
        for name, finished, shared in done:
            spent = finished - self.decided[name]
            extra = self.decided[name] - self.arrival[name] + self.tables.transfer[self.kind[name]]
            self.seconds[name], self.shared[name] = spent + extra, shared
            expected, met = self._expected.pop(name)
            _, low, high = self.quotes[name] - extra
            self._quotes.finished(spent / expected, met, low <= spent <= high)

    def served(self, busy: float) -> Served:
        """All of it, when every request is done."""
        outcome = Outcome(self.kind, self.arrival, self.edge, self.steps, self.seconds, self.shared)
        return Served(outcome, self.decided, self.quotes, self.deciding, busy)
