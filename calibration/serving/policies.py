"""Who chooses the steps of a request that leaves them open."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """What each number of ``steps`` (n,) comes to: arrays of shape (n,).

    ``seconds`` until decoded with their 95 % interval; ``energy_j``; ``error`` and ``utility``,
    None without profiles; ``cost`` is eq. (8)'s for the request alone, and ``price`` what it costs
    the others, in the same unit.
    """

    steps: NDArray[np.int_]
    seconds: Array
    low: Array
    high: Array
    energy_j: Array
    error: Array | None
    utility: Array | None
    cost: Array
    price: Array

    def where(self, chosen: NDArray[np.bool_]) -> "Tables":
        """The rows that are ``chosen``."""
        rows: dict[str, Any] = {
            name: None if values is None else values[chosen] for name, values in vars(self).items()
        }
        return replace(self, **rows)

    def to_dict(self) -> dict[str, Any]:
        """Lists, as JSON has them."""
        return {name: None if v is None else v.tolist() for name, v in vars(self).items()}


@dataclass(frozen=True)
class State:
    """The queue: requests ``running`` in the batch and ``waiting``, the iterations ``remaining`` of
    each in order, the ``cap`` of the batch, arrivals a second of late, and the time (s, UTC).
    """

    running: int
    waiting: int
    remaining: tuple[int, ...]
    cap: int
    arrival_rate: float
    time: float


Policy = Callable[[Tables, State], int]


def own_best(tables: Tables, state: State) -> int:
    """The least cost to the request itself."""
    return int(tables.steps[np.argmin(tables.cost)])


def priced(tables: Tables, state: State) -> int:
    """The least cost to the request and to those that are served beside it."""
    return int(tables.steps[np.argmin(tables.cost + tables.price)])


#: Who chooses the steps of "auto", of those that meet deadline and max_error.
POLICIES: dict[str, Policy] = {"own_best": own_best, "priced": priced}
