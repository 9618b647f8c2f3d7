"""Curve families for error and utility against the number of steps.

Each family is linear in all parameters but one, its *shape* (a rate or an exponent). For a given
shape the best coefficients are an ordinary linear least-squares solution (see
:mod:`calibration.fitting.profile_likelihood`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.statistics import Array

KINDS = ("error", "utility")

Bounds = tuple[float, float]
_Function = Callable[[Array, Array], Array]
_Columns = Callable[[Array, Array], tuple[Array, ...]]

# A rate of 5 per step completes 99 % of the change in one step; a rate of 1e-5 completes 1 % in
# 1,000 steps. No step grid distinguishes more extreme rates.
_RATE = (1e-5, 5.0)
_ANY = (-np.inf, np.inf)
_POSITIVE = (0.0, np.inf)


@dataclass(frozen=True)
class Family:
    """A curve value = f(steps; parameters).

    ``function(steps, p)`` gives values, shape (n,), for steps, shape (n,), and a parameter vector
    ``p`` in the order of ``parameters``; ``gradient(steps, p)`` the derivatives by the parameters,
    shape (n, k). ``columns(steps, shape)`` are what the linear parameters multiply, in their order;
    without any the values follow from the shape. ``bounds`` holds one (low, high) per parameter.
    ``shape`` is the index of the nonlinear parameter. ``within`` names the families that contain
    this one: a curve without a floor is one with a floor of 0.
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    function: _Function
    gradient: _Function
    columns: _Columns
    bounds: tuple[Bounds, ...]
    shape: int
    within: tuple[str, ...] = ()

    @property
    def linear(self) -> list[int]:
        """The indices of the linear parameters."""
        return [i for i in range(len(self.parameters)) if i != self.shape]

    def design(self, steps: Array, shapes: Array) -> tuple[Array, tuple[Array, ...]]:
        """The linear problem at each of ``shapes``, shape (g,), for ``steps``, shape (n,).

        Returns the part of the values without a coefficient, shape (n, g) or (), and the columns
        that the linear parameters multiply, each of shape (n, g).
        """
        s = steps[:, None]
        fixed = np.zeros(()) if self.linear else self.function(s, shapes[None])
        return fixed, self.columns(s, shapes)


def families(kind: str) -> list[Family]:
    """The families of ``kind`` (``error`` or ``utility``), the paper's first."""
    return [family for family in FAMILIES.values() if family.kind == kind]


def _columns(*columns: ArrayLike) -> Array:
    shape = np.broadcast(*columns).shape
    stacked = np.empty((*shape, len(columns)))  # np.stack takes thrice as long for few numbers
    for index, column in enumerate(columns):
        stacked[..., index] = column
    return stacked


def _ones(s: Array, shape: Array) -> Array:
    """The column of a constant."""
    return np.ones(np.broadcast(s, shape).shape)


def _exponential(s: Array, p: Array) -> Array:
    return p[0] * np.exp(-p[1] * s)


def _exponential_columns(s: Array, decay: Array) -> tuple[Array, ...]:
    return (np.exp(-decay * s),)


def _exponential_gradient(s: Array, p: Array) -> Array:
    decayed = np.exp(-p[1] * s)
    return _columns(decayed, -p[0] * s * decayed)


def _power(s: Array, p: Array) -> Array:
    return p[0] * s ** -p[1]


def _power_columns(s: Array, exponent: Array) -> tuple[Array, ...]:
    return (s**-exponent,)


def _power_gradient(s: Array, p: Array) -> Array:
    decayed = s ** -p[1]
    return _columns(decayed, -p[0] * np.log(s) * decayed)


def _with_floor(
    function: _Function, gradient: _Function, columns: _Columns
) -> tuple[_Function, _Function, _Columns]:
    """The function, gradient and columns of a two-parameter family plus a floor."""
    return (
        lambda s, p: function(s, p) + p[2],
        lambda s, p: _columns(*np.moveaxis(gradient(s, p), -1, 0), 1.0),
        lambda s, shape: (*columns(s, shape), _ones(s, shape)),
    )


def _saturating(s: Array, p: Array) -> Array:
    return 1 - np.exp(-p[0] * s)


def _saturating_gradient(s: Array, p: Array) -> Array:
    return _columns(s * np.exp(-p[0] * s))


def _amplitude(s: Array, p: Array) -> Array:
    return p[0] * (1 - np.exp(-p[1] * s))


def _amplitude_gradient(s: Array, p: Array) -> Array:
    decayed = np.exp(-p[1] * s)
    return _columns(1 - decayed, p[0] * s * decayed)


def _offset(s: Array, p: Array) -> Array:
    return p[0] - p[1] * np.exp(-p[2] * s)


def _offset_gradient(s: Array, p: Array) -> Array:
    decayed = np.exp(-p[2] * s)
    return _columns(1.0, -decayed, p[1] * s * decayed)


def _ceiling(s: Array, p: Array) -> Array:
    return p[0] - p[1] * s ** -p[2]


def _ceiling_gradient(s: Array, p: Array) -> Array:
    decayed = s ** -p[2]
    return _columns(1.0, -decayed, p[1] * np.log(s) * decayed)


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
            _exponential_columns,
            (_POSITIVE, _RATE),
            shape=1,
            within=("exponential_floor",),
        ),
        Family(
            "exponential_floor",
            "error",
            ("scale", "decay", "floor"),
            *_with_floor(_exponential, _exponential_gradient, _exponential_columns),
            (_POSITIVE, _RATE, _POSITIVE),
            shape=1,
        ),
        Family(
            "power",
            "error",
            ("scale", "exponent"),
            _power,
            _power_gradient,
            _power_columns,
            (_POSITIVE, _RATE),
            shape=1,
            within=("power_floor",),
        ),
        Family(
            "power_floor",
            "error",
            ("scale", "exponent", "floor"),
            *_with_floor(_power, _power_gradient, _power_columns),
            (_POSITIVE, _RATE, _POSITIVE),
            shape=1,
        ),
        # eq. (7): 1 - exp(-C2 s)
        Family(
            "saturating",
            "utility",
            ("rate",),
            _saturating,
            _saturating_gradient,
            lambda s, shape: (),
            (_RATE,),
            shape=0,
            within=("saturating_amplitude", "saturating_offset"),
        ),
        # for a model that does not reach utility 1
        Family(
            "saturating_amplitude",
            "utility",
            ("amplitude", "rate"),
            _amplitude,
            _amplitude_gradient,
            lambda s, shape: (1 - np.exp(-shape * s),),
            (_POSITIVE, _RATE),
            shape=1,
            within=("saturating_offset",),
        ),
        # for a score that is not 0 at 0 steps, as no measured score is
        Family(
            "saturating_offset",
            "utility",
            ("ceiling", "drop", "rate"),
            _offset,
            _offset_gradient,
            lambda s, shape: (_ones(s, shape), -np.exp(-shape * s)),
            (_ANY, _POSITIVE, _RATE),
            shape=2,
        ),
        Family(
            "power_ceiling",
            "utility",
            ("ceiling", "drop", "exponent"),
            _ceiling,
            _ceiling_gradient,
            lambda s, shape: (_ones(s, shape), -(s**-shape)),
            (_ANY, _POSITIVE, _RATE),
            shape=2,
        ),
    )
}

#: The paper's family of each kind.
PAPER = {"error": "exponential", "utility": "saturating"}
