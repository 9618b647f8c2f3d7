"""Small problems and engines for the online tests."""

import numpy as np

from solver.online import Calls, Tables
from solver.problem import Problem

CALLS = Calls.of(
    0.014 + 0.0033 * np.arange(1, 9), 0.007 + 0.0005 * np.arange(1, 9), 0.011 * np.arange(1, 9)
)


def problem(users=4, local_steps=6, edge_steps=8, seed=0, **limits):
    """Kinds of request with curves and devices of their own."""
    rng = np.random.default_rng(seed)

    def curve(low, high):
        return rng.uniform(low, high, users).tolist()

    return Problem.from_dict(
        {
            "schema": "problem/1",
            "users": users,
            "edge_budget": 1000,
            "weights": {"cost": 0.5, "utility": 0.5, "time": 0.6, "error": 0.6, "energy": 0.02},
            "local": {
                "max_steps": local_steps,
                "step_time": curve(0.04, 0.2),
                "overhead": 0.02,
                "power": 8.0,
                "error": {"family": "exponential", "scale": 1.0, "decay": curve(0.1, 0.2)},
                "utility": {"family": "saturating", "rate": curve(0.1, 0.3)},
            },
            "edge": {
                "max_steps": edge_steps,
                "step_time": 0.017,
                "overhead": 0.02,
                "power": 20.0,
                "error": {"family": "exponential", "scale": 0.9, "decay": curve(0.3, 0.6)},
                "utility": {"family": "saturating", "rate": curve(0.4, 0.8)},
            },
            **limits,
        }
    )


def tables(**settings):
    """Tables of such a problem."""
    return Tables.of(problem(**settings))


def stream(tables, rate, count, seed=0):
    """Kinds and arrival times, s, of a Poisson stream."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, tables.kinds, count)
    return kind, np.cumsum(rng.exponential(1 / rate, count))
