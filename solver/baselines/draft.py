"""A choice in the making, one option a user, that keeps every limit."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from solver.allocation import Allocation
from solver.columnar import BoolArray, FloatArray, IntArray
from solver.exact.prices import priced
from solver.exact.several import check_limits
from solver.inputs import InputError
from solver.knapsack import Knapsack
from solver.limits import check_memory
from solver.options import Menu, Options
from solver.problem import Problem


@dataclass(eq=False)
class Batch:
    """The users of a place whose makespan depends on the longest of them.

    ``limit`` is the number of the makespan among the limits. ``steps``, shape (levels,), are the
    step counts that options take of it, ascending from 0, and ``level``, shape (options + 1,), is
    that of each option. ``room``, shape (levels,), is how many steps fit in all, by the longest;
    ``users``, of the same shape, counts the users.
    """

    limit: int
    steps: IntArray
    level: IntArray
    room: IntArray
    users: IntArray

    def fits(self, now: int) -> BoolArray:
        """The options that keep the makespan, of a user whose option is ``now``."""
        others = self.users.copy()
        others[self.level[now]] -= 1
        longest = int(np.flatnonzero(others).max(initial=0))
        taken = int(others @ self.steps)
        return self.steps[self.level] + taken <= self.room[np.maximum(self.level, longest)]


@dataclass(eq=False)
class Draft:
    """The options of a problem and the ``choice``, shape (users,), of one for each user.

    The last option, number ``nothing``, is that of a user that has none yet: it weighs nothing and
    costs inf. ``cost`` has shape (users, options + 1), ``weight`` (options + 1, limits), of all
    limits that the problem states, and ``left``, shape (limits,), is what the choice leaves of
    them. ``alone`` is each user's best option on its device, or nothing. ``demand``, shape
    (options + 1,), is the weight on all limits together, each in parts of its capacity, in units
    of the largest.
    """

    problem: Problem
    options: Options
    cost: FloatArray
    weight: IntArray
    capacity: IntArray
    batches: list[Batch]
    alone: IntArray
    choice: IntArray = field(init=False)
    left: IntArray = field(init=False)
    demand: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.choice, self.left = self.alone.copy(), self.capacity.copy()
        size = np.maximum(self.capacity, 1) / max(1, int(self.capacity.max()))
        self.demand = (self.weight / size).sum(axis=1)

    @classmethod
    def of(cls, problem: Problem, method: str) -> Self:
        """Everyone on its device; who can only be offloaded, where that takes least.

        Raises InputError if the problem is infeasible, and where no room was found for one of those
        that can only be offloaded.
        """
        refuse_infeasible(problem)
        options = Options.of(problem)
        check_memory(problem.where, problem.users * (len(options.place) + 1))
        cost = np.column_stack([options.cost(problem), np.full(problem.users, np.inf)])
        weight = np.array([[*limit.weight.tolist(), 0] for limit in options.limits]).T
        capacity = np.array(
            [
                min(limit.capacity, problem.users * int(most))
                for limit, most in zip(options.limits, weight.max(axis=0), strict=True)
            ]
        )
        local = np.where(np.append(options.place == 0, True), cost, np.inf)
        served = np.isfinite(local).any(axis=1)
        alone = np.where(served, local.argmin(axis=1), len(options.place))
        draft = cls(
            problem, options, cost, weight, capacity, _batches(problem, options, weight), alone
        )
        least = np.where(np.isfinite(cost), draft.demand, np.inf).min(axis=1)
        edge_only = np.flatnonzero(~served)
        for user in edge_only[np.argsort(-least[edge_only], kind="stable")]:
            fits = draft.fits(user)
            if not fits.any():
                raise InputError(
                    f"{problem.where}: {method}: found no room for user {user} beside the others "
                    "that can only be offloaded; allowed for such a problem: exact, milp"
                )
            share = (weight / np.maximum(draft.left, 1)).sum(axis=1)
            draft.take(user, int(np.where(fits, share, np.inf).argmin()))
        return draft

    @property
    def nothing(self) -> int:
        """The option of a user that has none yet."""
        return len(self.options.place)

    @property
    def offloads(self) -> BoolArray:
        """The options that are not the device's, shape (options + 1,)."""
        return np.append(self.options.place > 0, False)

    def fits(self, user: int) -> BoolArray:
        """The options that the user may take beside the choices of the others, (options + 1,)."""
        now = self.choice[user]
        kept = (self.weight <= self.left + self.weight[now]).all(axis=1)
        for batch in self.batches:
            kept &= batch.fits(now)
        return kept & np.isfinite(self.cost[user])

    def take(self, user: int, option: int) -> None:
        """Let the user take an option instead of its own."""
        now, self.choice[user] = self.choice[user], option
        self.left += self.weight[now] - self.weight[option]
        for batch in self.batches:
            batch.users[batch.level[now]] -= 1
            batch.users[batch.level[option]] += 1

    def room(self, at: IntArray) -> IntArray:
        """What users who take nothing but options of ``at`` have of each limit, shape (limits,)."""
        room = self.capacity.copy()
        for batch in self.batches:
            room[batch.limit] = batch.room[batch.level[at].max(initial=0)]
        return room

    def allocation(self, solver: str, choice: IntArray | None = None) -> Allocation:
        """The allocation of the choice, or another one, with the problem's prices."""
        own = self.choice if choice is None else choice
        return priced(self.problem, self.options.chosen(own), solver)


def _batches(problem: Problem, options: Options, weight: IntArray) -> list[Batch]:
    """The batches, all users without steps there."""
    names = [limit.name for limit in options.limits]
    batches = []
    for name, load in problem.loads.items():
        if load.makespan and load.makespan.per_longest_step:
            limit = names.index(f"{name}.makespan")
            steps, level = np.unique(weight[:, limit], return_inverse=True)  # nothing takes 0
            most = problem.users * int(steps[-1])
            room = np.array([load.makespan.capacity(each, most) for each in steps.tolist()])
            users = np.where(steps == 0, problem.users, 0)
            batches.append(Batch(limit, steps, level, room, users))
    return batches


def refuse_infeasible(problem: Problem) -> None:
    """Raise InputError for a user without an option, and for a limit that no choice keeps alone."""
    if problem.is_plain:
        Knapsack.of(problem)
    else:
        options = Options.of(problem)
        menu = Menu.of(options.weight)
        cost, _ = menu.cheapest(options.cost(problem))
        check_limits(problem, options, menu, cost)
