"""The cheapest step counts of users whose curves are parametric families, without a table.

Every family is convex in the steps s, so a user takes steps as long as the next one saves more
error and utility than it costs. What it saves is a sum of log-convex terms: the logarithm of saving
over cost is convex and decreasing, and Newton's method, started below the root, never passes it.
Rounded up to whole steps, it ends at the first step that does not pay. It begins in single
precision, which is faster, as only the last steps have to be exact.

A table's minimum is of rounded costs. A choice is *sure* where both its neighbours cost more by
more than rounding; by convexity it is then the table's too. The others are left to the table.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.problem import Curve, Problem
from solver.problem.curves import Rows
from solver.problem.load import TOLERANCE, is_met
from solver.problem.place import part

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one cost, relative to the sizes of its terms: a few operations, each half an EPS off.
ROUNDING = 32 * EPS
#: A step costs no less: the logarithm of what it saves over what it costs is then finite.
SMALLEST = 1e-290
#: Prices that are tried.
MOST_TURNS = 8


def is_convex(problem: Problem) -> bool:
    """Whether the problem is plain, and all its curves are parametric families."""
    curves = [curve for place in problem.places.values() for curve in (place.error, place.utility)]
    return problem.is_plain and all(curve.family != "table" for curve in curves)


class Term(NamedTuple):
    """A cost that falls with the steps: ``size`` e^(fall s), or with ``power`` ``size`` s^fall.

    ``fall`` < 0; ``ahead`` and ``behind`` are the shares of a cost that falls exponentially by
    which the next step lowers it, and by which the last did. Arrays of shape () or (users,).
    """

    size: FloatArray
    fall: FloatArray
    ahead: FloatArray
    behind: FloatArray
    power: bool

    @classmethod
    def of(cls, curve: Curve, weight: FloatArray) -> "Term":
        """That of an error, or of what a utility lacks, times ``weight``."""
        known = curve.parameters
        (rate,) = (known[name] for name in ("decay", "exponent", "rate") if name in known)
        size, left = weight * known.get("scale", np.ones(())), np.exp(-rate)
        return cls(size, -rate, 1 - left, (1 - left) / left, curve.family == "power_floor")

    def mapped(self, change: Callable[[FloatArray], FloatArray]) -> "Term":
        """That of columns to which ``change`` was applied."""
        size, fall, ahead, behind = (change(column) for column in self[:4])
        return Term(size, fall, ahead, behind, self.power)

    def at(self, steps: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The cost, what one step more saves of it, and the slope of the logarithm of that."""
        if not self.power:
            cost = self.size * np.exp(self.fall * steps)
            return cost, cost * self.ahead, self.fall
        cost = self.size * steps**self.fall
        ratio = np.log1p(1 / steps)
        lost = np.expm1(self.fall * ratio)
        return cost, -cost * lost, self.fall / steps * (np.expm1((self.fall - 1) * ratio) / lost)

    def saved(self, cost: FloatArray, steps: FloatArray) -> FloatArray:
        """What the last of ``steps`` saved of what is now ``cost``."""
        if not self.power:
            return cost * self.behind
        return cost * np.expm1(self.fall * np.log1p(-1 / steps))

    def root(self, each: FloatArray) -> FloatArray:
        """Steps from which on one more saves at most ``each``, or fewer."""
        if not self.power:
            return np.log(each / (self.size * self.ahead)) / self.fall
        # the derivative at s + 1 is the least that step s + 1 saves
        return (each / (-self.size * self.fall)) ** (1 / (self.fall - 1)) - 1


class State(NamedTuple):
    """Users who take ``at`` steps: what is left of both curves' costs, what one step more saves of
    them, and the slope of its logarithm; arrays of shape (users,).
    """

    at: FloatArray
    error: FloatArray
    utility: FloatArray
    saving: FloatArray
    fall: FloatArray


