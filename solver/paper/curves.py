"""Error and utility for real s: value, first and second derivative, as P2 needs them."""

from collections.abc import Callable
from functools import partial

import numpy as np

from solver.columnar import FloatArray, IntArray
from solver.problem import Curve

#: Value, first and second derivative at s, each with the shape of s.
Derivatives = tuple[FloatArray, FloatArray, FloatArray]
#: A function of s, shape (..., users).
SmoothCurve = Callable[[FloatArray], Derivatives]


def exponential(
    s: FloatArray, scale: FloatArray | float, decay: FloatArray, floor: FloatArray | float = 0.0
) -> Derivatives:
    """Eq. (4), scale exp(-decay s), plus a floor."""
    e = scale * np.exp(-decay * s)
    return e + floor, -decay * e, decay**2 * e


def power_floor(
    s: FloatArray, scale: FloatArray, exponent: FloatArray, floor: FloatArray
) -> Derivatives:
    """scale s^(-exponent) + floor."""
    p = scale * s**-exponent
    return p + floor, -exponent * p / s, exponent * (exponent + 1) * p / s**2


def shortfall(s: FloatArray, rate: FloatArray, floor: FloatArray | float = 0.0) -> Derivatives:
    """1 - U + floor, with U of eq. (7)."""
    return exponential(s, 1.0, rate, floor)


FORMS: dict[str, Callable[..., Derivatives]] = {
    "exponential": exponential,
    "exponential_floor": exponential,
    "power_floor": power_floor,
    "saturating": shortfall,
}


def smooth(curve: Curve, top: float | None = None) -> SmoothCurve:
    """eps(s) of an error curve; or, if ``top`` is given, top - U(s) of a utility curve."""
    if curve.family == "table":
        values = curve.parameters["values"]
        return ConvexTable(values if top is None else top - values)
    shift = {} if top is None else {"floor": top - 1}
    return partial(FORMS[curve.family], **curve.parameters, **shift)


class ConvexTable:
    """A table at s = 1, 2, ... as a convex curve with a continuous slope.

    The curve is the table's lower convex envelope, drawn with straight lines and averaged over half
    a step to either side. At whole steps it lies an eighth of the second difference above the
    envelope; where the table is >= 0, so is the curve. Past the last step (NaN: a row has ended) it
    no longer falls.
    """

    def __init__(self, values: FloatArray):
        """``values`` has shape (width,) or (users, width)."""
        values = np.pad(np.atleast_2d(values), ((0, 0), (0, 2)), constant_values=np.nan)
        values[np.isnan(values[:, 0]), 0] = 0.0  # an empty row, which is not used
        distinct, rows = np.unique(
            np.where(np.isnan(values), np.inf, values), axis=0, return_inverse=True
        )
        self.rows, self.values = rows.ravel(), envelope(distinct)
        rise = np.diff(self.values, axis=1)
        self.slopes = np.column_stack([rise[:, 0], rise, rise[:, -1]])

    def __call__(self, s: FloatArray) -> Derivatives:
        k: IntArray = np.clip(np.rint(s), 1, self.values.shape[1]).astype(np.int64) - 1
        t, before, after = s - 1 - k, self.slopes[self.rows, k], self.slopes[self.rows, k + 1]
        mean, bend = (before + after) / 2, after - before
        return (
            self.values[self.rows, k] + bend / 8 + t * (mean + t * bend / 2),
            mean + t * bend,
            bend,
        )


def envelope(values: FloatArray) -> FloatArray:
    """The lower convex envelope of each row up to its first inf.

    From there on it goes on with its last slope, or with 0 if that is negative.
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
