"""The cheapest step counts of users whose curves are parametric families, without a table.

Every family is convex in the steps s, so a user takes steps as long as the next one saves more
error and utility than it costs. What it saves is a sum of log-convex terms: the logarithm of saving
over cost is convex and decreasing, and Newton's method, started below the root, never passes it.
Rounded up to whole steps, it ends at the first step that does not pay.

A table's minimum is of rounded costs. A choice is *sure* where both its neighbours cost more by
more than rounding; by convexity it is then the table's too. The others are left to the table.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.problem import WEIGHTS, Curve, Problem
from solver.problem.curves import Rows
from solver.problem.load import TOLERANCE, is_met

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one cost, relative to the sizes of its terms: a few operations, each half an EPS off.
ROUNDING = 32 * EPS
#: A step costs no less: the logarithm of what it saves over what it costs is then finite.
SMALLEST = 1e-290


def is_convex(problem: Problem) -> bool:
    """Whether the problem is plain, and all its curves are parametric families."""
    curves = [curve for place in problem.places.values() for curve in (place.error, place.utility)]
    return problem.is_plain and all(curve.family != "table" for curve in curves)


class Saving(NamedTuple):
    """What a step more saves of one curve: ``scale`` e^(-rate s), or that of a power of s.

    Arrays of shape (users,). ``rate`` is the exponent of a power.
    """

    scale: FloatArray
    rate: FloatArray
    power: bool

    @classmethod
    def of(cls, curve: Curve, weight: FloatArray) -> "Saving":
        """That of an error or a utility, times ``weight``."""
        known = curve.parameters
        if curve.family == "power_floor":
            return cls(weight * known["scale"], known["exponent"], True)
        rate = known["rate"] if "rate" in known else known["decay"]
        return cls(-weight * known.get("scale", 1.0) * np.expm1(-rate), rate, False)

    def full(self, users: int) -> "Saving":
        """With a number for each user."""
        return Saving(full(self.scale, users), full(self.rate, users), self.power)

    def part(self, rows: Rows) -> "Saving":
        """That of the users ``rows``."""
        return Saving(self.scale[rows], self.rate[rows], self.power)

    def at(self, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What step ``steps`` + 1 saves, and minus the derivative of its logarithm."""
        if not self.power:
            return self.scale * np.exp(-self.rate * steps), self.rate
        ratio = np.log1p(1 / steps)
        lost = np.expm1(-self.rate * ratio)
        slope = np.expm1(-(self.rate + 1) * ratio) / lost
        return -self.scale * steps**-self.rate * lost, self.rate / steps * slope

    def root(self, each: FloatArray) -> FloatArray:
        """Steps from which on it saves at most ``each``, or fewer."""
        if not self.power:
            return np.log(self.scale / each) / self.rate
        # the derivative at s + 1 is the least that step s + 1 saves
        return (self.scale * self.rate / each) ** (1 / (self.rate + 1)) - 1


