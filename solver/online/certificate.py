"""What a run came to, and the proof of its regret from its records alone: their maker is not
trusted.
"""

import math
from dataclasses import dataclass

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.inputs import InputError
from solver.online.bound import Bound, evaluate
from solver.online.calls import Calls
from solver.online.tables import Tables

#: From how many moments on work is counted, at most.
STARTS = 500
#: The types of numpy's that each array of an outcome may have, and the largest value.
_TYPES = {
    "kind": "iu",
    "arrival": "fiu",
    "edge": "b",
    "steps": "iu",
    "seconds": "fiu",
    "shared": "fiu",
}
_LARGEST = 1e15


@dataclass(frozen=True, eq=False)
class Outcome:
    """Finished requests, each array of shape (n,), in the order of their arrival.

    ``kind``; ``arrival``, s; ``edge``: whether the edge served it, else its own device; ``steps``;
    ``seconds`` from arrival until done; ``shared``: its share of the edge's busy seconds.
    """

    kind: IntArray
    arrival: FloatArray
    edge: BoolArray
    steps: IntArray
    seconds: FloatArray
    shared: FloatArray

    def cost(self, tables: Tables) -> FloatArray:
        """What each costs, shape (n,), by eq. (8) and ``late``."""
        return tables.cost(self.kind, self.edge, self.steps, self.seconds, self.shared)

    def missed(self, tables: Tables) -> BoolArray:
        """Whether each was done after its deadline, shape (n,)."""
        return tables.missed(self.kind, self.seconds)


@dataclass(frozen=True)
class Regret:
    """Of one run: its ``cost``, what ``all_local`` costs, and the proven ``bound`` of the optimum
    in hindsight.
    """

    cost: float
    all_local: float
    bound: float

    @property
    def regret(self) -> float:
        """How far, at most, the run is above the optimum; it is proven."""
        return self.cost - self.bound

    @property
    def gain(self) -> float:
        """What the run saves over serving all locally."""
        return self.all_local - self.cost

    @property
    def share(self) -> float:
        """The gain over the most that could be gained: at least this share of the optimum's."""
        most = self.all_local - self.bound
        return self.gain / most if most > 0 else 1.0


def certify(
    tables: Tables, calls: Calls, outcome: Outcome, bound: Bound, slack: float = 1e-6
) -> Regret:
    """The proven regret of an ``outcome`` at an engine that costs ``calls``.

    Everything is computed again from the records: the costs, and the bound from its prices. Raises
    InputError, one line, for a record of an option that is not allowed, or faster than an empty
    edge could be; for records that together are faster than the edge can work; and for a bound
    above what its prices prove. ``slack`` is relative: by how much calls may be shorter than
    ``calls`` says.
    """
    _check_arrays(outcome)
    cost, edge = outcome.cost(tables), outcome.edge
    if not np.isfinite(cost).all():
        index = int(np.isfinite(cost).argmin())
        _refuse(index, "steps", int(outcome.steps[index]), "what its kind allows, in its time")
    fastest = calls.scaled(1 - slack)
    least = fastest.alone(outcome.steps) + tables.transfer[outcome.kind]
    least = least - 4 * np.spacing(np.abs(outcome.arrival) + outcome.seconds)  # clocks are rounded
    too_fast = edge & (outcome.seconds < least)
    if too_fast.any():
        index = int(too_fast.argmax())
        _refuse(index, "seconds", outcome.seconds[index], f"at least {least[index]:.6g}")
    work = np.where(edge, fastest.least_share(outcome.steps), 0.0)
    too_little = edge & (outcome.shared < work)
    if too_little.any():
        index = int(too_little.argmax())
        _refuse(index, "shared", outcome.shared[index], f"at least {work[index]:.6g}")
    _check_rate(outcome, work)
    proven = evaluate(tables, calls, outcome.kind, outcome.arrival, bound.edges, bound.prices)
    if not bound.value <= proven + 1e-9 * max(1.0, abs(proven)):  # NaN proves nothing
        raise InputError(
            f"bound: value: found {bound.value}; allowed: at most {proven}, which its prices prove"
        )
    home = tables.best_at_home()[outcome.kind]
    return Regret(math.fsum(cost), math.fsum(home), min(bound.value, proven))


def _check_arrays(outcome: Outcome) -> None:
    """Raise InputError for an array of another shape or type, or of times beyond every clock."""
    count = np.shape(outcome.kind)
    for name, kinds in _TYPES.items():
        values = np.asarray(getattr(outcome, name))
        if values.shape != count or len(count) != 1 or values.dtype.kind not in kinds:
            raise InputError(
                f"records: {name}: found {values.dtype} of shape {values.shape}; allowed: a value "
                "a request, whole for kind and steps, true or false for edge"
            )
        if values.dtype.kind == "f" and (large := np.abs(values) > _LARGEST).any():
            at = int(large.argmax())
            _refuse(at, name, values[at], f"at most {_LARGEST:g}")


def _refuse(index: int, field: str, value: float, allowed: str) -> None:
    raise InputError(f"records[{index}]: {field}: found {value:.6g}; allowed: {allowed}")


def _check_rate(outcome: Outcome, work: FloatArray) -> None:
    """Work that came after a moment and was done before another fits between the two."""
    edge = np.flatnonzero(outcome.edge)
    if not len(edge):
        return
    order = edge[np.argsort((outcome.arrival + outcome.seconds)[edge], kind="stable")]
    arrival, finished = outcome.arrival[order], (outcome.arrival + outcome.seconds)[order]
    starts = np.unique(np.quantile(arrival, np.linspace(0, 1, STARTS), method="nearest"))
    for start in starts:
        done = np.cumsum(np.where(arrival >= start, work[order], 0.0))
        over = done > (finished - start) + 1e-9 * np.abs(finished) + 1e-9
        over &= arrival >= start
        if over.any():
            at = int(over.argmax())
            raise InputError(
                f"records[{int(order[at])}]: seconds: found work of {done[at]:.6g} s that came "
                f"after {start:.6g} s and was done by {finished[at]:.6g} s; allowed: what fits "
                "between them"
            )