@dataclass(eq=False)
class ConvexPlace:
    """One place for all users; arrays of shape (users,).

    s steps cost ``image`` + ``step`` s and what ``error`` and ``utility`` leave; ``least`` to
    ``most`` are allowed. ``size`` is that of the terms of the largest cost, and ``sure`` says for
    whom all this is certain. ``start`` are steps to begin a search at, if any are known.
    """

    image: FloatArray
    step: FloatArray
    error: Term
    utility: Term
    least: FloatArray
    most: FloatArray
    size: FloatArray
    sure: BoolArray
    start: FloatArray | None = None

    @classmethod
    def of(cls, problem: Problem, name: str) -> "ConvexPlace":
        """The place of that name."""
        here, users = problem.place(name), problem.users
        w1, w2, c2 = (problem.weights[name] for name in ("cost", "utility", "error"))
        with np.errstate(all="ignore"):  # what is not finite is not sure
            step, image = problem.time_costs(name)
            *interval, sure = _interval(problem, name)
            least, most = (full(end, users) for end in interval)
            error, utility = Term.of(here.error, w1 * c2), Term.of(here.utility, w2)
            image = image + w1 * c2 * here.error.parameters.get("floor", 0.0)
            size = full(image + step * most + error.size + w2, users)
            image, step = full(image - w2, users), full(step, users)
            sure = sure & (size < 1e300 / users)
        return cls(image, step, error, utility, least, most, size, sure)

    def mapped(self, change: Callable[[FloatArray], FloatArray], sure: BoolArray) -> "ConvexPlace":
        """The place of columns to which ``change`` was applied."""
        columns = (self.image, self.step, self.least, self.most, self.size)
        image, step, least, most, size = (change(column) for column in columns)
        terms = self.error.mapped(change), self.utility.mapped(change)
        return ConvexPlace(image, step, *terms, least, most, size, sure)

    def part(self, rows: Rows) -> "ConvexPlace":
        """The place for the users ``rows``."""
        return self.mapped(lambda column: part(column, rows), self.sure[rows])

    def rough(self) -> "ConvexPlace":
        """The same in single precision, which is faster."""
        return self.mapped(lambda column: column.astype("single"), self.sure)

    def within(self, steps: FloatArray) -> FloatArray:
        """``steps``, or the nearest that are allowed; the fewest for what is no number."""
        return np.fmin(np.fmax(steps, self.least), self.most)

    def state(self, at: FloatArray) -> State:
        """The state of users who take so many steps."""
        error, error_saving, error_fall = self.error.at(at)
        utility, utility_saving, utility_fall = self.utility.at(at)
        saving = error_saving + utility_saving
        fall = (error_saving * error_fall + utility_saving * utility_fall) / saving
        return State(at, error, utility, saving, fall)

    def cost(self, state: State) -> FloatArray:
        """What the steps of a ``state`` cost, as exactly as :data:`ROUNDING` says."""
        return self.image + self.step * state.at + state.error + state.utility

    def cheapest(self, prices: Iterable[float]) -> Iterator[tuple[State, BoolArray]]:
        """At each of ``prices`` the steps that cost least, and for whom that is sure.

        A step costs the price more; prices fall. What is not sure may be anything that is allowed.
        A state is good until the next is asked for.
        """
        state = None
        for price in prices:
            each = np.fmax(self.step + price, SMALLEST)
            with np.errstate(all="ignore"):  # what is not finite is not sure
                # where prices are close, few users move: these climb
                if state is None or 4 * np.count_nonzero(state.saving > each) > len(each):
                    ahead = self._near(each) if state is None else _tangent(state, each)
                    state = self.state(self.within(np.ceil(ahead)))
                self._climb(state, each)
                rounding = ROUNDING * (self.size + price * self.most)
                last = self.error.saved(state.error, state.at)
                last += self.utility.saved(state.utility, state.at)
                left = (last - each > rounding) | (state.at <= self.least)
                right = (each - state.saving > rounding) | (state.at >= self.most)
            yield state, self.sure & left & right

    def _near(self, each: FloatArray) -> FloatArray:
        """Steps up to which one more saves more than ``each``, and hardly less than so many."""
        rough, each, at = self.rough(), each.astype("single"), self.start
        if at is None:
            at = np.fmax(rough.error.root(each), rough.utility.root(each))
        for _ in range(2):
            at = _tangent(rough.state(rough.within(at)), each)
        return at - 1e-3

    def _climb(self, state: State, each: FloatArray) -> None:
        """Up to the first whole step after which one more does not save what it costs."""
        rows = np.flatnonzero((state.saving > each) & (state.at < self.most))
        while len(rows):
            here, cost = self.part(rows), each[rows]
            own = State(*(column[rows] for column in state))
            ahead = np.fmin(np.fmax(np.ceil(_tangent(own, cost)), own.at + 1), here.most)
            own = here.state(ahead)
            for column, values in zip(state, own, strict=True):
                column[rows] = values
            rows = rows[(own.saving > cost) & (ahead < here.most)]


