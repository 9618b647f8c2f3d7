"""P1 for real a_n and s_n: what the paper's method works on. Costs are shifted to be positive, and
have two derivatives.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from solver.columnar import column, word
from solver.paper.p2 import P2, on_line
from solver.problem import PLACES, WEIGHTS

#: How near a_n may be to 0 and 1 in u, v, z of (10), (11), which are 0/0 there; and how near R~ to
#: 0, relative to the largest.
FLOOR, SMALLEST = 1e-4, 1e-9


def exponential(s, scale, decay, floor=0.0):
    """eq. (4), and the same with a floor, at s: value, first and second derivative."""
    e = scale * np.exp(-decay * s)
    return e + floor, -decay * e, decay**2 * e


def power_floor(s, scale, exponent, floor):
    p = scale * s**-exponent
    return p + floor, -exponent * p / s, exponent * (exponent + 1) * p / s**2


def shortfall(s, rate, floor=0.0):
    """1 - U + floor, U of eq. (7), and the same derivatives."""
    return exponential(s, 1.0, rate, floor)


FORMS = {
    "exponential": exponential,
    "exponential_floor": exponential,
    "power_floor": power_floor,
    "saturating": shortfall,
}


class ConvexTable:
    """A table at s = 1, 2, ..., shape (width,) or (users, width), as a convex C1 curve: its lower
    convex envelope, drawn with straight lines and averaged over half a step to either side.

    Beyond the last step (NaN: a row has ended) it no longer falls. At whole steps it is an eighth
    of the second difference above the envelope; where the table is >= 0, so is the curve.
    """

    def __init__(self, values):
        values = np.pad(np.atleast_2d(values), ((0, 0), (0, 2)), constant_values=np.nan)
        values[np.isnan(values[:, 0]), 0] = 0.0  # an empty row, which is not used
        kinds, rows = np.unique(
            np.where(np.isnan(values), np.inf, values), axis=0, return_inverse=True
        )
        self.rows, self.values = rows.ravel(), envelope(kinds)
        rise = np.diff(self.values, axis=1)
        self.slopes = np.column_stack([rise[:, 0], rise, rise[:, -1]])

    def __call__(self, s):
        k = np.clip(np.rint(s), 1, self.values.shape[1]).astype(np.int64) - 1
        t, before, after = s - 1 - k, self.slopes[self.rows, k], self.slopes[self.rows, k + 1]
        mean, bend = (before + after) / 2, after - before
        return (
            self.values[self.rows, k] + bend / 8 + t * (mean + t * bend / 2),
            mean + t * bend,
            bend,
        )


def envelope(values):
    """The lower convex envelope of each row up to where it is inf, and from there on its last
    slope, or 0 if that is negative.
    """
    steps, hull = np.arange(values.shape[1]), values.copy()
    corner, slope = np.zeros((len(values), 1), dtype=np.int64), np.zeros((len(values), 1))
    while True:  # from corner to corner: to the point that is seen lowest
        at, ahead = np.take_along_axis(values, corner, axis=1), steps - corner
        seen = np.where(ahead > 0, (values - at) / np.maximum(ahead, 1), np.inf)
        lowest = seen.min(axis=1, keepdims=True)
        slope = np.where(np.isinf(lowest), np.maximum(slope, 0), lowest)
        hull = np.where(ahead > 0, at + slope * ahead, hull)
        if np.isinf(lowest).all():
            return hull
        corner = np.where(np.isinf(lowest), corner, seen.argmin(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Relaxation:
    """P1 for real a_n, s_n.

    ``costs``, the curves of the two places, are (R~ + ``shift``) / ``unit``: ``shift``, shape
    (users,), is w2, or more where a table has a utility above 1; ``unit``, a number, is the largest
    R~ + shift. ``budget``, ``least``, ``most`` and ``span`` are those of
    :class:`~solver.paper.p2.P2`.
    """

    costs: tuple
    unit: float
    shift: np.ndarray
    budget: float
    least: np.ndarray
    most: np.ndarray
    span: np.ndarray

    @classmethod
    def of(cls, problem):
        """The relaxation of a feasible problem."""
        allowed, largest = [], 0.0
        for place in PLACES:
            cost = np.column_stack([problem.cost(place), np.full(problem.users, np.inf)])
            allowed.append(np.isfinite(cost))
            largest = max(largest, np.abs(cost[allowed[-1]]).max(initial=0.0))
        served = np.stack([some.any(axis=1) for some in allowed])
        least = np.stack([1.0 + some.argmax(axis=1) for some in allowed])
        most = np.stack([some.shape[1] - some[:, ::-1].argmax(axis=1) for some in allowed]).astype(
            float
        )
        curves = [getattr(problem, place).utility for place in PLACES]
        top = max(
            [
                1.0,
                *(
                    np.nanmax(c.parameters["values"], initial=1.0)
                    for c in curves
                    if c.family == "table"
                ),
            ]
        )
        shift = np.broadcast_to(problem.weights["utility"] * top, problem.users)
        unit = float(largest + shift.max()) or 1.0
        return cls(
            costs=tuple(Cost.of(problem, place, top, unit) for place in PLACES),
            unit=unit,
            shift=shift,
            budget=float(min(problem.edge_budget, most[1].sum())),
            least=np.where(
                served, least, least[::-1]
            ),  # a place that cannot serve takes the other's limits: a_n is fixed
            most=np.where(served, most, most[::-1]),
            span=np.stack([~served[0], served[1]]).astype(float),
        )

    def objective(self, a, s):
        """eq. (8) for real a, s; un-shifted."""
        local, edge = (cost(s)[0] for cost in self.costs)
        return float(self.unit * ((1 - a) * local + a * edge).sum() - self.shift.sum())

    def p2(self, a, s, around, tau):
        """P2 with the surrogates (10), (11) that touch at (a, s) and the penalty (15) linearised at
        ``around``; shape (users,).
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

    def start(self, start, seed=0):
        """(a^(0), s^(0)), shape (users,): ``start`` is a^(0), a number in [0, 1] or one for each
        UE, and s^(0) as large as (2) allows; or ``start`` is "random", both uniform in what (2)
        allows, from ``seed``.

        As P2 keeps (1) if its start does, s^(0) is then brought towards its lower limit, by the
        same part for all, until (1) holds.
        """
        users, part, rng = self.span.shape[1], 1.0, np.random.default_rng(seed)
        if isinstance(start, str):
            word("solver: start", start, ["random"])
            start, part = rng.random(users), rng.random(users)
        a = np.clip(column("solver: start", start, users, most=1), *self.span)
        low = on_line(self.least, a)
        extra = part * (on_line(self.most, a) - low)
        return a, low + extra * np.clip((self.budget - a @ low) / max(a @ extra, 1e-300), 0, 1)


