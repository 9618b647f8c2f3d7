"""P2, eq. (16): the convex sub-problem of the paper's method, and its KKT solution (Algorithm 2).

A curve is a function of real steps s, shape (..., users), that gives R~_{n,r}(s) > 0 and its first
and second derivatives. Pairs of arrays, shape (2, users), hold the local place first, then the
edge, as in :data:`solver.problem.PLACES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solver.columnar import FloatArray
from solver.paper.curves import SmoothCurve


@dataclass(frozen=True, eq=False)
class P2:
    """min G(a, s | u, v) - tau H(a | a^(i)) subject to (16a)-(16c); arrays of shape (users,) if
    nothing else is said.

    ``local`` and ``edge`` are R~_{n,0} and R~_{n,1}; ``u``, ``v`` > 0 of (10) and ``z`` > 0 of (11)
    hold the point at which the surrogates touch; ``around`` is a^(i) and ``tau``, a number, the
    weight of the penalty (15); ``budget`` is S_e^max. ``most`` is (S_{n,0}^max, S_{n,1}^max).
    Beyond the paper, ``least`` bounds the steps from below on the same kind of line, s >= (1 - a)
    least_0 + a least_1, as steps are positive; and ``span``, shape (2, users), bounds a_n: (0, 1)
    as in (16a), or (0, 0) or (1, 1) for a user that only one place can serve.
    """

    local: SmoothCurve
    edge: SmoothCurve
    u: FloatArray
    v: FloatArray
    z: FloatArray
    around: FloatArray
    tau: float
    budget: float
    least: FloatArray
    most: FloatArray
    span: FloatArray

    def objective(self, a: FloatArray, s: FloatArray) -> float:
        """G - tau H, eqs. (10), (14), (15)."""
        g = (
            self.local(s)[0] ** 2 * self.u
            + (1 - a) ** 2 / (4 * self.u)
            + self.edge(s)[0] ** 2 * self.v
            + a**2 / (4 * self.v)
        )
        h = self.around * (self.around - 1) + (2 * self.around - 1) * (a - self.around)
        return float((g - self.tau * h).sum())

    def used(self, a: FloatArray, s: FloatArray) -> float:
        """The left side of (16b), at least sum a_n s_n."""
        return float((s**2 * self.z + a**2 / (4 * self.z)).sum())

    def feasible(self) -> bool:
        """Whether (16b) can hold: at the fewest steps, and the a that then needs the least."""
        rise = self.least[1] - self.least[0]
        a = np.clip(-self.least[0] * rise / (rise**2 + 1 / (4 * self.z**2)), *self.span)
        return self.used(a, on_line(self.least, a)) <= self.budget

    def slope_s(self, s: FloatArray, delta: float) -> tuple[FloatArray, FloatArray]:
        """d(G + delta (16b))/ds, the left side of (18b) without multipliers of (16c), and its
        derivative; both the shape of ``s``.
        """
        first, second = 2 * s * self.z * delta, 2 * self.z * delta
        for curve, weight in ((self.local, self.u), (self.edge, self.v)):
            r, dr, ddr = curve(s)
            first = first + 2 * r * dr * weight
            second = second + 2 * (dr**2 + r * ddr) * weight
        return first, second

    def slope_a(self, delta: float) -> tuple[FloatArray, FloatArray]:
        """d(G - tau H + delta (16b))/da = rate a - pull: D_n of (18a) without zeta_n, as (rate,
        pull).
        """
        rate = 1 / (2 * self.u) + 1 / (2 * self.v) + delta / (2 * self.z)
        return rate, 1 / (2 * self.u) + self.tau * (2 * self.around - 1)


@dataclass(frozen=True, eq=False)
class KKTPoint:
    """A solution of P2 with its multipliers, all >= 0: ``delta``, a number, of (16b); of shape
    (users,) ``zeta`` of (16c), ``eta`` of the lower limit on s, ``beta`` and ``gamma`` of the lower
    and the upper limit on a.
    """

    p2: P2
    a: FloatArray
    s: FloatArray
    delta: float
    zeta: FloatArray
    eta: FloatArray
    beta: FloatArray
    gamma: FloatArray

    @property
    def objective(self) -> float:
        """G - tau H at the point."""
        return self.p2.objective(self.a, self.s)

    def residuals(self) -> dict[str, float]:
        """The largest violation of each KKT condition over the users.

        ``stationarity_a`` (18a) and ``stationarity_s`` (18b), relative to the largest of the terms
        that have to cancel, or 1e-6; ``primal`` (16a)-(16c), in steps for (16b) and (16c);
        ``dual``, the most negative multiplier; ``slackness`` (19), multiplier times constraint.
        """
        p2, a, s = self.p2, self.a, self.s
        (l0, l1), (s0, s1) = p2.least, p2.most
        (r0, dr0, _), (r1, dr1, _) = p2.local(s), p2.edge(s)
        terms_a = [
            (a - 1) / (2 * p2.u),
            a / (2 * p2.v),
            self.delta * a / (2 * p2.z),
            -p2.tau * (2 * p2.around - 1),
        ]
        terms_a += [self.zeta * (s0 - s1), self.eta * (l1 - l0), -self.beta, self.gamma]
        terms_s = [
            2 * r0 * dr0 * p2.u,
            2 * r1 * dr1 * p2.v,
            2 * s * p2.z * self.delta,
            self.zeta,
            -self.eta,
        ]
        # (multiplier, what has to be <= 0)
        limits: list[tuple[FloatArray | float, FloatArray | float]] = [
            (self.beta, p2.span[0] - a),
            (self.gamma, a - p2.span[1]),
            (self.delta, p2.used(a, s) - p2.budget),
            (self.zeta, s - on_line(p2.most, a)),
            (self.eta, on_line(p2.least, a) - s),
        ]
        return {
            "stationarity_a": _imbalance(*terms_a),
            "stationarity_s": _imbalance(*terms_s),
            "primal": max(0.0, *(float(np.max(excess)) for _, excess in limits)),
            "dual": max(0.0, *(float(np.max(-multiplier)) for multiplier, _ in limits)),
            "slackness": max(
                float(np.max(np.abs(multiplier * excess))) for multiplier, excess in limits
            ),
        }


def algorithm_2(p2: P2, delta: float = 0.0) -> KKTPoint:
    """Algorithm 2: the KKT point of a feasible P2, by a search for delta* of (23).

    ``delta`` is a guess. Where the paper bisects, this takes Newton steps inside the same bracket,
    on used^(-1/2), which is nearly linear in delta. The point is P2's optimum if both curves are
    convex, which makes P2 convex, as R~ > 0.
    """
    low, high = -np.inf, np.inf
    a, s, drop = respond(p2, delta)
    for _ in range(200):
        used = p2.used(a, s)
        if used > p2.budget:
            low = delta
        else:
            high, within = delta, (a, s)
        if abs(used - p2.budget) <= 1e-13 * p2.budget or high == 0:
            break  # (16b) is tight, or slack at delta = 0
        new = max(0.0, delta + 2 * used / max(drop, 1e-300) * (np.sqrt(used / p2.budget) - 1))
        if not low < new < min(high, 1e100):
            new = 10 * max(low, 0.1) if high == np.inf else (max(low, 0.0) + high) / 2
        if new in (low, high) or new > 1e100:
            break  # no float lies between, or only the least use keeps (16b)
        delta = new
        a, s, drop = respond(p2, delta, a, s)
    if used > p2.budget * (1 + 1e-13) and high < np.inf:
        delta, (a, s) = high, within
    return _with_multipliers(p2, a, s, delta)


def respond(
    p2: P2, delta: float, a: FloatArray | None = None, s: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, float]:
    """Each user's a_n*, s_n* at the price ``delta``, eqs. (21), (22), and -d used/d delta.

    ``a`` and ``s`` are a guess. With zeta_n = 0 the two separate: a_n = clamp(root of D_n), and s_n
    is the root of (18b). If that s_n breaks (16c), then (16c) is tight at the optimum. Either way
    the optimum lies on a known segment, along which one root is left to find.
    """
    rate, pull = p2.slope_a(delta)
    lo, hi = p2.span
    free = np.clip(pull / rate, lo, hi)  # (21) at zeta_n = 0
    bounds = np.stack([on_line(p2.least, free), on_line(p2.most, free)])
    slope = p2.slope_s(bounds, delta)[0]
    above, below = slope[1] < 0, slope[0] > 0
    tight, limit = above | below, np.where(above, p2.most, p2.least)
    a0, da = np.where(tight, lo, free), np.where(tight, hi - lo, 0.0)
    s0, ds = bounds[0], bounds[1] - bounds[0]
    s0, ds = (
        np.where(tight, on_line(limit, lo), s0),
        np.where(tight, (limit[1] - limit[0]) * da, ds),
    )

    def derivative(t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of G - tau H + delta (16b) along the segment (a0, s0) + t (da, ds): first and second."""
        first, second = p2.slope_s(s0 + t * ds, delta)
        return (rate * (a0 + t * da) - pull) * da + first * ds, rate * da**2 + second * ds**2

    t = np.full(len(free), 0.5)
    if a is not None:
        along, whole = np.where(tight, a - a0, s - s0), np.where(tight, da, ds)
        t = np.clip(np.divide(along, whole, out=t, where=whole != 0), 0, 1)
    t, second = _roots(derivative, t)
    a = a0 + t * da
    # on the limit to the last bit, as the multipliers compare for equality
    s = np.where(tight, on_line(limit, a), s0 + t * ds)
    cross = a / (2 * p2.z) * da + 2 * s * p2.z * ds
    moves = (0 < t) & (t < 1) & (second > 0)
    drop = (cross[moves] ** 2 / second[moves]).sum()
    drop += ((a / (2 * p2.z)) ** 2 / rate)[~tight & (lo < a) & (a < hi)].sum()
    return a, s, float(drop)


