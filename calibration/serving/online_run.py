"""What policies came to on streams of requests; the file format ``online/1``."""

from typing import ClassVar

import numpy as np

from calibration.schema import Schema, frozen, limits
from calibration.serving.online import Served
from solver.inputs import InputError
from solver.online import Regret, Tables

#: Seconds, and costs of a missed deadline: what is beyond loses the others' digits.
LEAST, MOST = 1e-6, 1e9


@frozen
class Asked(Schema):
    """What was asked for: ``policies`` by name, ``loads`` in units of the edge's capacity, the
    process or file of the ``arrivals``, how many ``requests`` each, and their ``seed``.

    ``executed``: images were really made, in real time; else it is a simulation. ``window``, s, in
    which a policy may hold requests, and ``deadline``, s, for every request (None: as the scenario
    says); ``late``: what a missed deadline costs; ``url``: of the server that is the edge, if one
    is.
    """

    policies: tuple[str, ...] = limits(empty=False)
    loads: tuple[float, ...] = limits(above=0, empty=False)
    arrivals: str
    requests: int = limits(least=1)
    seed: int = limits(least=0)
    executed: bool
    window: float | None = limits(above=0, default=None)
    deadline: float | None = limits(above=0, default=None)
    late: float = limits(least=0, default=1.0)
    url: str | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        for name in ("window", "deadline", "late"):
            value = getattr(self, name) or 1.0
            if not LEAST <= value <= MOST:
                raise InputError(f"{name}: found {value:g}; allowed: {LEAST:g} to {MOST:g}")


@frozen
class Interval(Schema):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


@frozen
class Executed(Schema):
    """What was measured of an execution beyond its times.

    ``error`` and ``utility`` of the images that were served, on the profiles' scales, with 95 %
    intervals, without those of ``unscored`` requests, as an image that they need could not be made;
    ``speed`` and ``fastest``: the median and the least of measured over expected seconds
    of an iteration, None where nobody was at the edge;
    ``simulated_time``, mean s, and ``simulated_cost`` of the same requests in the simulation of an
    edge of that speed; ``late_median``, ``late_p99``: how late the load generator was, s.
    """

    error: Interval
    utility: Interval
    simulated_time: float
    simulated_cost: float
    speed: float | None = limits(above=0)
    fastest: float | None = limits(above=0)
    late_median: float
    late_p99: float
    unscored: int = limits(least=0, default=0)


@frozen
class PolicyRun(Schema):
    """One policy on one stream. ``rate``: requests a second.

    ``offloaded``: the share at the edge, with ``steps`` steps there in the mean (None: nobody);
    ``time`` (mean) and ``time_p95`` in s, from arrival until done; ``energy`` in J, ``error`` and
    ``utility`` as the curves predict them, means; ``met``: the share done by its deadline (1 where
    there are none); ``cost``, ``all_local`` and the proven ``bound`` of the optimum in hindsight,
    sums of eq. (8); ``gain``: all_local - cost as a share of all_local - bound, the most possible.

    Of the edge's requests: the median relative ``quote_error`` of the completion times quoted at
    admission, and the ``coverage`` of their 95 % intervals. ``decision_p99``: CPU s of a decision.
    """

    policy: str
    load: float
    rate: float
    requests: int
    offloaded: float
    steps: float | None
    time: float
    time_p95: float
    energy: float
    error: float
    utility: float
    met: float
    cost: float
    all_local: float
    bound: float
    gain: float
    quote_error: float | None
    coverage: float | None
    decision_p99: float
    executed: Executed | None = limits(omit_none=True, default=None)

    @property
    def regret(self) -> float:
        """How far, at most, the cost is above the optimum in hindsight; it is proven."""
        return self.cost - self.bound


@frozen
class OnlineRun(Schema):
    """The ``runs`` of what was ``asked``, by load and policy; ``capacity`` in requests a second is
    that of a full edge where everyone takes what is best without others.
    """

    SCHEMA: ClassVar[str] = "online/1"

    asked: Asked
    capacity: float
    kinds: tuple[str, ...]
    runs: tuple[PolicyRun, ...]


@frozen
class StoredRow(Schema):
    """A policy on a stored ``budget`` (in ``unit``): what its ``requests`` used of it and cost.

    ``offloaded``: the share at the edge; ``bound``: of the optimum in hindsight, proven;
    ``regret``: cost - bound as a share of all_local - bound.
    """

    policy: str
    unit: str
    requests: int
    budget: float
    used: float
    offloaded: float
    cost: float
    all_local: float
    bound: float
    regret: float


@frozen
class StoredRun(Schema):
    """Policies on the same requests and the same stored budget; the file format ``stored/1``."""

    SCHEMA: ClassVar[str] = "stored/1"

    runs: tuple[StoredRow, ...]


def summary(
    policy: str,
    load: float,
    rate: float,
    tables: Tables,
    served: Served,
    proof: Regret,
    executed: Executed | None = None,
) -> PolicyRun:
    """What a ``served`` stream came to."""
    outcome, edge = served.outcome, served.outcome.edge
    error, utility = tables.quality(outcome.kind, edge, outcome.steps)
    told, spent = served.quotes[edge], outcome.seconds[edge]
    inside = (told[:, 1] <= spent * (1 + 1e-9)) & (spent <= told[:, 2] * (1 + 1e-9))
    return PolicyRun(
        policy=policy,
        load=load,
        rate=rate,
        requests=len(edge),
        offloaded=float(edge.mean()),
        steps=float(outcome.steps[edge].mean()) if edge.any() else None,
        time=float(outcome.seconds.mean()),
        time_p95=float(np.quantile(outcome.seconds, 0.95)),
        energy=float(_joules(tables, served).mean()),
        error=float(error.mean()),
        utility=float(utility.mean()),
        met=float(1 - outcome.missed(tables).mean()),
        cost=proof.cost,
        all_local=proof.all_local,
        bound=proof.bound,
        gain=proof.share,
        quote_error=float(np.median(np.abs(told[:, 0] / spent - 1))) if edge.any() else None,
        coverage=float(inside.mean()) if edge.any() else None,
        decision_p99=float(np.quantile(served.deciding, 0.99)),
        executed=executed,
    )


def _joules(tables: Tables, served: Served) -> np.ndarray:
    """Each request's joules: those of its device, or its share of the edge's."""
    outcome, problem = served.outcome, tables.problem
    watts = np.broadcast_to(problem.place("edge").power, tables.kinds)
    local = problem.energy("local")
    steps = np.clip(outcome.steps, 1, max(1, local.shape[1]))
    home = local[outcome.kind, steps - 1] if local.shape[1] else np.zeros(len(steps))
    return np.where(outcome.edge, watts[outcome.kind] * outcome.shared, home)
