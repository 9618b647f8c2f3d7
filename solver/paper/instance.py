"""The paper's experiment as a problem."""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from solver.problem import PLACES, WEIGHTS, Problem


def paper_instance(
    edge_budget: int = 300,
    *,
    users: int = 30,
    decay: ArrayLike = 0.1,
    rate: ArrayLike = 0.1,
    max_steps: Sequence[int] = (20, 50),
    weights: Sequence[float] = (0.5, 0.5, 1 / 3, 1 / 3, 1 / 3),
) -> Problem:
    """The published setting of section V: N = 30, Delta t = 1/500 and 1/1000 s, eps^avg = 1.

    Frequencies are f = 1.5 and g = 10 GHz with k = 0.01, so powers are k f^3 = 0.03375 and 10 W.
    The paper does not publish C_1 of eq. (4), here ``decay``, C_2 of eq. (7), here ``rate`` (each
    one number or one for each user), nor (S_{n,0}^max, S_{n,1}^max) of (2), here ``max_steps``.
    ``weights`` are w1, w2, c1, c2, c3, and ``edge_budget`` is S_e^max.
    """
    places = {
        place: {
            "max_steps": most,
            "step_time": step_time,
            "overhead": 0.0,
            "power": {"coefficient": 0.01, "frequency": frequency},
            "error": {"family": "exponential", "scale": 1.0, "decay": decay},
            "utility": {"family": "saturating", "rate": rate},
        }
        for place, most, step_time, frequency in zip(
            PLACES, max_steps, (1 / 500, 1 / 1000), (1.5, 10.0), strict=True
        )
    }
    data = {
        "schema": "problem/1",
        "users": users,
        "edge_budget": edge_budget,
        "weights": dict(zip(WEIGHTS, weights, strict=True)),
    }
    return Problem.from_dict(data | places, where="the paper's instance")
