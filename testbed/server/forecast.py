"""What each number of steps would come to now, on the edge or on a device."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """What each number of ``steps`` (n,) comes to: arrays of shape (n,).

    ``seconds`` until decoded with their 95 % interval; ``energy_j``; ``error`` and ``utility``,
    None without profiles; ``cost`` is eq. (8)'s for the request alone. In the same unit, ``harm``
    is what the delay of those present costs them, and ``price`` what the policy charges for others.
    """

    steps: NDArray[np.int_]
    seconds: Array
    low: Array
    high: Array
    energy_j: Array
    error: Array | None
    utility: Array | None
    cost: Array
    harm: Array
    price: Array

    def where(self, chosen: NDArray[np.bool_]) -> "Forecast":
        """The rows that are ``chosen``."""
        rows: dict[str, Any] = {
            name: None if values is None else values[chosen] for name, values in vars(self).items()
        }
        return replace(self, **rows)

    def to_dict(self) -> dict[str, Any]:
        """Lists, as JSON has them."""
        return {name: None if v is None else v.tolist() for name, v in vars(self).items()}
