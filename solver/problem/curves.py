"""Error and utility as functions of the number of denoising steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from solver.columnar import FloatArray, IntArray, column, fault, fields, table, word

#: Users: an array or a list of their indices, or a slice.
Rows = IntArray | list[int] | slice


class Family(NamedTuple):
    """A parametric curve: ``form(s, **parameters)``, whose arguments broadcast against s."""

    parameters: tuple[str, ...]
    form: Callable[..., FloatArray]


def _exp(exponent: FloatArray) -> FloatArray:
    """exp in place: allocating fresh memory takes longer than the function."""
    return np.exp(exponent, out=exponent)


ERROR_FAMILIES = {
    # eq. (4)
    "exponential": Family(("scale", "decay"), lambda s, scale, decay: scale * _exp(-decay * s)),
    "exponential_floor": Family(
        ("scale", "decay", "floor"),
        lambda s, scale, decay, floor: scale * _exp(-decay * s) + floor,
    ),
    "power_floor": Family(
        ("scale", "exponent", "floor"),
        lambda s, scale, exponent, floor: scale * s**-exponent + floor,
    ),
}
#: eq. (7)
UTILITY_FAMILIES = {"saturating": Family(("rate",), lambda s, rate: -np.expm1(-rate * s))}
FAMILIES = ERROR_FAMILIES | UTILITY_FAMILIES
POSITIVE = {"decay", "exponent", "rate"}  # C1, C2 > 0; the other parameters may be 0


@dataclass(frozen=True, eq=False)
class Curve:
    """Error or utility against steps: a parametric family, or a table.

    ``parameters`` maps each parameter to an array of shape () or (users,). A table has only
    ``values``, shape (width,) or (users, width), with NaN after the end of a user's row.
    """

    family: str
    parameters: Mapping[str, FloatArray]

    @classmethod
    def from_dict(
        cls,
        data: object,
        families: Mapping[str, Family],
        users: int,
        max_steps: IntArray,
        least: float | None,
        where: str,
    ) -> Self:
        """Read one of ``families`` or a table that covers ``max_steps``, with values >= ``least``.

        Raises InputError, one line that starts with ``where``.
        """
        if not isinstance(data, dict) or "family" not in data:
            raise fault(where, data, f"an object with a family: {', '.join(families)} or table")
        family = word(f"{where}.family", data["family"], [*families, "table"])
        names = ("values",) if family == "table" else families[family].parameters
        data = fields(where, data, ["family", *names])
        if family == "table":
            values = table(f"{where}.values", data["values"], users, max_steps, least)
            return cls(family, {"values": values})
        return cls(
            family,
            {
                name: column(f"{where}.{name}", data[name], users, above=name in POSITIVE)
                for name in names
            },
        )

    def part(self, rows: Rows) -> "Curve":
        """The curve of the users ``rows``."""
        per_user = self.per_user()
        return Curve(
            self.family,
            {
                name: value[rows] if name in per_user else value
                for name, value in self.parameters.items()
            },
        )

    def per_user(self) -> dict[str, FloatArray]:
        """The parameters that have a row for each user."""
        ndim = 2 if self.family == "table" else 1
        return {name: value for name, value in self.parameters.items() if value.ndim == ndim}

    def at(self, steps: IntArray) -> FloatArray:
        """The curve at ``steps``: 1, 2, ..., or an array of shape (users, k), each user's own.

        The result broadcasts to (users, steps) or (users, k).
        """
        if self.family == "table":
            values = self.parameters["values"]
            if steps.ndim == 1:
                return values[..., : len(steps)]
            rows = np.broadcast_to(values, (len(steps), values.shape[-1]))
            return np.take_along_axis(rows, steps - 1, axis=1)
        form = FAMILIES[self.family].form
        arguments = {name: value[..., None] for name, value in self.parameters.items()}
        return form(steps.astype(float), **arguments)
