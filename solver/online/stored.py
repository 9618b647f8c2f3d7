"""A budget that is stored: steps or joules of the edge for a whole day, of which the unused stay.

Nobody waits: a request at the edge takes the time that it takes alone, and the question is only
who gets how much of the budget. Then P1 with all requests as users is the optimum in hindsight, and
weak duality at its price bounds it from below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError, check_keys
from solver.problem import Problem

UNITS = ("steps", "joules")


@dataclass(frozen=True, eq=False)
class Choices:
    """What the users of a problem, each a kind of request, may choose, shape (kinds, 1 + steps).

    ``cost`` of the best local option (column 0) and of each step count at the edge, +inf where it
    is not allowed, and the ``weight`` that it takes from the budget. Of each kind the corners of
    the lower convex envelope: ``saved`` per unit of weight from one to the next, falling, with
    ``step``, the weight between them; both of shape (corners,), all kinds together, and their
    ``kind`` and the option that is ``reached``.
    """

    cost: FloatArray
    weight: FloatArray
    saved: FloatArray
    step: FloatArray
    kind: IntArray
    reached: IntArray

    @classmethod
    def of(cls, problem: Problem, unit: str = "steps") -> "Choices":
        """Of a problem, with a budget in ``unit``; the problem's own ``edge_budget`` plays no part.

        Raises InputError for a kind without a local option: nobody could promise to serve it.
        """
        check_keys("unit", [unit], UNITS)
        edge, local = problem.cost("edge"), problem.cost("local").min(axis=1, initial=np.inf)
        if not np.isfinite(local).all():
            user = int(np.isfinite(local).argmin())
            raise InputError(
                f"{problem.where}: user {user}: found no local option; allowed: one, as a stored "
                "budget may be used up"
            )
        used = problem.energy("edge") if unit == "joules" else problem.steps("edge")
        cost = np.column_stack([local, edge])
        weight = np.column_stack([np.zeros(len(cost)), np.broadcast_to(used, edge.shape)])
        corners = [_envelope(kind, *pair) for kind, pair in enumerate(zip(cost, weight))]
        rows = np.array([corner for each in corners for corner in each], float).reshape(-1, 4)
        rows = rows[np.argsort(-rows[:, 0], kind="stable")]
        saved, step, kinds, reached = rows.T
        return cls(cost, weight, saved, step, kinds.astype(int), reached.astype(int))

    def chosen(self, kind: int, price: float, left: float) -> int:
        """The option that a request takes for itself at ``price``, within ``left``."""
        cost = np.where(self.weight[kind] <= left, self.cost[kind], np.inf)
        return int((cost + price * self.weight[kind]).argmin())

    def split(self, counts: FloatArray, budget: float) -> tuple[float, int, float]:
        """The price at which ``counts`` requests of each kind would just use up the budget, the
        corner at which it runs out, and the share of its requests that still reach it.
        """
        used = np.cumsum(counts[self.kind] * self.step)
        at = int(np.searchsorted(used, budget, side="right"))
        if at == len(used):
            return 0.0, at, 1.0
        wanted = counts[self.kind[at]] * self.step[at]
        return float(self.saved[at]), at, float(1 - (used[at] - budget) / wanted)


def _envelope(kind: int, cost: FloatArray, weight: FloatArray) -> list[tuple[float, ...]]:
    """The corners after the local option: saving per weight, weight, kind, option."""
    corners: list[tuple[float, ...]] = []
    at = 0
    while True:
        later = np.flatnonzero((weight > weight[at]) & (cost < cost[at]))
        if not len(later):
            return corners
        saved = (cost[at] - cost[later]) / (weight[later] - weight[at])
        best = int(later[np.flatnonzero(saved >= saved.max() * (1 - 1e-12))[-1]])
        step = weight[best] - weight[at]
        corners.append(((cost[at] - cost[best]) / step, step, kind, best))
        at = best


class Moment(NamedTuple):
    """A request of ``kind`` that comes when ``left`` of the ``budget`` is left, after ``seen``
    others, before ``coming`` others are expected.
    """

    kind: int
    left: float
    budget: float
    seen: int
    coming: float


Policy = Callable[[Choices, Moment], int]


class Resolve:
    """Solves the relaxation anew for every request: what is left, for the requests that are still
    expected, in the mixture seen so far.

    ``prior``: how many requests of each kind it has seen before, shape (kinds,). The weight of
    what was seen halves every ``memory`` requests.
    """

    def __init__(self, prior: ArrayLike, memory: float = np.inf) -> None:
        self._counts = np.array(prior, float)
        self._keep = 0.5 ** (1 / memory)

    def __call__(self, options: Choices, moment: Moment) -> int:
        kind = moment.kind
        self._counts *= self._keep
        self._counts[kind] += 1
        expected = self._counts / self._counts.sum() * moment.coming
        expected[kind] += 1
        price, at, share = options.split(expected, moment.left)
        choice = options.chosen(kind, price, moment.left)
        if at < len(options.kind) and options.kind[at] == kind:
            reached = int(options.reached[at])
            fits = options.weight[kind, reached] <= moment.left
            # at the price the corner and the one before it cost the same
            before = options.chosen(kind, price * (1 + 1e-9), moment.left)
            choice = reached if share >= 0.5 and fits else before
        return choice


class DualDescent:
    """Mirror descent on the price: up when more than the average was used, down when less."""

    def __init__(self, price: float, requests: float) -> None:
        self._price, self._requests = max(price, 1e-12), requests

    def __call__(self, options: Choices, moment: Moment) -> int:
        choice = options.chosen(moment.kind, self._price, moment.left)
        average = max(moment.budget / self._requests, 1e-12)
        used = options.weight[moment.kind, choice] / average - 1
        self._price *= float(np.exp(min(used / np.sqrt(self._requests), 10.0)))
        return choice


class FillThreshold:
    """The price follows from the share of the budget that is used: (U e / L)^z L / e, for savings
    per unit between L and U (Zhou, Chakrabarty, Lukose 2008). It needs no forecast.
    """

    def __call__(self, options: Choices, moment: Moment) -> int:
        used = 1 - moment.left / moment.budget if moment.budget else 1.0
        if not len(options.saved):  # nothing to pay for
            return options.chosen(moment.kind, 0.0, moment.left)
        low, high = options.saved.min(), options.saved.max()
        price = (high * np.e / low) ** used * low / np.e
        return options.chosen(moment.kind, float(price), moment.left)


class FixedPrice:
    """The same price for all: that of hindsight is the best, that of yesterday what one has."""

    def __init__(self, price: float) -> None:
        self._price = price

    def __call__(self, options: Choices, moment: Moment) -> int:
        return options.chosen(moment.kind, self._price, moment.left)


#: name -> what makes the policy, of the number of kinds and of requests, and yesterday's price
POLICIES: dict[str, Callable[[int, int, float], Policy]] = {
    "resolve": lambda kinds, requests, price: Resolve(np.ones(kinds), requests / 4),
    "dual": lambda kinds, requests, price: DualDescent(price, requests),
    "fill_threshold": lambda kinds, requests, price: FillThreshold(),
    "fixed_price": lambda kinds, requests, price: FixedPrice(price),
    "selfish": lambda kinds, requests, price: FixedPrice(0.0),
}


class StoredOutcome(NamedTuple):
    """What a policy chose, shape (n,), what it ``cost``, ``all_local``, and the proven ``bound`` of
    the optimum in hindsight with the ``price`` that proves it.
    """

    choices: IntArray
    cost: float
    all_local: float
    bound: float
    price: float

    @property
    def regret(self) -> float:
        """The proven regret, as a share of the most that could be gained."""
        most = self.all_local - self.bound
        return (self.cost - self.bound) / most if most > 0 else 0.0


def run(
    options: Choices,
    kind: IntArray,
    budget: float,
    policy: Policy,
    coming: FloatArray | None = None,
) -> StoredOutcome:
    """Let a ``policy`` decide on requests of ``kind``, shape (n,), one after the other.

    ``coming``, shape (n,): how many requests are expected after each, if not as many as do come.
    Raises InputError for a choice that is not allowed, or that the budget does not allow.
    """
    left, choices = float(budget), np.zeros(len(kind), np.int64)
    for index, each in enumerate(kind.tolist()):
        expected = len(kind) - 1 - index if coming is None else float(coming[index])
        choice = policy(options, Moment(each, left, float(budget), index, expected))
        choices[index] = choice
        left -= options.weight[each, choice]
    return certify(options, kind, choices, budget)


def certify(options: Choices, kind: IntArray, choices: IntArray, budget: float) -> StoredOutcome:
    """The cost and the proven regret of ``choices``, from themselves alone.

    Raises InputError for a choice that is not allowed, and for more than the budget.
    """
    cost = options.cost[kind, choices]
    if not np.isfinite(cost).all():
        index = int(np.isfinite(cost).argmin())
        raise InputError(
            f"records[{index}]: steps: found {choices[index]}; allowed: what its kind allows"
        )
    used = float(options.weight[kind, choices].sum())
    if used > budget * (1 + 1e-9):
        raise InputError(f"records: budget: found {used:g} used; allowed: {budget:g}")
    counts = np.bincount(kind, minlength=len(options.cost)).astype(float)
    price, _, _ = options.split(counts, budget)
    # weak duality: no choice of these requests costs less, at any price >= 0
    least = (options.cost + price * options.weight).min(axis=1)
    bound = float(counts @ least) - price * budget
    return StoredOutcome(
        choices, float(cost.sum()), float(counts @ options.cost[:, 0]), bound, price
    )
