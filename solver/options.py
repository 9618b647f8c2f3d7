"""Every user's options as columns of one table: place, steps, and what they weigh on each limit.

Under all problems lies one representation: user n takes one option j, which costs R~_{n,j} and
weighs ``weight[j]``, a vector of whole numbers, the same for all users. The choices that cost least
within ``capacity`` are a multiple-choice knapsack problem with as many constraints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from solver.columnar import FloatArray, IntArray
from solver.inputs import InputError
from solver.problem import Problem
from solver.problem.usage import edges_of


class Choice(NamedTuple):
    """Each user's a_n, an index of the problem's ``names``, s_n, and its steps at an edge place."""

    offload: IntArray
    steps: IntArray
    edge_steps: IntArray


@dataclass(frozen=True, eq=False)
class Limit:
    """A limit that a problem states: the sum of ``weight``, shape (options,), over the users."""

    name: str
    capacity: int
    weight: IntArray


@dataclass(frozen=True, eq=False)
class Options:
    """The options of a problem; arrays of shape (options,) but for ``weight``.

    ``place`` is the index in the problem's ``names``, ``number`` the step count there, or the
    number of a split's option; ``steps`` are those of the image, and ``edge_steps`` of them are
    made at an edge place. ``limits`` are all that the problem states. Those that can bind and do
    not follow from another are ``weight``, shape (options, binding), and ``capacity``;
    ``unit[i]`` units of limit ``stated[i]`` are one of ``weight[:, i]``.
    """

    place: IntArray
    number: IntArray
    steps: IntArray
    edge_steps: IntArray
    limits: tuple[Limit, ...]
    weight: IntArray
    capacity: IntArray
    stated: tuple[int, ...]
    unit: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem) -> "Options":
        """The options of a problem; of a makespan only alpha sum(s) <= D counts, in steps."""
        columns = [problem.steps(name) for name in problem.names]
        place = np.repeat(np.arange(len(columns)), [len(numbers) for numbers in columns])
        number = np.concatenate(columns)
        steps, edge_steps = number.copy(), np.where(place > 0, number, 0)
        for index, split in enumerate(problem.splits.values(), start=len(problem.places)):
            steps[place == index] = split.steps
            edge_steps[place == index] = split.edge_steps
        limits = tuple(_limits(problem, place, edge_steps))
        kept = _independent(limits, problem.users)
        return cls(
            place,
            number,
            steps,
            edge_steps,
            limits,
            np.array([weight for _, weight, _, _ in kept], dtype=np.int64)
            .reshape(len(kept), len(place))
            .T,
            np.array([capacity for capacity, _, _, _ in kept], dtype=np.int64),
            tuple(index for _, _, index, _ in kept),
            tuple(unit for _, _, _, unit in kept),
        )

    def cost(self, problem: Problem) -> FloatArray:
        """R~ of eq. (8), shape (users, options), of a problem or a part of it; inf: not allowed."""
        return np.concatenate([problem.cost(name) for name in problem.names], axis=1)

    def edges(self, problem: Problem) -> NDArray[np.str_]:
        """The name of the edge place where an option's edge steps are made; local: none are."""
        return edges_of(problem)[self.place]

    def chosen(self, option: IntArray) -> Choice:
        """The choice of one option for each user, shape (users,)."""
        return Choice(self.place[option], self.steps[option], self.edge_steps[option])

    def prices(self, price: FloatArray) -> dict[str, float]:
        """What one more of each limit is worth, by name, from that of ``capacity``."""
        prices = dict.fromkeys((limit.name for limit in self.limits), 0.0)
        for index, unit, each in zip(self.stated, self.unit, price.tolist(), strict=True):
            prices[self.limits[index].name] = each / unit
        return prices

    def refuse(self, index: int, need: int, users: int, where: str) -> NoReturn:
        """Raise InputError for limit ``index`` of ``capacity``: the ``users`` that cannot do
        without it need at least ``need`` of its units.
        """
        limit = self.limits[self.stated[index]]
        raise InputError(
            f"{where}: {limit.name}: {limit.capacity} is too small: the {users} users that cannot "
            f"do without it need at least {need * self.unit[index]}"
        )

    def from_prices(self, prices: Mapping[str, float]) -> FloatArray:
        """What one more of ``capacity`` is worth, from :meth:`prices`."""
        names = [self.limits[index].name for index in self.stated]
        return np.array([unit * prices[name] for name, unit in zip(names, self.unit)])


@dataclass(frozen=True, eq=False)
class Menu:
    """Options of equal weight are one: the cheapest counts.

    ``weight``, shape (entries, limits), are the different weights in ascending order; ``entry``,
    shape (options,), is that of each option.
    """

    weight: IntArray
    entry: IntArray

    @classmethod
    def of(cls, weight: IntArray) -> "Menu":
        """The menu of options of ``weight``, shape (options, limits)."""
        distinct, entry = np.unique(weight, axis=0, return_inverse=True)
        return cls(distinct, entry.ravel())

    def cheapest(self, cost: FloatArray) -> tuple[FloatArray, IntArray]:
        """The least cost of each entry, and the first option that has it; both (users, entries)."""
        order = np.argsort(self.entry, kind="stable")
        first = np.searchsorted(self.entry[order], np.arange(len(self.weight)))
        option = np.broadcast_to(order[first], (len(cost), len(first))).copy()
        least = cost[:, order[first]]
        turn = np.arange(len(order)) - first[self.entry[order]]
        for number in range(1, int(turn.max(initial=0)) + 1):
            others = order[turn == number]  # of each entry that has so many options, the next
            entry = self.entry[others]
            better = cost[:, others] < least[:, entry]
            least[:, entry] = np.where(better, cost[:, others], least[:, entry])
            option[:, entry] = np.where(better, others, option[:, entry])
        return least, option


def _limits(problem: Problem, place: IntArray, edge_steps: IntArray) -> list[Limit]:
    """Budgets, slots and makespans that are linear in the choice, in the order of the places."""
    edge = edges_of(problem)[place]
    budgets = {name: np.zeros(len(place), dtype=np.int64) for name in problem.budgets}
    limits = []
    for name, load in problem.loads.items():
        here = edge == name
        budgets[load.budget][here] += load.step_weight * edge_steps[here]
        if load.slots is not None:
            limits.append(Limit(f"{name}.slots", load.slots, here.astype(np.int64)))
        if load.makespan is not None:
            on_edge = np.where(here, edge_steps, 0)
            most = problem.users * int(on_edge.max(initial=0))
            limits.append(Limit(f"{name}.makespan", load.makespan.capacity(0, most), on_edge))
    stated = [Limit(name, problem.budgets[name], weight) for name, weight in budgets.items()]
    return stated + limits


def _independent(limits: tuple[Limit, ...], users: int) -> list[tuple[int, IntArray, int, int]]:
    """(capacity, weight, limit, unit) of the limits that can bind, in their largest unit.

    Of limits with the same weights the tightest counts.
    """
    kept: dict[bytes, tuple[int, IntArray, int, int]] = {}
    for index, limit in enumerate(limits):
        unit = int(np.gcd.reduce(limit.weight, initial=0))
        if not unit or limit.capacity >= users * int(limit.weight.max(initial=0)):
            continue
        capacity = limit.capacity // unit
        weight, capacity = limit.weight // unit, limit.capacity // unit
        key = weight.tobytes()
        if key not in kept or capacity < kept[key][0]:
            kept[key] = capacity, weight, index, unit
    return list(kept.values())
