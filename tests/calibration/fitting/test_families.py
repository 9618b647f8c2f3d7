"""Curve families: their gradients, and exact points that give the parameters back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.fitting.families import FAMILIES
from calibration.fitting.fit import fit_curve
from calibration.fitting.prediction import predict
from tests.calibration.fitting.curves import STEPS, drawn, member


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_exact_points_give_the_parameters_back(name, data):
    family = FAMILIES[name]
    p = drawn(data, family)
    fit = fit_curve(STEPS, family.function(STEPS.astype(float), p), kind=family.kind)
    assert list(member(fit, name).parameters.values()) == pytest.approx(p.tolist(), rel=1e-4)
    # What is chosen may be a simpler family that p makes equal, but it is the same curve, also
    # where nothing was measured.
    asked = [3, 6, 12, 24]
    values = [prediction.value for prediction in predict(fit, asked)]
    assert values == pytest.approx(
        family.function(np.array(asked, float), p).tolist(), rel=1e-3, abs=1e-6
    )


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_gradients_are_those_of_the_functions(name, data):
    family = FAMILIES[name]
    p, s = drawn(data, family), STEPS.astype(float)
    numeric = [
        (family.function(s, p + h) - family.function(s, p - h)) / 2e-6
        for h in 1e-6 * np.eye(len(p))
    ]
    assert np.allclose(family.gradient(s, p), np.transpose(numeric), atol=1e-6)
    fixed, columns = family.design(s, p[[family.shape]])
    values = fixed + sum(p[at] * column for at, column in zip(family.linear, columns, strict=True))
    assert np.allclose(np.ravel(values), family.function(s, p), rtol=1e-12)
