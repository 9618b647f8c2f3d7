"""Identical users: grouped once, solved once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from solver.columnar import IntArray
from solver.problem import Problem

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class DistinctUsers:
    """A problem whose identical users stand for each other.

    ``problem`` has one user of each set of identical users; ``count``, shape (distinct users,), is
    the size of the set; ``order``, shape (users,), lists all users, set after set.
    """

    problem: Problem
    count: IntArray
    order: IntArray

    @classmethod
    def of(cls, problem: Problem) -> "DistinctUsers":
        """Group identical users, unless a sample says that most users differ."""
        alone = cls(problem, np.ones(problem.users, dtype=np.int64), np.arange(problem.users))
        columns = problem.per_user()
        if not columns:
            return cls(problem.part(slice(0, 1)), np.array([problem.users]), alone.order)
        sample = slice(None, None, -(-problem.users // 1024))
        size = len(alone.order[sample])
        for column in columns:
            if column.ndim == 1:
                ordered = np.sort(column[sample])
                if 2 * np.count_nonzero(ordered[1:] != ordered[:-1]) >= size - 1:
                    return alone  # the quick case: they differ in one number
        distinct = np.unique(hashes([column[sample] for column in columns]))
        if 2 * len(distinct) > size:
            return alone
        _, first, index, count = np.unique(
            hashes(columns), return_index=True, return_inverse=True, return_counts=True
        )
        if not all(
            np.array_equal(column[first][index], column, equal_nan=True) for column in columns
        ):
            return alone  # two different users have the same hash
        return cls(problem.part(first), count, np.argsort(index, kind="stable"))

    def repeated(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """``values``, shape (distinct users,), for every user of the problem; shape (users,)."""
        if len(self.count) == len(self.order):
            return values
        return self.in_problem_order(np.repeat(values, self.count))

    def in_problem_order(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """``values``, shape (users,), from ``order`` to the order of the problem."""
        if len(self.count) == len(self.order):
            return values
        users = np.empty_like(values)
        users[self.order] = values
        return users


def hashes(columns: Sequence[NDArray[np.generic]]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row of arrays of shape (rows,) or (rows, any)."""
    value = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        words = np.ascontiguousarray(column, dtype=np.float64).view(np.uint64)
        for bits in words.reshape(len(value), -1).T:
            value = (value ^ bits) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
    return value
