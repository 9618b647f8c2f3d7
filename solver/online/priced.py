"""Policies that decide on arrival, by a price of the edge's busy seconds."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from solver.columnar import FloatArray
from solver.online.prices import AtPace, Market, Plan, short_of_time, taken_up
from solver.online.state import Setting, State, cheapest

#: In units of a local request: the time between two solutions; how far :class:`WindowPrice` looks
#: back, and how far others do; how far a plan looks ahead.
RESOLVE, SHORT, LONG, AHEAD = 1.0, 6.0, 12.0, 1.5
#: Requests that must have been seen before a price is set.
FEWEST = 6
#: The size of a plan's batch from which on its price is charged in full.
FULL = 4


def _shared(state: State) -> FloatArray:
    """Busy seconds that each option takes up; 0 at home."""
    return np.append(0.0, state.options.shared[1:])


class Priced(ABC):
    """The best for itself, charged for what it does to others."""

    @abstractmethod
    def charge(self, state: State) -> FloatArray:
        """What each option is charged beside its own cost; 0 at home."""

    def __call__(self, state: State) -> int:
        return cheapest(state, state.own + self.charge(state))


class Externality(Priced):
    """The best for it and those present, together."""

    def charge(self, state: State) -> FloatArray:
        """The cost of those present."""
        return state.others


class FixedPrice(Priced):
    """The best for itself at the setting's ``price`` of each busy second that it takes up."""

    def __init__(self, setting: Setting) -> None:
        self.price = setting.price

    def charge(self, state: State) -> FloatArray:
        """The busy seconds at the price."""
        return self.price * _shared(state)


@dataclass(eq=False)
class Recent:
    """The requests of the last ``span`` s, counted by kind."""

    kinds: int
    span: float
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _begun: float | None = None

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.kinds)

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, now: float, kind: int) -> None:
        """Count a request."""
        self._begun = now if self._begun is None else self._begun
        self._seen.append((now, kind))
        self.counts[kind] += 1
        while self._seen[0][0] < now - self.span:
            self.counts[self._seen.popleft()[1]] -= 1

    def rates(self, now: float, least: float) -> FloatArray:
        """Requests of each kind a second, shape (kinds,), in ``least`` s or more: of those that
        come together at the beginning nobody can tell how many will follow.
        """
        begun = now if self._begun is None else self._begun
        return self.counts / max(min(self.span, now - begun), least)


class WindowPrice(FixedPrice):
    """The price at which the requests of a moment ago would just fit the edge, solved anew each
    period.
    """

    def __init__(self, setting: Setting) -> None:
        self.price = 0.0
        self._markets = AtPace(partial(Market.of, setting.tables), setting.calls)
        self._recent = Recent(setting.tables.kinds, SHORT * setting.unit)
        self._period, self._next = RESOLVE * setting.unit, -np.inf

    def __call__(self, state: State) -> int:
        self.see(state)
        return super().__call__(state)

    def see(self, state: State) -> None:
        """Count a request, and solve for the price when it is time to."""
        self._recent.add(state.now, state.kind)
        if len(self._recent) < FEWEST:  # so few fit
            self.price = 0.0
        elif state.now >= self._next:
            self._next = state.now + self._period
            market = self._markets(state.backlog.pace)
            self.price = market.price(self._recent.rates(state.now, self._period))


class ExternalityPrice(Priced):
    """What one more step costs the others, those present and those to come.

    Those present: their delay, read off the measured seconds of a batch. Those to come: its busy
    seconds at the price of the :class:`Plan` for the time ahead, if as many come as did of late.
    Of that time is taken what those present have left, beyond what those of a steady state have.
    The first, exact if nobody else comes, is charged in any case. What the second is beyond it is
    charged in part where the plan's batch is small, and in full in a larger one, or where there is
    a deadline: there a delay costs less than those who are kept out. An option that takes more of
    the time until the deadline than a plan may is charged as if it were late: until it is done,
    nobody may be taken on who delays it.
    """

    def __init__(self, setting: Setting) -> None:
        tables, unit = setting.tables, setting.unit
        self._plans = AtPace(partial(Plan.of, tables), setting.calls)
        self._plan, self._recent = self._plans(1.0), Recent(tables.kinds, LONG * unit)
        self._period, self._ahead, self._next = RESOLVE * unit, AHEAD * unit, -np.inf
        self._batch, self.price = 1.0, 0.0

    def __call__(self, state: State) -> int:
        self.see(state)
        return super().__call__(state)

    def see(self, state: State) -> None:
        """Count a request, and set the price."""
        self._recent.add(state.now, state.kind)
        if len(self._recent) < FEWEST:
            self._batch, self.price = 1.0, 0.0
            return
        if state.now >= self._next:
            self._next = state.now + self._period
            self._plan = self._plans(state.backlog.pace)
            self._look(self._recent.rates(state.now, self._ahead))
        beyond = (state.backlog.left - self._usual) * self._iteration
        self._batch, self.price = self._plan.solve(self._cost, self._ahead - beyond)

    def _look(self, rates: FloatArray) -> None:
        """See what requests of each kind at these ``rates``, 1/s, come to in the time ahead."""
        plan, asking = self._plan, np.flatnonzero(rates)
        self._cost = self._ahead * plan.cost(rates)
        batch, price = plan.solve(self._cost, self._ahead)
        busy, seconds = taken_up(plan.calls, batch, np.arange(1 + plan.tables.most_steps))
        steps = (plan.own(asking, batch) + price * busy).argmin(axis=1)
        # those present in a steady state have half of their iterations left
        self._usual = float(rates[asking] @ (seconds[steps] * steps)) / 2
        taken = steps if steps.any() else np.full(len(steps), 1)  # where nobody comes, of a step
        self._iteration = float(rates[asking] @ busy[taken]) / float(rates[asking] @ taken)

    def charge(self, state: State) -> FloatArray:
        """The larger of both, as far as the second counts, and what too little time costs."""
        plan, tables, kind = self._plan, state.tables, state.kind
        steps = np.arange(len(state.options.seconds))
        busy, seconds = taken_up(plan.calls, self._batch, steps)
        due, full = tables.deadline[kind], min(FULL, plan.calls.cap)
        to_come = 1.0 if np.isfinite(due) or self._batch >= full else (self._batch - 1) / (full - 1)
        waited = state.now - state.arrival + tables.transfer[kind]
        short = short_of_time(due, seconds + waited)
        harm = state.options.harm
        charged = harm + to_come * np.maximum(self.price * busy - harm, 0.0)
        return np.append(0.0, (charged + tables.late * short)[1:])


class Dual(Priced):
    """Drift plus penalty: the price follows the busy seconds that were sold and are not over."""

    def __init__(self, setting: Setting) -> None:
        weight = float(np.mean(setting.tables.time_weight))
        self._rate, self._sold, self._last = weight / setting.unit, 0.0, -np.inf

    def _left(self, state: State) -> float:
        return max(0.0, self._sold - (state.now - self._last))

    def charge(self, state: State) -> FloatArray:
        """The busy seconds at the price."""
        return self._rate * self._left(state) * _shared(state)

    def __call__(self, state: State) -> int:
        steps = super().__call__(state)
        self._sold, self._last = self._left(state), state.now
        share = float(state.backlog.calls.least_share(steps)) if steps else 0.0
        self._sold += state.backlog.pace * share
        return steps
