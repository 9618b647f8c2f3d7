"""Common divisors: sums of whole multiples are whole multiples.

If every change of the steps is a multiple of g, so is every sum of changes, and a spare budget that
is not leaves steps unused. If every change of the cost is a multiple of q, no objective lies less
than q below another.
"""

import numpy as np

from solver.columnar import FloatArray, IntArray


def common_divisor(moves: IntArray) -> int:
    """The largest integer of which all are multiples; 0 if all are 0 or there is none."""
    return int(np.gcd.reduce(np.abs(moves), initial=0))


def quantum(values: FloatArray) -> float:
    """The largest number of which all floats are whole multiples.

    inf if all are 0; 0 where they differ so much in size that there is none above the rounding.
    """
    values = np.abs(values[values != 0])
    if not len(values):
        return np.inf
    exponent = int(np.frexp(values.max())[1])
    with np.errstate(under="ignore"):
        scaled = np.ldexp(values, 53 - exponent)  # below 2^53
    whole = scaled.astype(np.int64)
    if (whole != scaled).any():
        return 0.0
    return float(np.ldexp(float(np.gcd.reduce(whole)), exponent - 53))
