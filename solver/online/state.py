"""What a policy sees of the moment in which a request waits for its decision."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solver.columnar import BoolArray, FloatArray
from solver.online.backlog import Backlog, Options
from solver.online.calls import Calls
from solver.online.tables import Tables


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a backlog told of a moment, in its place: its ``calls``, how many were ``present``, what
    one more comes to (``table``), the iterations ``left`` of those present, and the ``pace``.
    """

    calls: Calls
    present: int
    table: Options
    left: int = 0
    pace: float = 1.0

    def options(self, now: float, most_steps: int) -> Options:
        """What one more request comes to, by its steps."""
        return self.table


@dataclass(eq=False)
class State:
    """A request of ``kind`` that came at ``arrival`` s and is decided on at ``now`` s.

    Arrays have shape (1 + steps,): entry 0 stands for serving it locally, with its best step count,
    and entry s for s steps at the edge. What is predicted assumes that nobody else comes.
    """

    tables: Tables
    backlog: Backlog | Snapshot
    kind: int
    arrival: float
    now: float

    @cached_property
    def options(self) -> Options:
        """What the request would come to at the edge."""
        return self.backlog.options(self.now, self.tables.most_steps)

    @cached_property
    def home(self) -> tuple[int, float]:
        """Its best local step count, and what that costs: 0 and +inf where there is none."""
        return self.tables.at_home(self.kind, self.now - self.arrival)

    @cached_property
    def seconds(self) -> FloatArray:
        """Seconds from arrival until it is done."""
        seconds = self.now - self.arrival + self.tables.transfer[self.kind] + self.options.seconds
        steps = self.home[0]
        seconds[0] = self.now - self.arrival + self.tables.local_time[self.kind, steps]
        return seconds

    @cached_property
    def allowed(self) -> BoolArray:
        """Which options break no deadline, of its own or of those present, and no error limit.

        At least one is: where no option keeps them, its local one, and if it has none, those with
        the fewest steps.
        """
        tables, kind, steps = self.tables, self.kind, self.home[0]
        possible = np.isfinite(tables.fixed[kind])
        possible[0] = steps > 0
        late = self.seconds > tables.deadline[kind] * (1 + 1e-9)
        allowed = possible & self.options.kept & ~late
        if allowed.any():
            return allowed
        if not steps:
            possible[int(possible.argmax()) + 1 :] = False
        else:
            possible[1:] = False
        return possible

    @cached_property
    def own(self) -> FloatArray:
        """What it pays itself: its cost, with its share of the edge's energy."""
        tables, kind = self.tables, self.kind
        late = tables.late * (self.seconds > tables.deadline[kind] * (1 + 1e-9))
        with np.errstate(invalid="ignore"):  # no time at home, at weight 0
            cost = tables.fixed[kind] + tables.time_weight[kind] * self.seconds + late
        cost += tables.energy_weight[kind] * self.options.shared
        cost[0] = self.home[1]
        return np.where(self.allowed, cost, np.inf)

    @cached_property
    def others(self) -> FloatArray:
        """What those present pay for it: the energy that it adds beyond its share, and their delay.

        Exact if nobody else comes.
        """
        options = self.options
        energy = self.tables.energy_weight[self.kind] * (options.added - options.shared)
        return np.append(0.0, (energy + options.harm)[1:])

    @property
    def social(self) -> FloatArray:
        """What all pay for it."""
        return self.own + self.others


Policy = Callable[[State], int]


@dataclass(frozen=True, eq=False)
class Setting:
    """What a policy knows from the start: the ``tables``, the ``calls``, and what it is told: the
    ``price`` of a busy second that it may take for granted, and the ``window`` in which it may hold
    requests, s (None: it has a default).
    """

    tables: Tables
    calls: Calls
    price: float = 0.0
    window: float | None = None

    @cached_property
    def unit(self) -> float:
        """Mean seconds of the kinds' best local options: what a policy's periods follow."""
        counts = [self.tables.at_home(kind)[0] for kind in range(self.tables.kinds)]
        times = [self.tables.local_time[kind, steps] for kind, steps in enumerate(counts) if steps]
        return float(np.mean(times)) if times else float(self.calls.alone(8))


def cheapest(state: State, cost: FloatArray) -> int:
    """The cheapest of what is allowed; the fewest steps of equal ones."""
    cost = np.where(state.allowed, cost, np.inf)
    return int(cost.argmin()) if np.isfinite(cost).any() else int(state.allowed.argmax())
