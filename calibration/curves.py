"""Curve families for error and utility against the number of steps.

Each family is linear in all parameters but one, its *shape* (a rate or an exponent): for a given shape the best
coefficients are an ordinary linear least-squares solution, which gives starting values without guessing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

KINDS = ("error", "utility")

# At a rate of 5 per step 99 % is over in one step, at 1e-5 1 % in 1,000 steps: no step grid tells more extreme ones apart.
_RATE = (1e-5, 5.0)
_ANY = (-np.inf, np.inf)
_POSITIVE = (0.0, np.inf)


@dataclass(frozen=True)
class Family:
    """A curve value = f(steps; parameters).

    ``function(steps, p)`` gives values, shape (n,), for steps, shape (n,), and a parameter vector ``p`` in the order
    of ``parameters``; ``gradient(steps, p)`` the derivatives by the parameters, shape (n, k). ``bounds`` holds one
    (low, high) per parameter and ``shape`` is the index of the parameter that is not linear.
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    function: Callable
    gradient: Callable
    bounds: tuple[tuple[float, float], ...]
    shape: int

    def starts(self, steps, values, sd, count=2):
        """Up to ``count`` parameter vectors to start from, best first: the lowest minima over a grid of shapes."""
        low, high = np.transpose(self.bounds)
        linear = [i for i in range(len(self.parameters)) if i != self.shape]
        tried, misfits = [], []
        for shape in np.geomspace(*self.bounds[self.shape], 50):
            p = np.zeros(len(self.parameters))
            p[self.shape] = shape
            if linear:
                design = self.gradient(steps, p)[:, linear]
                p[linear] = np.linalg.lstsq(design / sd[:, None], (values - self.function(steps, p)) / sd)[0]
                p = np.clip(p, low, high)
            tried.append(p)
            misfits.append(np.sum(((values - self.function(steps, p)) / sd) ** 2))
        around = np.concatenate([[np.inf], misfits, [np.inf]])
        minima = np.flatnonzero((around[1:-1] <= around[:-2]) & (around[1:-1] <= around[2:]))
        return [tried[i] for i in sorted(minima, key=lambda i: misfits[i])[:count]]


def _columns(*columns):
    return np.stack(np.broadcast_arrays(*columns), axis=1)


def _exponential(s, p):
    return p[0] * np.exp(-p[1] * s)


def _exponential_gradient(s, p):
    fall = np.exp(-p[1] * s)
    return _columns(fall, -p[0] * s * fall)


def _power(s, p):
    return p[0] * s ** -p[1]


def _power_gradient(s, p):
    fall = s ** -p[1]
    return _columns(fall, -p[0] * np.log(s) * fall)


def _with_floor(function, gradient):
    return lambda s, p: function(s, p) + p[2], lambda s, p: _columns(*gradient(s, p).T, 1.0)


def _amplitude_gradient(s, p):
    fall = np.exp(-p[1] * s)
    return _columns(1 - fall, p[0] * s * fall)


def _offset_gradient(s, p):
    fall = np.exp(-p[2] * s)
    return _columns(1.0, -fall, p[1] * s * fall)


FAMILIES = {
    family.name: family
    for family in (
        # eq. (4): eps^avg exp(-C1 s)
        Family("exponential", "error", ("scale", "decay"), _exponential, _exponential_gradient, (_POSITIVE, _RATE), 1),
        Family(
            "exponential_floor", "error", ("scale", "decay", "floor"),
            *_with_floor(_exponential, _exponential_gradient), (_POSITIVE, _RATE, _POSITIVE), 1,
        ),
        Family("power", "error", ("scale", "exponent"), _power, _power_gradient, (_POSITIVE, _RATE), 1),
        Family(
            "power_floor", "error", ("scale", "exponent", "floor"),
            *_with_floor(_power, _power_gradient), (_POSITIVE, _RATE, _POSITIVE), 1,
        ),
        # eq. (7): 1 - exp(-C2 s)
        Family(
            "saturating", "utility", ("rate",),
            lambda s, p: 1 - np.exp(-p[0] * s), lambda s, p: _columns(s * np.exp(-p[0] * s)), (_RATE,), 0,
        ),
        # a model that does not reach utility 1
        Family(
            "saturating_amplitude", "utility", ("amplitude", "rate"),
            lambda s, p: p[0] * (1 - np.exp(-p[1] * s)), _amplitude_gradient, (_POSITIVE, _RATE), 1,
        ),
        # nor starts from 0 at no steps, as no measured score does
        Family(
            "saturating_offset", "utility", ("ceiling", "drop", "rate"),
            lambda s, p: p[0] - p[1] * np.exp(-p[2] * s), _offset_gradient, (_ANY, _POSITIVE, _RATE), 2,
        ),
    )
}

PAPER = {"error": "exponential", "utility": "saturating"}


def families(kind):
    """The families of ``kind`` (``error`` or ``utility``), the paper's first."""
    return [family for family in FAMILIES.values() if family.kind == kind]
