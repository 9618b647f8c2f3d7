"""Policies that decide on arrival, by a price of the edge's busy seconds."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from solver.columnar import FloatArray
from solver.online.prices import Market
from solver.online.state import Setting, State, cheapest

#: Seconds between two solutions, and for how many each looks back, in units of a local request.
RESOLVE, LOOK_BACK = 1.0, 6.0
#: Requests that must have been seen before a price is set.
FEWEST = 6
#: From which demand on, over what the edge can do, what is to come counts, and where in full.
SCARCE = (0.8, 1.5)
#: The share of requests that deadlines may keep from the edge before its price rises, how fast its
#: logarithm then does in the time of a local request, and by what factor at most.
KEPT_OUT, RISE, HIGHEST = 0.05, 0.25, 16.0


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

    def seconds(self, now: float) -> float:
        """Seconds in which those were counted."""
        return max(min(self.span, now - (now if self._begun is None else self._begun)), 1e-9)


class WindowPrice(FixedPrice):
    """The price at which the requests of a moment ago would just fit the edge, solved anew each
    period.
    """

    def __init__(self, setting: Setting) -> None:
        self.price, self.scarcity = 0.0, 0.0
        self._market = Market.of(setting.tables, setting.calls)
        self._recent = Recent(setting.tables.kinds, LOOK_BACK * setting.unit)
        self._period, self._next = RESOLVE * setting.unit, -np.inf

    def __call__(self, state: State) -> int:
        self.see(state)
        return super().__call__(state)

    def see(self, state: State) -> None:
        """Count a request, and solve for the price when it is time to."""
        self._recent.add(state.now, state.kind)
        if len(self._recent) < FEWEST:  # so few fit
            self.price, self.scarcity = 0.0, 0.0
            return
        if state.now < self._next:
            return
        self._next = state.now + self._period
        market, counts = self._market, self._recent.counts
        seconds = self._recent.seconds(state.now)
        self.price = market.price(counts, seconds)
        low, high = SCARCE
        demand = float(counts @ market.busy[:, 0]) / seconds
        self.scarcity = min(max((demand - low) / (high - low), 0.0), 1.0)


class ExternalityPrice(WindowPrice):
    """What one more step costs the others, those present and those to come.

    Those present: their delay, read off the measured seconds of a batch. While all that is asked
    for fits the edge, that is all. Where it does not, others take the place of those that leave,
    and slower iterations mean that more are present: an iteration that is d s longer then delays,
    in a batch of b that takes g(b), as if by d g(b) / (g(b) - b g'(b)). And what is taken up here
    is missing there, at the price of :class:`WindowPrice`, of which one half is charged. The mean
    of the two estimates counts: the first knows this moment, the second which kinds ask.

    Neither knows deadlines: whoever leaves itself no time to spare keeps others out, as nobody may
    be taken on who makes it late. So all is charged ``factor`` times, which rises from 1 while
    more than a few are kept out, and falls again.
    """

    factor, _last = 1.0, np.inf

    def see(self, state: State) -> None:
        """Count a request, and whether it is kept out."""
        super().see(state)
        passed = np.clip((state.now - self._last) / self._period, 0.0, 1.0)
        factor = self.factor * np.exp(RISE * passed * (state.kept_out - KEPT_OUT))
        self.factor, self._last = float(np.clip(factor, 1.0, HIGHEST)), state.now

    def charge(self, state: State) -> FloatArray:
        """The mean of both estimates as far as the edge is scarce, times the factor."""
        options, backlog = state.options, state.backlog
        harm = np.append(0.0, options.harm[1:])
        if not self.scarcity:
            return self.factor * harm
        batch = min(backlog.present + 1, backlog.calls.cap)
        tick = backlog.calls.tick
        slope = (tick[-1] - tick[1]) / max(backlog.calls.cap - 1, 1)
        longer = tick[batch] / max(tick[batch] - batch * slope, 1e-3 * tick[batch])
        replaced = (harm + np.append(0.0, options.added[1:]) * backlog.weight()) / 2
        to_come = (replaced * longer + self.price * _shared(state) / 2) / 2
        return self.factor * ((1 - self.scarcity) * harm + self.scarcity * to_come)


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
        self._sold += float(state.backlog.calls.least_share(steps)) if steps else 0.0
        return steps
