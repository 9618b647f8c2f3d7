"""What each kind of request costs, apart from the time that the edge will take for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import BoolArray, FloatArray, IntArray, column
from solver.inputs import InputError
from solver.problem import Problem

#: What a missed deadline costs, where nothing else is said: as much as the whole range of eq. (7).
LATE = 1.0


@dataclass(frozen=True, eq=False)
class Tables:
    """The costs of the users of a ``problem``, each of whom stands for a kind of request.

    A request of kind k with s steps costs, by eq. (8), at the edge ``fixed[k, s]`` +
    ``time_weight[k]`` x seconds until it is done + ``energy_weight[k]`` x its share of the edge's
    busy seconds, and at the user ``local[k, s]`` + ``time_weight[k]`` x seconds before it began
    there. ``late`` comes on top where it is done after the ``deadline``, s, shape (kinds,).

    ``fixed`` and ``local`` have shape (kinds, 1 + steps), with +inf where an option is not allowed,
    as in column 0; ``local_time``, s, likewise. ``transfer``, shape (kinds,), is the seconds
    between a user and the edge, both ways together, in which the edge is free for others.
    """

    problem: Problem
    fixed: FloatArray
    local: FloatArray
    local_time: FloatArray
    time_weight: FloatArray
    energy_weight: FloatArray
    deadline: FloatArray
    transfer: FloatArray
    late: float

    @classmethod
    def of(cls, problem: Problem, late: float = LATE, transfer: ArrayLike = 0.0) -> "Tables":
        """The tables of a problem; its ``edge_budget`` plays no part.

        Raises InputError for a kind without any option, for a ``late`` or ``transfer`` below 0, and
        for what only ``problem/2`` can say.
        """
        # limits of some kinds alone are no more than infinite ones of the others
        if not replace(problem, deadline=None, max_error=None).is_version_1:
            raise InputError(
                f"{problem.where}: found {', '.join(problem.names)} as in problem/2; "
                "allowed for requests that arrive: what problem/1 can say"
            )
        anytime, kinds = replace(problem, deadline=None), problem.users
        w1, c1, c3 = (problem.weights[name] for name in ("cost", "time", "energy"))
        time_weight = np.broadcast_to(w1 * c1, kinds)
        energy_weight = np.broadcast_to(w1 * c3 * problem.place("edge").power, kinds)
        second = (time_weight + energy_weight)[:, None]
        fixed = anytime.cost("edge") - second * problem.time("edge")
        local, local_time = anytime.cost("local"), problem.time("local")
        served = np.isfinite(fixed).any(axis=1) | np.isfinite(local).any(axis=1)
        if not served.all():
            raise InputError(
                f"{problem.where}: max_error: user {int(served.argmin())}: no step count of any "
                "place is allowed"
            )
        deadline = np.inf if problem.deadline is None else problem.deadline
        return cls(
            problem=problem,
            fixed=_with_none(fixed),
            local=_with_none(local),
            local_time=_with_none(local_time),
            time_weight=time_weight,
            energy_weight=energy_weight,
            deadline=np.broadcast_to(np.asarray(deadline, float), kinds),
            transfer=np.broadcast_to(column("transfer", transfer, kinds), kinds),
            late=float(column("late", late)),
        )

    @property
    def kinds(self) -> int:
        """The number of kinds."""
        return len(self.fixed)

    @property
    def most_steps(self) -> int:
        """The largest step count of the edge."""
        return self.fixed.shape[1] - 1

    def at_home(self, kind: int, held: float = 0.0) -> tuple[int, float]:
        """The best local step count, and what it costs a request that was ``held`` for so many s.

        0 steps and +inf where the user cannot serve itself.
        """
        cost = self.local[kind] + self.time_weight[kind] * held
        cost = cost + self.late * (self.local_time[kind] + held > self.deadline[kind])
        steps = int(cost.argmin())
        return (steps, float(cost[steps])) if np.isfinite(cost[steps]) else (0, np.inf)

    def best_at_home(self) -> FloatArray:
        """What the best local option costs each kind, shape (kinds,)."""
        return np.array([self.at_home(kind)[1] for kind in range(self.kinds)])

    def cost(
        self,
        kind: ArrayLike,
        edge: ArrayLike,
        steps: ArrayLike,
        seconds: ArrayLike,
        shared: ArrayLike,
    ) -> FloatArray:
        """What finished requests cost; all arguments of shape (n,).

        ``edge``: whether the edge served it; ``seconds``: from its arrival until it was done;
        ``shared``: its share of the edge's busy seconds, 0 at home. An option that is not allowed,
        and a local one that took no longer than possible, costs +inf.
        """
        kinds, counts = np.asarray(kind), np.asarray(steps)
        at_edge, spent = np.asarray(edge, bool), np.asarray(seconds, float)
        cost = np.where(at_edge, _take(self.fixed, kinds, counts), _take(self.local, kinds, counts))
        home = np.where(at_edge, 0.0, _take(self.local_time, kinds, counts))
        with np.errstate(invalid="ignore"):
            held = spent - np.where(np.isfinite(home), home, 0.0)
        cost = cost + self.time_weight[kinds] * held + self.late * self.missed(kinds, spent)
        return np.where(
            at_edge,
            cost + self.energy_weight[kinds] * np.asarray(shared, float),
            np.where(held < -1e-9, np.inf, cost),
        )

    def missed(self, kind: IntArray, seconds: FloatArray) -> BoolArray:
        """Whether requests were done after their deadline."""
        return seconds > self.deadline[kind] * (1 + 1e-9)

    def quality(
        self, kind: Sequence[int] | IntArray, edge: BoolArray, steps: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Predicted error and utility of finished requests, each of shape (n,)."""
        values = []
        for curve in (self.problem.error, self.problem.utility):
            at = [_take(_with_none(curve(place)), np.asarray(kind), steps) for place in PLACES]
            values.append(np.where(edge, at[1], at[0]))
        return values[0], values[1]


PLACES = ("local", "edge")


def _with_none(table: FloatArray) -> FloatArray:
    """A table with a column of +inf for 0 steps before those of 1, 2, ..."""
    return np.column_stack([np.full(len(table), np.inf), table])


def _take(table: FloatArray, kinds: IntArray, steps: IntArray) -> FloatArray:
    """``table[kinds, steps]``, +inf beyond its columns."""
    inside = (steps >= 0) & (steps < table.shape[1])
    return np.where(inside, table[kinds, np.where(inside, steps, 0)], np.inf)
