"""Curve families for error and utility against the number of steps.

Each family is linear in all parameters but one, its *shape* (a rate or an exponent): for a given
shape the best coefficients are an ordinary linear least-squares solution (see
:mod:`calibration.fitting.profile_likelihood`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

KINDS = ("error", "utility")

# At a rate of 5 per step 99 % is over in one step, at 1e-5 1 % in 1,000 steps: no step grid tells
# more extreme ones apart.
_RATE = (1e-5, 5.0)
_ANY = (-np.inf, np.inf)
_POSITIVE = (0.0, np.inf)


@dataclass(frozen=True)
class Family:
    """A curve value = f(steps; parameters).

    ``function(steps, p)`` gives values, shape (n,), for steps, shape (n,), and a parameter vector
    ``p`` in the order of ``parameters``; ``gradient(steps, p)`` the derivatives by the parameters,
    shape (n, k). ``bounds`` holds one (low, high) per parameter and ``shape`` is the index of the
    parameter that is not linear. ``within`` names the families that contain this one (as a floor of
    0 is within a floor).
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    function: Callable
    gradient: Callable
    bounds: tuple[tuple[float, float], ...]
    shape: int
    within: tuple[str, ...] = ()

    @property
    def linear(self):
        """The indices of the linear parameters."""
        return [i for i in range(len(self.parameters)) if i != self.shape]

    def design(self, steps, shapes):
        """The linear problem at each of ``shapes``, shape (g,): the part without coefficients,
        shape (g, n), and the columns that the linear parameters multiply, shape (g, n, number of
        them).
        """
        p = np.zeros((len(self.parameters), len(shapes), 1))
        p[self.shape] = np.asarray(shapes)[:, None]
        fixed = np.broadcast_to(self.function(steps, p), (len(shapes), len(steps)))
        return fixed, self.gradient(steps, p)[..., self.linear]


def _columns(*columns):
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


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
    return lambda s, p: function(s, p) + p[2], lambda s, p: _columns(
        *np.moveaxis(gradient(s, p), -1, 0), 1.0
    )


def _amplitude_gradient(s, p):
    fall = np.exp(-p[1] * s)
    return _columns(1 - fall, p[0] * s * fall)


def _offset_gradient(s, p):
    fall = np.exp(-p[2] * s)
    return _columns(1.0, -fall, p[1] * s * fall)


def _ceiling_gradient(s, p):
    fall = s ** -p[2]
    return _columns(1.0, -fall, p[1] * np.log(s) * fall)


FAMILIES = {
    family.name: family
    for family in (
        # eq. (4): eps^avg exp(-C1 s)
        Family(
            "exponential",
            "error",
            ("scale", "decay"),
            _exponential,
            _exponential_gradient,
            (_POSITIVE, _RATE),
            1,
            ("exponential_floor",),
        ),
        Family(
            "exponential_floor",
            "error",
            ("scale", "decay", "floor"),
            *_with_floor(_exponential, _exponential_gradient),
            (_POSITIVE, _RATE, _POSITIVE),
            1,
        ),
        Family(
            "power",
            "error",
            ("scale", "exponent"),
            _power,
            _power_gradient,
            (_POSITIVE, _RATE),
            1,
            ("power_floor",),
        ),
        Family(
            "power_floor",
            "error",
            ("scale", "exponent", "floor"),
            *_with_floor(_power, _power_gradient),
            (_POSITIVE, _RATE, _POSITIVE),
            1,
        ),
        # eq. (7): 1 - exp(-C2 s)
        Family(
            "saturating",
            "utility",
            ("rate",),
            lambda s, p: 1 - np.exp(-p[0] * s),
            lambda s, p: _columns(s * np.exp(-p[0] * s)),
            (_RATE,),
            0,
            ("saturating_amplitude", "saturating_offset"),
        ),
        # a model that does not reach utility 1
        Family(
            "saturating_amplitude",
            "utility",
            ("amplitude", "rate"),
            lambda s, p: p[0] * (1 - np.exp(-p[1] * s)),
            _amplitude_gradient,
            (_POSITIVE, _RATE),
            1,
            ("saturating_offset",),
        ),
        # nor starts from 0 at no steps, as no measured score does
        Family(
            "saturating_offset",
            "utility",
            ("ceiling", "drop", "rate"),
            lambda s, p: p[0] - p[1] * np.exp(-p[2] * s),
            _offset_gradient,
            (_ANY, _POSITIVE, _RATE),
            2,
        ),
        Family(
            "power_ceiling",
            "utility",
            ("ceiling", "drop", "exponent"),
            lambda s, p: p[0] - p[1] * s ** -p[2],
            _ceiling_gradient,
            (_ANY, _POSITIVE, _RATE),
            2,
        ),
    )
}

PAPER = {"error": "exponential", "utility": "saturating"}


def families(kind):
    """The families of ``kind`` (``error`` or ``utility``), the paper's first."""
    return [family for family in FAMILIES.values() if family.kind == kind]
