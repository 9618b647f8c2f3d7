"""What a place draws on: a budget of steps, slots of concurrent users, and its batch's makespan."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.columnar import FloatArray, column, fault, fields, whole

#: Relative rounding up to which a limit counts as kept: 3 steps of 0.1 s keep one of 0.3 s.
TOLERANCE = 1e-12
#: What a step may weigh: that of all steps together is a whole number of 64 bits.
MAX_WEIGHT = 1_000_000_000


@dataclass(frozen=True)
class Makespan:
    """alpha sum(s) + beta max(s) <= D over the users of a place, whose batch takes that long.

    ``per_step``, alpha, and ``per_longest_step``, beta, are in s; ``limit``, D, is in s.
    """

    per_step: float
    per_longest_step: float
    limit: float

    @classmethod
    def from_dict(cls, data: object, where: str) -> Self:
        """Read the object of ``problem/2``; raises InputError."""
        names = ["per_step", "per_longest_step", "limit"]
        data = fields(where, data, names)
        return cls(*(float(column(f"{where}.{name}", data[name])) for name in names))

    def is_kept(self, steps: int, longest: int) -> bool:
        """Whether a batch of so many ``steps`` in all, ``longest`` of one user, keeps the limit."""
        seconds = self.per_step * steps + self.per_longest_step * longest
        return seconds <= self.limit * (1 + TOLERANCE)

    def capacity(self, longest: int, most: int) -> int:
        """The most steps in all, up to ``most``, that keep the limit; -1 if not even 0 do."""
        if self.is_kept(most, longest):
            return most
        if not self.is_kept(0, longest):
            return -1
        spare = self.limit * (1 + TOLERANCE) - self.per_longest_step * longest
        steps = min(most, math.floor(spare / self.per_step))
        while not self.is_kept(steps, longest):
            steps -= 1
        while self.is_kept(steps + 1, longest):
            steps += 1
        return steps


@dataclass(frozen=True)
class Load:
    """What the users of an edge place draw on.

    Each of their steps weighs ``step_weight`` on the budget named ``budget``; at most ``slots``
    users are served at the place, and their batch keeps its ``makespan``; None: no such limit.
    """

    budget: str
    step_weight: int = 1
    slots: int | None = None
    makespan: Makespan | None = None

    @classmethod
    def from_dict(cls, data: dict[str, object], budget: str, where: str) -> Self:
        """Read the fields of an edge place of ``problem/2``; raises InputError."""
        slots, makespan = data.get("slots"), data.get("makespan")
        return cls(
            budget=budget,
            step_weight=whole(
                f"{where}.step_weight", data.get("step_weight", 1), least=1, most=MAX_WEIGHT
            ),
            slots=None if slots is None else whole(f"{where}.slots", slots),
            makespan=None
            if makespan is None
            else Makespan.from_dict(makespan, f"{where}.makespan"),
        )

    def tree(self) -> dict[str, object]:
        """The fields of ``problem/2`` that are not as by default, but for ``budget``."""
        tree: dict[str, object] = {}
        if self.step_weight != 1:
            tree["step_weight"] = self.step_weight
        if self.slots is not None:
            tree["slots"] = self.slots
        if self.makespan is not None:
            tree["makespan"] = vars(self.makespan)
        return tree


def read_budget(where: str, value: object, names: list[str]) -> int | str:
    """A number of steps, or the name of the place whose budget is shared; raises InputError."""
    if isinstance(value, str):
        if value not in names:
            raise fault(where, value, f"a number of steps, or one of {', '.join(names)}")
        return value
    return whole(where, value)


def is_met(values: FloatArray, limit: FloatArray) -> np.ndarray:
    """Whether ``values`` keep a limit, up to rounding."""
    return values <= limit * (1 + TOLERANCE)