def _roots(
    derivative: Callable[[FloatArray], tuple[FloatArray, FloatArray]], t: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where on [0, 1] ``derivative`` turns from - to +, or the end that it points to.

    ``derivative`` gives the first and the second derivative for each user; the second, at the
    answer, is returned too. Newton's method, kept inside a bracket that is halved where a step
    would leave it.
    """
    low, high = np.full_like(t, -np.inf), np.full_like(t, np.inf)
    for _ in range(100):
        first, second = derivative(t)
        low, high = np.where(first <= 0, t, low), np.where(first >= 0, t, high)
        # a straight line leads to its lower end
        downhill = np.where(first == 0, 0, np.copysign(np.inf, first))
        new = np.clip(t - np.divide(first, second, out=downhill, where=second > 0), 0, 1)
        done = np.abs(new - t) <= 1e-9  # Newton's next step is of the order of its square
        new = np.where(
            done | ((low < new) & (new < high)), new, (np.maximum(low, 0) + np.minimum(high, 1)) / 2
        )
        t = new
        if done.all():
            break
    return t, second


def _with_multipliers(p2: P2, a: FloatArray, s: FloatArray, delta: float) -> KKTPoint:
    """zeta, eta from (18b) where (16c) or the lower limit is tight; beta, gamma from (18a)."""
    slope = p2.slope_s(s, delta)[0]
    zeta = np.where(s >= on_line(p2.most, a), np.maximum(-slope, 0), 0.0)
    eta = np.where(s <= on_line(p2.least, a), np.maximum(slope, 0), 0.0)
    rate, pull = p2.slope_a(delta)
    rise, low_rise = p2.most[1] - p2.most[0], p2.least[1] - p2.least[0]
    d = rate * a - pull - zeta * rise + eta * low_rise  # D_n
    beta = np.where(a <= p2.span[0], np.maximum(d, 0), 0.0)
    gamma = np.where(a >= p2.span[1], np.maximum(-d, 0), 0.0)
    return KKTPoint(p2, a, s, float(delta), zeta, eta, beta, gamma)


def on_line(ends: FloatArray, a: FloatArray) -> FloatArray:
    """(1 - a) ends_0 + a ends_1: steps at the local place, at the edge, and in between."""
    return ends[0] + (ends[1] - ends[0]) * a


def _imbalance(*terms: FloatArray) -> float:
    """The largest sum of terms, relative to the largest term, or 1e-6 where all are smaller."""
    all_terms = np.stack(np.broadcast_arrays(*terms))
    largest = np.maximum(np.abs(all_terms).max(axis=0), 1e-6)
    return float((np.abs(all_terms.sum(axis=0)) / largest).max())