@dataclass(frozen=True, eq=False)
class ConvexPlace:
    """One place for all users; arrays of shape (users,).

    A step costs ``step`` and saves what ``error`` and ``utility`` say; ``least`` to ``most`` steps
    are allowed. ``size`` is that of the terms of the largest cost, and ``sure`` says for whom all
    this is certain.
    """

    step: FloatArray
    error: Saving
    utility: Saving
    least: FloatArray
    most: FloatArray
    size: FloatArray
    sure: BoolArray

    @classmethod
    def of(cls, problem: Problem, name: str) -> "ConvexPlace":
        """The place of that name."""
        here = problem.place(name)
        w1, w2, c1, c2, c3 = (problem.weights[name] for name in WEIGHTS)
        with np.errstate(all="ignore"):  # what is not finite is not sure
            second = w1 * (c1 + c3 * here.power)
            image = second * here.overhead
            image = image + w1 * (c1 * here.transfer_time + c3 * here.transfer_energy)
            least, most, sure = _interval(problem, name)
            step, curve = second * here.step_time, here.error.parameters
            error = w1 * c2 * (curve["scale"] + curve.get("floor", 0.0))
            size = full(image + step * most + error + w2, problem.users)
            saved = Saving.of(here.error, w1 * c2), Saving.of(here.utility, w2)
        return cls(
            full(step, problem.users),
            saved[0].full(problem.users),
            saved[1].full(problem.users),
            full(least, problem.users),
            full(most, problem.users),
            size,
            sure & (size < 1e300 / problem.users),
        )

    def part(self, rows: Rows) -> "ConvexPlace":
        """The place for the users ``rows``."""
        own = {
            name: getattr(self, name)[rows] for name in ("step", "least", "most", "size", "sure")
        }
        return ConvexPlace(error=self.error.part(rows), utility=self.utility.part(rows), **own)

    def cheapest(self, prices: Iterable[float]) -> Iterator[tuple[IntArray, BoolArray]]:
        """At each of ``prices``, which fall, the steps that cost least, and for whom it is sure.

        A step costs the price more. Of equally cheap ones the fewest; 1 where none is allowed. The
        first price may be infinite.
        """
        served, climb = self.least <= self.most, None
        rows: Rows = slice(None) if served.all() else np.flatnonzero(served)
        for price in prices:
            steps, sure = np.ones(len(self.step), dtype=np.int64), self.sure.copy()
            if price == np.inf:
                steps[rows] = self.least[rows]
                yield steps, sure
                continue
            with np.errstate(all="ignore"):  # what is not finite is not sure
                each = np.fmax(self.step + price, SMALLEST)[rows]
                rounding = ROUNDING * (self.size + price * self.most)[rows]
                climb = climb or _Climb.start(self.part(rows), each)
                climb.go_on(each, rounding)
                right = (climb.at >= climb.place.most) | (each - climb.saving > rounding)
                sure[rows] &= climb.left & right
                steps[rows] = np.where(sure[rows], climb.at, 1)
            yield steps, sure

    def saving(self, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What step ``steps`` + 1 saves, and minus the derivative of its logarithm."""
        error, error_rate = self.error.at(steps)
        utility, utility_rate = self.utility.at(steps)
        saving = error + utility
        return saving, (error * error_rate + utility * utility_rate) / saving


@dataclass
class _Climb:
    """Users on their way to the first step that does not pay; arrays of shape (users,).

    They are ``at`` so many steps, and the next one has that ``saving`` and ``rate``. ``left`` says
    who is sure that the last one pays.
    """

    place: ConvexPlace
    at: FloatArray
    saving: FloatArray
    rate: FloatArray
    left: BoolArray
    is_new: bool = True

    @classmethod
    def start(cls, place: ConvexPlace, each: FloatArray) -> "_Climb":
        """Where one of the curves alone saves what a step costs, not rounded."""
        root = np.fmax(place.error.root(each), place.utility.root(each))
        at = np.fmin(np.fmax(root, place.least), place.most)
        saving, rate = place.saving(at)
        return cls(place, at, saving, rate, np.ones(len(at), dtype=bool))

    def go_on(self, each: FloatArray, rounding: FloatArray) -> None:
        """To the first whole step that does not save what it costs."""
        rows: Rows = slice(None)
        floor = self.place.least
        if not self.is_new:
            rows, floor = self._going(each)
        self.is_new = False
        while isinstance(rows, slice) or len(rows):
            here, cost, at, rate = self.place.part(rows), each[rows], self.at[rows], self.rate[rows]
            over = np.log(self.saving[rows] / cost)
            ahead = np.ceil(at + np.fmax(over, 0) / rate)
            ahead = np.fmin(np.fmax(ahead, floor), here.most)
            # a tangent lies below the curve, also one step before
            before = over + rate * (at - (ahead - 1)) - 8 * EPS * (1 + rate * here.most)
            pays = cost * np.expm1(before) > rounding[rows]
            self.left[rows], self.at[rows] = pays | (ahead <= here.least), ahead
            self.saving[rows], self.rate[rows] = here.saving(ahead)
            rows, floor = self._going(each)

    def _going(self, each: FloatArray) -> tuple[IntArray, FloatArray]:
        """Whose next step pays, and the steps that these take at least."""
        rows = np.flatnonzero((self.saving > each) & (self.at < self.place.most))
        return rows, self.at[rows] + 1


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
