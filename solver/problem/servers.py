"""Edges that are alike: one place with the sum of their budgets, and its users packed into them.

Places that cost every user the same and draw on nothing but a budget of their own are servers of
one place. A choice for that place is one for the servers if its users fit into their budgets, which
is bin packing; and no choice for the servers is better than the best for that place.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.columnar import IntArray
from solver.problem.load import Load
from solver.problem.place import COLUMNS, Place
from solver.problem.problem import Problem

#: Steps whose subset sums are looked at.
MOST_BITS = 100_000
#: Orders of the sizes that are tried.
MOST_TRIES = 20


@dataclass(frozen=True, eq=False)
class Servers:
    """A ``problem`` and the same with one place for edges that are alike, ``merged``.

    ``groups`` are the servers by the name of their place, which is that of the first.
    """

    problem: Problem
    merged: Problem
    groups: dict[str, list[str]]

    @classmethod
    def of(cls, problem: Problem) -> Self | None:
        """The servers of a problem; None where no two edges are alike."""
        if len(problem.loads) < 2:
            return None
        groups: dict[str, list[str]] = {}
        for name in problem.loads:
            if not _stands_alone(problem, name):
                continue
            for first, members in groups.items():
                if problem.loads[first].step_weight == problem.loads[name].step_weight and _alike(
                    problem.places[first], problem.places[name]
                ):
                    members.append(name)
                    break
            else:
                groups[name] = [name]
        groups = {first: members for first, members in groups.items() if len(members) > 1}
        if not groups:
            return None
        budgets, places, loads = dict(problem.budgets), dict(problem.places), dict(problem.loads)
        for first, members in groups.items():
            weight = loads[first].step_weight
            budgets[first] = weight * sum(budgets[name] // weight for name in members)
            for name in members[1:]:
                del budgets[name], places[name], loads[name]
        merged = replace(problem, budgets=budgets, places=places, loads=loads)
        return cls(problem, merged, groups)

    def joined(self, offload: IntArray) -> IntArray:
        """The indices of the merged problem's names, from those of the problem's."""
        place = {name: first for first, members in self.groups.items() for name in members}
        names = self.merged.names
        index = [names.index(place.get(name, name)) for name in self.problem.names]
        return np.array(index)[offload]

    def spread(self, offload: IntArray, steps: IntArray) -> IntArray | None:
        """The reverse: each user's server, so that all budgets hold; None if none was found.

        ``steps`` are those of each user; both have shape (users,).
        """
        names = self.problem.names
        spread = np.array([names.index(name) for name in self.merged.names])[offload]
        for first, members in self.groups.items():
            here = np.flatnonzero(offload == self.merged.names.index(first))
            weight = self.problem.loads[first].step_weight
            room = [self.problem.budgets[name] // weight for name in members]
            packed = _packed(steps[here], room)
            if packed is None:
                return None
            spread[here] = np.array([names.index(name) for name in members])[packed]
        return spread


def _stands_alone(problem: Problem, name: str) -> bool:
    """Whether an edge has its own budget and no other limit, and nothing else draws on it."""
    load = problem.loads[name]
    return (
        load == Load(name, load.step_weight)
        and sum(other.budget == name for other in problem.loads.values()) == 1
        and all(split.edge != name for split in problem.splits.values())
    )


def _alike(place: Place, other: Place) -> bool:
    """Whether two places cost every user the same."""
    return all(
        np.array_equal(getattr(place, name), getattr(other, name)) for name in COLUMNS
    ) and all(
        mine.family == theirs.family
        and all(
            np.array_equal(value, theirs.parameters[name], equal_nan=True)
            for name, value in mine.parameters.items()
        )
        for mine, theirs in ((place.error, other.error), (place.utility, other.utility))
    )


def _packed(sizes: IntArray, rooms: list[int]) -> IntArray | None:
    """The bin of each of ``sizes``, so that all ``rooms`` hold; None if none was found.

    Bins are filled one after the other, at first with the largest sizes, as the small ones are what
    fills the later bins; then in drawn orders.
    """
    rng, distinct = np.random.default_rng(0), np.unique(sizes)[::-1]
    for _ in range(MOST_TRIES):
        bins, left = np.empty(len(sizes), dtype=np.int64), np.arange(len(sizes))
        *others, last = np.argsort(rooms, kind="stable").tolist()
        for index in others:
            taken = _filled(sizes[left], rooms[index], distinct)
            bins[left[taken]], left = index, np.delete(left, taken)
        if sizes[left].sum() <= rooms[last]:
            bins[left] = last
            return bins
        distinct = rng.permutation(distinct)
    return None


def _filled(sizes: IntArray, room: int, distinct: IntArray) -> IntArray:
    """Which of the ``sizes`` together fill ``room`` best: subset sums, as the bits of integers.

    Of equally good sets one with many of the ``distinct`` sizes that come first.
    """
    members = [np.flatnonzero(sizes == size) for size in distinct]
    counts, total = np.array([len(own) for own in members], dtype=np.int64), int(sizes.sum())
    # of many users the same share of each size goes in beforehand
    taken = counts * max(min(room, total) - MOST_BITS, 0) // max(total, 1)
    left = min(room, total) - int(taken @ distinct)
    pieces: list[tuple[int, int]] = []  # (index of the size, how many of it)
    for index, count in enumerate((counts - taken).tolist()):
        many = 1
        while count:
            pieces.append((index, min(many, count)))
            count -= pieces[-1][1]
            many *= 2
    within, reach = (1 << (left + 1)) - 1, [1]
    for index, many in pieces:
        reach.append((reach[-1] | reach[-1] << (many * int(distinct[index]))) & within)
    best = reach[-1].bit_length() - 1
    for (index, many), before in zip(reversed(pieces), reversed(reach[:-1]), strict=True):
        if not before >> best & 1:
            taken[index] += many
            best -= many * int(distinct[index])
    chosen = [own[:many] for own, many in zip(members, taken.tolist(), strict=True)]
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
