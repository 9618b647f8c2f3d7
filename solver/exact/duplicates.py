"""UEs that are alike in everything: found once, solved once."""

from dataclasses import dataclass

import numpy as np

from solver.problem import Problem


@dataclass(frozen=True, eq=False)
class Kinds:
    """``problem`` has one UE of each kind; ``count``, shape (kinds,), says how many there are of
    it; ``order``, shape (users,), lists the UEs: first all of kind 0, then all of kind 1, ...
    """

    problem: Problem
    count: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, problem):
        alone = cls(problem, np.ones(problem.users, dtype=np.int64), np.arange(problem.users))
        columns = _columns(problem)
        if not columns:
            return cls(problem.part(slice(0, 1)), np.array([problem.users]), alone.order)
        few = slice(
            None, None, -(-problem.users // 1024)
        )  # enough to see whether looking for kinds pays
        if 2 * len(np.unique(hashes([column[few] for column in columns]))) > len(alone.order[few]):
            return alone
        _, first, kind, count = np.unique(
            hashes(columns), return_index=True, return_inverse=True, return_counts=True
        )
        if not all(
            np.array_equal(column[first][kind], column, equal_nan=True) for column in columns
        ):
            return alone  # two kinds have the same hash
        return cls(problem.part(first), count, np.argsort(kind, kind="stable"))

    def of_users(self, values):
        """``values``, shape (kinds,), for each UE."""
        return self.to_users(np.repeat(values, self.count))

    def to_users(self, values):
        """``values``, shape (users,), from the order of ``order`` to that of the problem."""
        users = np.empty_like(values)
        users[self.order] = values
        return users


def hashes(columns):
    """A 64-bit hash of each row; ``columns`` are float arrays of shape (rows,) or (rows, any)."""
    value = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        for bits in (
            np.ascontiguousarray(column, dtype=np.float64).view(np.uint64).reshape(len(value), -1).T
        ):
            value = (value ^ bits) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
    return value


def _columns(problem):
    """Every array that has a row for each UE."""
    found = []
    for place in (problem.local, problem.edge):
        found += [*place.error.own().values(), *place.utility.own().values()]
        found += [
            value for value in vars(place).values() if isinstance(value, np.ndarray) and value.ndim
        ]
    limits = [*problem.weights.values(), problem.deadline, problem.max_error]
    return found + [value for value in limits if value is not None and value.ndim]