@dataclass(frozen=True, eq=False)
class Cost:
    """(R~_{n,r}(s) + w2 top) / unit = base + rise s + sum of weight curve(s), at one place; arrays
    of shape () or (users,).

    Calling it with s, shape (..., users), gives that and its first and second derivative.
    """

    base: np.ndarray
    rise: np.ndarray
    terms: list  # of (weight, curve)

    @classmethod
    def of(cls, problem, place, top, unit):
        here = getattr(problem, place)
        w1, w2, c1, c2, c3 = (problem.weights[name] for name in WEIGHTS)
        second = w1 * (c1 + c3 * here.power) / unit  # what a second costs, eqs. (3), (5), (6)
        terms = [(w1 * c2 / unit, _curve(here.error)), (w2 / unit, _curve(here.utility, top))]
        return cls(second * here.overhead, second * here.step_time, terms)

    def __call__(self, s):
        value, first, second = self.base + self.rise * s, self.rise, 0.0
        for weight, curve in self.terms:
            c, dc, ddc = curve(s)
            value, first, second = value + weight * c, first + weight * dc, second + weight * ddc
        return value, first, second


def _curve(curve, top=None):
    """eps(s), or if ``top`` is given top - U(s): a function of s that gives the value and two
    derivatives.
    """
    if curve.family == "table":
        values = curve.parameters["values"]
        return ConvexTable(values if top is None else top - values)
    shift = {} if top is None else {"floor": top - 1}
    return partial(FORMS[curve.family], **curve.parameters, **shift)
