"""Step counts and ranges of true parameters that the tests of fitting share."""

import numpy as np
from hypothesis import strategies as st

STEPS = np.array([1, 2, 4, 8, 16, 32])
RANGES = {
    "scale": (0.2, 5),
    "decay": (0.05, 0.6),
    "floor": (0.02, 0.5),
    "exponent": (0.3, 2),
    "rate": (0.05, 0.6),
    "amplitude": (0.2, 2),
    "ceiling": (0.3, 1),
    "drop": (0.1, 1),
}


def drawn(data, family):
    """Parameters of ``family``, drawn by hypothesis."""
    return np.array([data.draw(st.floats(*RANGES[parameter])) for parameter in family.parameters])


def member(fit, name):
    """The fit of one family."""
    return next(estimate for estimate in fit.families if estimate.family == name)
