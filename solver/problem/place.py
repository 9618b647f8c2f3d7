"""One place where a user can compute: its limits, and what it costs in seconds and joules."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray, column, fields
from solver.problem.curves import ERROR_FAMILIES, UTILITY_FAMILIES, Curve, Rows

#: What only a place of ``problem/2`` may have: seconds and joules of an offloaded image's transfer.
TRANSFER = ("transfer_time", "transfer_energy")

#: Largest users x max_steps. The exact method needs no table of them all; a method that does says
#: how much memory it lacks (:func:`solver.limits.check_memory`).
MAX_OPTIONS = 1_000_000_000

Column = FloatArray | IntArray
COLUMNS = ("max_steps", "min_steps", "step_time", "overhead", "power", *TRANSFER)


@dataclass(frozen=True, eq=False)
class Place:
    """What one place costs each user; arrays of shape () or (users,).

    ``max_steps`` is S_{n,r}^max of (2), where 0 means that this place cannot serve the user, and
    ``min_steps`` >= 1 the fewest steps; ``step_time`` and ``overhead`` are in s, ``power`` in W.
    ``transfer_time``, in s, and ``transfer_energy``, in J, are spent once for each image.
    """

    max_steps: IntArray
    min_steps: IntArray
    step_time: FloatArray
    overhead: FloatArray
    power: FloatArray
    error: Curve
    utility: Curve
    transfer_time: FloatArray
    transfer_energy: FloatArray

    @classmethod
    def from_dict(
        cls,
        data: object,
        users: int,
        min_steps: FloatArray,
        where: str,
        others: Sequence[str] = (),
    ) -> Self:
        """Read a place; ``min_steps`` holds unless the place has its own.

        ``others`` are optional fields beside those of ``problem/1``. Raises InputError, one line
        that starts with ``where``.
        """
        if isinstance(data, dict) and "power" not in data:
            # the paper's k and f may also stand directly in the place
            split = {key: data[key] for key in data if key in ("coefficient", "frequency")}
            if split:
                data = {key: data[key] for key in data if key not in split} | {"power": split}
        data = fields(
            where,
            data,
            ["max_steps", "step_time", "overhead", "power", "error", "utility"],
            ["min_steps", *others],
        )
        max_steps = column(
            f"{where}.max_steps", data["max_steps"], users, integer=True, most=MAX_OPTIONS // users
        ).astype(np.int64)
        if "min_steps" in data:
            min_steps = read_min_steps(f"{where}.min_steps", data["min_steps"], users)
        return cls(
            max_steps=max_steps,
            min_steps=min_steps.astype(np.int64),
            step_time=column(f"{where}.step_time", data["step_time"], users),
            overhead=column(f"{where}.overhead", data["overhead"], users),
            power=_power(f"{where}.power", data["power"], users),
            error=Curve.from_dict(
                data["error"], ERROR_FAMILIES, users, max_steps, 0, f"{where}.error"
            ),
            utility=Curve.from_dict(
                data["utility"], UTILITY_FAMILIES, users, max_steps, None, f"{where}.utility"
            ),
            transfer_time=column(f"{where}.transfer_time", data.get("transfer_time", 0.0), users),
            transfer_energy=column(
                f"{where}.transfer_energy", data.get("transfer_energy", 0.0), users
            ),
        )

    @cached_property
    def columns(self) -> int:
        """The largest step count of any user."""
        return int(self.max_steps.max())

    @cached_property
    def open_to_all(self) -> tuple[int, int]:
        """The fewest and the most steps that (2) allows every user; none if these are fewer."""
        return int(self.min_steps.max()), int(self.max_steps.min())

    def part(self, rows: Rows) -> "Place":
        """The place for the users ``rows``."""
        own = {name: part(getattr(self, name), rows) for name in COLUMNS}
        return Place(**own, error=self.error.part(rows), utility=self.utility.part(rows))

    def beside(self, other: "Place", where: BoolArray) -> "Place":
        """The ``other`` place for the users ``where``, shape (users,), and this for the rest.

        Both have curves of the same parametric families.
        """
        own = {name: _chosen(where, getattr(other, name), getattr(self, name)) for name in COLUMNS}
        error, utility = (
            Curve(
                mine.family,
                {
                    name: _chosen(where, theirs.parameters[name], value)
                    for name, value in mine.parameters.items()
                },
            )
            for mine, theirs in ((self.error, other.error), (self.utility, other.utility))
        )
        return Place(**own, error=error, utility=utility)

    def per_user(self) -> list[Column]:
        """Every array that has a row for each user."""
        own: list[Column] = [*self.error.per_user().values(), *self.utility.per_user().values()]
        return own + [value for name in COLUMNS if (value := getattr(self, name)).ndim]

    def tree(self) -> dict[str, object]:
        """The place as an object, with arrays as they are."""
        tree: dict[str, object] = {"max_steps": self.max_steps}
        if (self.min_steps != 1).any():
            tree["min_steps"] = self.min_steps
        tree |= {"step_time": self.step_time, "overhead": self.overhead, "power": self.power}
        for name, curve in (("error", self.error), ("utility", self.utility)):
            tree[name] = {"family": curve.family, **curve.parameters}
        return tree | {name: value for name in TRANSFER if (value := getattr(self, name)).any()}


def read_min_steps(where: str, value: object, users: int) -> FloatArray:
    """Whole numbers >= 1."""
    return column(where, value, users, integer=True, least=1, most=MAX_OPTIONS)


def part(values: np.ndarray, rows: Rows) -> np.ndarray:
    """A column for the users ``rows``."""
    return values[rows] if values.ndim else values


def _chosen(where: BoolArray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """``np.where``, but one number for all users stays one number."""
    return no if not yes.ndim and not no.ndim and yes == no else np.where(where, yes, no)


def _power(where: str, value: object, users: int) -> FloatArray:
    """Watts, or k f^3 of eqs. (5), (6) from ``{"coefficient": k, "frequency": f}``."""
    if isinstance(value, dict):
        value = fields(where, value, ["coefficient", "frequency"])
        k, f = (column(f"{where}.{name}", value[name], users) for name in value)
        with np.errstate(over="ignore"):  # an infinite power is refused below
            value = k * f**3
    return column(where, value, users)
