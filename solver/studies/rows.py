"""The rows of studies; ``to_dict`` gives what a table or a CSV file shows, by column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from solver.allocation import ROUNDING, Allocation

TOTALS = ("time", "energy", "error", "utility")  # sums in s and J, means over users


@dataclass(frozen=True)
class ComparedRow:
    """One method in a comparison: ``runs`` of it, and their numbers; None where it has none.

    ``gap`` is (objective - optimum) / max(|objective|, |optimum|); ``time``, in s, and ``energy``,
    in J, are sums over users, ``error`` and ``utility`` means; ``seconds`` is what a run took.
    """

    solver: str
    runs: int
    objective: float | None = None
    gap: float | None = None
    time: float | None = None
    energy: float | None = None
    error: float | None = None
    utility: float | None = None
    seconds: float | None = None
    note: str = ""

    @classmethod
    def of(cls, allocation: Allocation, optimum: float, note: str = "") -> Self:
        """The row of one run, with its gap to ``optimum``."""
        excess = allocation.objective - optimum
        size = max(abs(allocation.objective), abs(optimum))
        # below lies rounding, by the order of summation
        gap = 0.0 if abs(excess) <= ROUNDING * size else excess / size
        totals = {name: getattr(allocation, name) for name in TOTALS}
        own = {"objective": allocation.objective, "seconds": allocation.seconds}
        return cls(allocation.solver, 1, gap=gap, note=note, **own, **totals)

    def to_dict(self) -> dict[str, Any]:
        """The columns."""
        return dict(vars(self))


@dataclass(frozen=True)
class SweptRow:
    """One method at one ``value`` of ``key``; None where it has no allocation, as ``note`` says.

    ``solver``: None if it is the only one. Where the problem has one budget alone, ``edge_price``
    is what one more step is worth and ``prices`` are None; else ``prices`` are those of all limits
    by name. The others are as in :class:`solver.Allocation`.
    """

    key: str
    value: float
    solver: str | None
    objective: float | None = None
    edge_price: float | None = None
    prices: Mapping[str, float | None] | None = None
    users_on_edge: int | None = None
    edge_steps: int | None = None
    time: float | None = None
    energy: float | None = None
    error: float | None = None
    utility: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The columns; of several limits one for each price."""
        columns: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "key":
                columns[self.key] = self.value
            elif name == "prices":
                columns |= {f"price of {limit}": each for limit, each in (value or {}).items()}
            elif (
                name != "value"
                and not (name == "solver" and value is None)
                and not (name == "edge_price" and self.prices is not None)
            ):
                columns[name] = value
        return columns


@dataclass(frozen=True)
class FrontRow:
    """The totals of the optimum under the weights w1, w2, c1, c2 and c3.

    ``gap``: relative, how far from the optimum it is at most.
    """

    w1: float
    w2: float
    c1: float
    c2: float
    c3: float
    time: float
    energy: float
    error: float
    utility: float
    gap: float

    def to_dict(self) -> dict[str, Any]:
        """The columns."""
        return dict(vars(self))


Row = ComparedRow | SweptRow | FrontRow
