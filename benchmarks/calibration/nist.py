"""NIST's certified problems of nonlinear regression (StRD), and how well they are solved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.fitting.least_squares import minimise, response
from calibration.statistics import Array

DATA = Path(__file__).parents[1] / "data" / "nist"

#: {problem: model}, values of ``x`` for parameters ``b``, which may be complex.
MODELS: dict[str, Callable[[NDArray[Any], Array], NDArray[Any]]] = {
    "Misra1a": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "BoxBOD": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Chwirut2": lambda b, x: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Lanczos3": lambda b, x: (
        b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)
    ),
    "MGH17": lambda b, x: b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4]),
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
    "Rat42": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Thurber": lambda b, x: (
        (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)
    ),
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "Eckerle4": lambda b, x: b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Roszman1": lambda b, x: b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi,
}


class Problem(NamedTuple):
    """Points ``x``, ``y``, shape (n,), and two ``starts``, shape (2, k); the certified ``values``
    of the parameters and their ``standard_errors``, shape (k,).
    """

    x: Array
    y: Array
    starts: Array
    values: Array
    standard_errors: Array


class Digits(NamedTuple):
    """The least number of correct digits, at most the 11 that NIST certifies."""

    values: float
    standard_errors: float


def certified(name: str) -> Problem:
    """The problem ``name`` as NIST publishes it."""
    rows = [
        line.split()
        for line in (DATA / f"{name}.dat").read_text().splitlines()
        if not line.startswith("#")
    ]
    parameters = np.array([row[1:] for row in rows if row[0].startswith("b")], float).T
    y, x = np.array([row for row in rows if row[0][0] in "-.0123456789"], float).T
    return Problem(x, y, parameters[:2], parameters[2], parameters[3])


def solve(name: str, start: int) -> Digits:
    """The digits of the problem ``name``, solved from its start 1 or 2."""
    problem, model = certified(name), MODELS[name]

    def gradient(b: Array, step: float = 1e-200) -> Array:
        """Exact: the imaginary part of a step too small to round."""
        size = np.maximum(np.abs(b), 1e-8)
        moved = b.astype(complex) + 1j * step * size[:, None] * np.eye(len(b))
        return np.stack([model(p, problem.x).imag for p in moved], 1) / (step * size)

    b = minimise(
        lambda b: model(b, problem.x),
        gradient,
        problem.y,
        np.ones_like(problem.y),
        problem.starts[start - 1 : start],
    )
    inverse, _ = response(gradient(b))
    squares = np.sum((problem.y - model(b, problem.x)) ** 2)
    errors = np.sqrt(np.sum(inverse**2, axis=1) * squares / (len(problem.y) - len(b)))
    return Digits(_digits(b, problem.values), _digits(errors, problem.standard_errors))


def _digits(values: Array, certified: Array) -> float:
    error = np.maximum(np.abs(values / certified - 1), 1e-11)
    return float(np.clip(np.min(-np.log10(error)), 0, 11))
