"""Common divisors of steps and of costs."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solver.exact.lattice import common_divisor, quantum


@given(st.lists(st.integers(-1000, 1000)), st.sampled_from([1.0, 0.375, 2.0**-40, 3e15]))
def test_divisors_are_those_of_the_integers(values, unit):
    expected = math.gcd(*values)
    assert common_divisor(np.array(values, dtype=np.int64)) == expected
    assert quantum(unit * np.array(values, dtype=float)) == (unit * expected or math.inf)


def test_floats_of_very_different_sizes_have_none():
    assert quantum(np.array([1e20, 1.0])) == 0.0
    assert quantum(np.array([0.1, 0.2, 0.3])) < 1e-15
