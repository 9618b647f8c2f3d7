"""P1 for real a_n and s_n, on which the paper's method works.

Costs are shifted to be positive and scaled to at most 1, and have two derivatives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from solver.columnar import FloatArray, column, word
from solver.paper.curves import Derivatives, SmoothCurve, smooth
from solver.paper.p2 import P2, on_line
from solver.problem import WEIGHTS, Problem

#: How near a_n may come to 0 and 1 in u, v, z of (10), (11), which are 0/0 there.
FLOOR = 1e-4
#: How near R~ may come to 0 in u and v, relative to the largest R~.
SMALLEST = 1e-9


@dataclass(frozen=True, eq=False)
class Relaxation:
    """P1 for real a_n, s_n.

    ``costs``, the curves of the two places, are (R~ + ``shift``) / ``unit``: ``shift``, shape
    (users,), is w2, or more where a table has a utility above 1; ``unit``, a number, is the largest
    R~ + shift. ``budget``, ``least``, ``most`` and ``span`` are those of
    :class:`~solver.paper.p2.P2`.
    """

    costs: tuple["Cost", "Cost"]
    unit: float
    shift: FloatArray
    budget: float
    least: FloatArray
    most: FloatArray
    span: FloatArray

    @classmethod
    def of(cls, problem: Problem) -> "Relaxation":
        """The relaxation of a feasible problem."""
        masks, largest = [], 0.0
        for place in problem.names:
            cost = np.column_stack([problem.cost(place), np.full(problem.users, np.inf)])
            masks.append(np.isfinite(cost))
            largest = max(largest, np.abs(cost[masks[-1]]).max(initial=0.0))
        served = np.stack([mask.any(axis=1) for mask in masks])
        least = np.stack([1.0 + mask.argmax(axis=1) for mask in masks])
        most = np.stack(
            [mask.shape[1] - mask[:, ::-1].argmax(axis=1) for mask in masks], dtype=float
        )
        tables = [
            curve.parameters["values"]
            for curve in (problem.local.utility, problem.edge.utility)
            if curve.family == "table"
        ]
        top = 1.0
        for values in tables:
            top = max(top, float(np.nanmax(values, initial=1.0)))
        shift = np.broadcast_to(problem.weights["utility"] * top, problem.users)
        unit = float(largest + shift.max()) or 1.0
        return cls(
            costs=(
                Cost.of(problem, problem.names[0], top, unit),
                Cost.of(problem, problem.names[1], top, unit),
            ),
            unit=unit,
            shift=shift,
            budget=float(min(problem.edge_budget, most[1].sum())),
            # a place that cannot serve takes the other's limits, as a_n is fixed
            least=np.where(served, least, least[::-1]),
            most=np.where(served, most, most[::-1]),
            span=np.stack([~served[0], served[1]]).astype(float),
        )

    def objective(self, a: FloatArray, s: FloatArray) -> float:
        """Eq. (8) for real a, s; un-shifted."""
        local, edge = (cost(s)[0] for cost in self.costs)
        return float(self.unit * ((1 - a) * local + a * edge).sum() - self.shift.sum())

    def p2(self, a: FloatArray, s: FloatArray, around: FloatArray, tau: float) -> P2:
        """P2 with the surrogates (10), (11) that touch at (a, s) and the penalty at ``around``.

        Arrays have shape (users,); the penalty is (15), linearised.
        """
        local, edge = (np.maximum(cost(s)[0], SMALLEST) for cost in self.costs)
        out, stay = np.maximum(a, FLOOR), np.maximum(1 - a, FLOOR)
        return P2(
            *self.costs,
            u=stay / (2 * local),
            v=out / (2 * edge),
            z=out / (2 * s),
            around=around,
            tau=tau / self.unit,
            budget=self.budget,
            least=self.least,
            most=self.most,
            span=self.span,
        )

    def start(self, start: ArrayLike, seed: int = 0) -> tuple[FloatArray, FloatArray]:
        """(a^(0), s^(0)), shape (users,).

        ``start`` is a^(0), a number in [0, 1] or one for each user, and s^(0) is as large as (2)
        allows; or ``start`` is "random", and both are uniform in what (2) allows, from ``seed``. As
        P2 keeps (1) if its start does, s^(0) is then brought towards its lower limit, by the same
        part for all, until (1) holds.
        """
        users, rng = self.span.shape[1], np.random.default_rng(seed)
        part: FloatArray | float = 1.0
        if isinstance(start, str):
            word("solver: start", start, ["random"])
            start, part = rng.random(users), rng.random(users)
        a = np.clip(column("solver: start", start, users, most=1), *self.span)
        low = on_line(self.least, a)
        extra = part * (on_line(self.most, a) - low)
        within = (self.budget - a @ low) / np.maximum(a @ extra, 1e-300)
        return a, low + extra * np.clip(within, 0, 1)


@dataclass(frozen=True, eq=False)
class Cost:
    """(R~_{n,r}(s) + w2 top) / unit at one place; arrays of shape () or (users,).

    It is ``base`` + ``rise`` s + the sum of weight x curve(s) over ``terms``. A call with s, shape
    (..., users), gives it with its first and second derivative.
    """

    base: FloatArray
    rise: FloatArray
    terms: tuple[tuple[FloatArray, SmoothCurve], ...]

    @classmethod
    def of(cls, problem: Problem, place: str, top: float, unit: float) -> "Cost":
        """The cost of a place, where no utility is above ``top``."""
        here = problem.place(place)
        w1, w2, c1, c2, c3 = (problem.weights[name] for name in WEIGHTS)
        second = w1 * (c1 + c3 * here.power) / unit  # what a second costs, eqs. (3), (5), (6)
        terms = (w1 * c2 / unit, smooth(here.error)), (w2 / unit, smooth(here.utility, top))
        image = second * here.overhead
        image = image + w1 * (c1 * here.transfer_time + c3 * here.transfer_energy) / unit
        return cls(image, second * here.step_time, terms)

    def __call__(self, s: FloatArray) -> Derivatives:
        value, first = self.base + self.rise * s, self.rise
        second: FloatArray | float = 0.0
        for weight, curve in self.terms:
            c, dc, ddc = curve(s)
            value, first, second = value + weight * c, first + weight * dc, second + weight * ddc
        return value, first, np.asarray(second)
