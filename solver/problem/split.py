"""Splits: some steps of an image on the device, the others at an edge place, as tables."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.columnar import IntArray, column, fault, fields, table, word
from solver.problem.curves import Curve, Rows
from solver.problem.place import MAX_OPTIONS, Column

FIRST = ("local", "edge")
TABLES = ("time", "energy", "error", "utility")


@dataclass(frozen=True, eq=False)
class Split:
    """Options that share an image between the device and the place ``edge``.

    Option number j has ``steps[j - 1]`` in all, of which ``edge_steps[j - 1]`` are made at the edge
    and weigh there; ``first`` names who begins. ``time`` in s, ``energy`` in J, ``error`` and
    ``utility`` are tables over the options, for all users or for each.
    """

    edge: str
    first: str
    steps: IntArray
    edge_steps: IntArray
    time: Curve
    energy: Curve
    error: Curve
    utility: Curve

    @classmethod
    def from_dict(cls, data: object, users: int, edges: list[str], where: str) -> Self:
        """Read a split of ``problem/2``; raises InputError."""
        data = fields(where, data, ["edge", "first", "steps", "edge_steps", *TABLES])
        size = len(data["steps"]) if isinstance(data["steps"], (list, np.ndarray)) else 0
        if not size:
            raise fault(f"{where}.steps", data["steps"], "a list of whole numbers, one an option")
        if size * users > MAX_OPTIONS:
            raise fault(f"{where}.steps", data["steps"], f"{MAX_OPTIONS} options of all users")
        steps, on_edge = (
            np.broadcast_to(
                column(f"{where}.{name}", data[name], size, integer=True, least=1), size
            ).astype(np.int64)
            for name in ("steps", "edge_steps")
        )
        if (on_edge >= steps).any():
            at = int((on_edge >= steps).argmax())
            raise fault(f"{where}.edge_steps[{at}]", int(on_edge[at]), f"less than {steps[at]}")
        if len(set(zip(steps.tolist(), on_edge.tolist()))) < size:
            raise fault(f"{where}.steps", data["steps"], "each pair with edge_steps once")
        tables = (
            Curve(
                "table",
                {
                    "values": table(
                        f"{where}.{name}",
                        data[name],
                        users,
                        np.asarray(size),
                        None if name == "utility" else 0,
                        each="options",
                    )
                },
            )
            for name in TABLES
        )
        return cls(
            word(f"{where}.edge", data["edge"], edges),
            word(f"{where}.first", data["first"], FIRST),
            steps,
            on_edge,
            *tables,
        )

    @property
    def columns(self) -> int:
        """How many options there are."""
        return len(self.steps)

    def part(self, rows: Rows) -> "Split":
        """The split for the users ``rows``."""
        return replace(self, **{name: getattr(self, name).part(rows) for name in TABLES})

    def per_user(self) -> list[Column]:
        """Every array that has a row for each user."""
        curves: list[Curve] = [getattr(self, name) for name in TABLES]
        return [values for curve in curves for values in curve.per_user().values()]

    def tree(self) -> dict[str, object]:
        """The split of ``problem/2``, with arrays as they are."""
        own: dict[str, object] = {
            name: getattr(self, name) for name in ("edge", "first", "steps", "edge_steps")
        }
        return own | {name: getattr(self, name).parameters["values"] for name in TABLES}