def _tangent(state: State, each: FloatArray) -> FloatArray:
    """Steps up to which one more saves more than ``each``, or fewer: by the tangent."""
    return state.at - np.log(state.saving / each) / state.fall


def price_near(
    edge: ConvexPlace, local: FloatArray, budget: float, count: IntArray, spread: float
) -> tuple[float, IntArray, float]:
    """About the price of an edge step, what users take at it, and the slope of all they take.

    By the secant in the logarithm of the price, to a quarter of ``spread``; 0 where the budget
    seems to suffice for all. What users take is only as exact. ``local``, shape (users,), is what
    the best local option costs, ``count`` how many users each is. Sets ``edge.start``.
    """
    number = np.where(edge.least <= edge.most, count, 0)
    with np.errstate(all="ignore"):  # what is no number is no user's choice
        place, edge, local = edge, edge.rough(), local.astype("single")
        free = edge.within(np.fmax(edge.error.root(edge.step), edge.utility.root(edge.step)))
        state = edge.state(edge.within(_tangent(edge.state(free), edge.step)))
        # a user is on the edge at least up to this price, and takes fewer steps the higher it is
        worth = np.where(number > 0, (local - edge.cost(state)) / state.at, -np.inf)
        order = np.argsort(-worth)
        last = int(np.searchsorted(np.cumsum((number * state.at)[order]), budget))
        price, before = float(worth[order[min(last, len(order) - 1)]]), (0.0, 0.0)
        for turn in range(MOST_TURNS if 0 < price < np.inf else 0):
            each = edge.step + price
            taken = number * (edge.cost(state) + price * state.at < local)
            at = edge.within(_tangent(state, each))
            # but for who moves to the edge
            slope = min(-max(budget, 1.0), float(taken @ (price / (each * state.fall))))
            taken = taken * np.ceil(at)
            over = float(taken.sum()) - budget
            secant = (over - before[1]) / math.log(price / before[0]) if turn else slope
            higher = max(-2.0, min(2.0, over / -min(slope, secant)))
            before, price = (price, over), price * math.exp(higher)
            if abs(higher) <= spread / 4:
                place.start = at
                return price, taken, slope
            state = edge.state(at)
    return 0.0, number, 0.0


def _interval(problem: Problem, name: str) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The fewest and the most steps that are allowed at a place, and for whom that is sure.

    The fewest are more than the most where none is.
    """
    here = problem.place(name)
    least, most = here.min_steps.astype(float), here.max_steps.astype(float)
    sure = np.ones(problem.users, dtype=bool)
    if problem.deadline is not None:
        spare = problem.deadline * (1 + TOLERANCE) - (here.overhead + here.transfer_time)
        most = np.fmin(np.fmax(np.floor(spare / here.step_time), 0), here.max_steps)
        near = _columns(problem, most, most + 1)
        met = is_met(problem.time(name, near), problem.deadline[..., None])
        sure &= (met[:, 0] | (most == 0)) & (~met[:, 1] | (most == here.max_steps))
    if problem.max_error is not None:
        curve, limit = here.error.parameters, problem.max_error * (1 + TOLERANCE)
        floor, scale = curve.get("floor", 0.0), curve["scale"]
        factor = scale / (limit - floor)
        if here.error.family == "power_floor":
            need = factor ** (1 / curve["exponent"])
        else:
            need = np.log(factor) / curve["decay"]
        need = np.where(limit > floor, np.ceil(need), np.inf)
        least = np.fmin(np.fmax(need, here.min_steps), np.fmax(most, here.min_steps - 1) + 1)
        error = problem.error(name, _columns(problem, np.fmax(least - 1, 1), least))
        largest = scale + floor
        noise = ROUNDING * (largest + np.fmin(limit, largest))
        sure &= (error[:, 1] < limit - noise) | (least > most)
        sure &= (error[:, 0] > limit + noise) | (least <= here.min_steps)
    return least, most, sure


def _columns(problem: Problem, *steps: FloatArray) -> IntArray:
    """Step counts as each user's own columns."""
    return np.array([full(column, problem.users) for column in steps], dtype=np.int64).T


def full(values: FloatArray, users: int) -> FloatArray:
    """An array of shape () or (users,) with a number for each user."""
    return values if values.ndim else np.full(users, values)
