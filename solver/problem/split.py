"""Splits: some steps of an image on the device, the others at an edge place, as tables."""

from dataclasses import dataclass, replace
from typing import Any, Self

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
    ``utility`` are tables over the options, for all users or for each, and so is ``allowed``: above
    0 where a user may take the option; None: where both places' ``max_steps`` hold for its parts.
    """

    edge: str
    first: str
    steps: IntArray
    edge_steps: IntArray
    time: Curve
    energy: Curve
    error: Curve
    utility: Curve
    allowed: Curve | None = None

    @classmethod
    def from_dict(cls, data: object, users: int, edges: list[str], where: str) -> Self:
        """Read a split of ``problem/2``; raises InputError."""
        data = fields(where, data, ["edge", "first", "steps", "edge_steps", *TABLES], ["allowed"])
        size = len(data["steps"]) if isinstance(data["steps"], (list, np.ndarray)) else 0
        if not size:
            raise fault(f"{where}.steps", data["steps"], "a list of whole numbers, one an option")
        if size * users > MAX_OPTIONS:
            raise fault(f"{where}.steps", data["steps"], f"{MAX_OPTIONS} options of all users")
        most = MAX_OPTIONS // users
        steps, on_edge = (
            np.broadcast_to(
                column(f"{where}.{name}", data[name], size, integer=True, least=1, most=most), size
            ).astype(np.int64)
            for name in ("steps", "edge_steps")
        )
        if (on_edge >= steps).any():
            at = int((on_edge >= steps).argmax())
            raise fault(f"{where}.edge_steps[{at}]", int(on_edge[at]), f"less than {steps[at]}")
        if len(set(zip(steps.tolist(), on_edge.tolist()))) < size:
            raise fault(f"{where}.steps", data["steps"], "each pair with edge_steps once")
        cover = np.asarray(size)
        tables = {
            name: Curve(
                "table",
                {
                    "values": table(
                        f"{where}.{name}",
                        data[name],
                        users,
                        cover,
                        None if name == "utility" else 0,
                        each="options",
                    )[..., :size]
                },
            )
            for name in (*TABLES, "allowed")
            if name in data
        }
        return cls(
            word(f"{where}.edge", data["edge"], edges),
            word(f"{where}.first", data["first"], FIRST),
            steps,
            on_edge,
            **tables,
        )

    @property
    def columns(self) -> int:
        """How many options there are."""
        return len(self.steps)

    @property
    def tables(self) -> dict[str, Curve]:
        """What has a value an option, by name."""
        tables = {name: getattr(self, name) for name in (*TABLES, "allowed")}
        return {name: curve for name, curve in tables.items() if curve is not None}

    def at_most(self, edge_steps: int) -> "Split":
        """With no more steps at the edge; where nothing is ``allowed``, its max_steps say so."""
        if self.allowed is None:
            return self
        values = self.allowed.parameters["values"] * (self.edge_steps <= edge_steps)
        return replace(self, allowed=Curve("table", {"values": values}))

    def part(self, rows: Rows) -> "Split":
        """The split for the users ``rows``."""
        parts: dict[str, Any] = {name: curve.part(rows) for name, curve in self.tables.items()}
        return replace(self, **parts)

    def per_user(self) -> list[Column]:
        """Every array that has a row for each user."""
        return [row for curve in self.tables.values() for row in curve.per_user().values()]

    def tree(self) -> dict[str, object]:
        """The split of ``problem/2``, with arrays as they are."""
        own: dict[str, object] = {
            name: getattr(self, name) for name in ("edge", "first", "steps", "edge_steps")
        }
        return own | {name: curve.parameters["values"] for name, curve in self.tables.items()}
