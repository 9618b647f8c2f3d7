"""The allocation problem P1, eq. (8)-(9): N users, places with limits, one choice a user."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from solver.columnar import BoolArray, FloatArray, IntArray
from solver.inputs import InputError
from solver.problem import files
from solver.problem.curves import Rows
from solver.problem.load import Load, is_met
from solver.problem.place import Column, Place, part
from solver.problem.split import Split

PLACES = ("local", "edge")  # PLACES[a_n] is where user n computes, in problem/1
WEIGHTS = ("cost", "utility", "time", "error", "energy")  # w1, w2, c1, c2, c3


@dataclass(frozen=True, eq=False)
class Problem:
    """P1, eq. (8)-(9), the fields of ``problem/1`` and ``problem/2``.

    ``places`` by name, ``local`` first: the device, which draws on nothing. ``loads`` says what
    each other place draws on, and ``budgets`` are S_e^max of (1), in weighed steps, by the name of
    the place that has it. ``splits`` by name share an image between the device and a place.
    ``weights`` maps each of :data:`WEIGHTS` to an array of shape () or (users,): ``cost`` w1,
    ``utility`` w2, ``time`` c1 in 1/s, ``error`` c2 and ``energy`` c3 in 1/J. ``deadline`` in s and
    ``max_error`` are None, or arrays of shape () or (users,); inf: none. ``labels`` are None, or
    names that the maker of the problem gives the users, each a list of ``users`` strings; no solver
    reads them. ``where`` names the source in messages.
    """

    users: int
    budgets: Mapping[str, int]
    weights: Mapping[str, FloatArray]
    places: Mapping[str, Place]
    loads: Mapping[str, Load]
    splits: Mapping[str, Split]
    deadline: FloatArray | None = None
    max_error: FloatArray | None = None
    labels: dict[str, list[str]] | None = None
    where: str = "problem"

    @classmethod
    def from_dict(cls, data: object, where: str = "problem") -> Self:
        """Read a ``problem/1`` or ``problem/2`` object.

        Raises InputError, one line, for whatever the format does not allow.
        """
        return cls(**files.read(data, where), where=str(where))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a ``.npz`` or (any other suffix) JSON file; raises InputError."""
        return cls.from_dict(files.load(path), where=str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.npz`` or (any other suffix) JSON file, atomically."""
        files.save(path, self._tree())

    def to_dict(self) -> dict[str, Any]:
        """The object of numbers and lists, ``problem/1`` where that can say it all.

        Power is in watts, k f^3 computed.
        """
        return files.plain(self._tree())

    def _tree(self) -> dict[str, object]:
        return files.tree(self.is_version_1, vars(self))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The places and after them the splits: ``names[a_n]`` is where user n computes."""
        return (*self.places, *self.splits)

    @cached_property
    def is_plain(self) -> bool:
        """Whether a device, one edge place and one budget of its steps are all that there is."""
        loads = list(self.loads.values())
        return loads == [Load(next(iter(self.budgets)))] and not self.splits

    @property
    def is_version_1(self) -> bool:
        """Whether ``problem/1`` can say it all."""
        limits = [limit for limit in (self.deadline, self.max_error) if limit is not None]
        return (
            self.is_plain
            and tuple(self.places) == PLACES
            and not self.edge.transfer_time.any()
            and not self.edge.transfer_energy.any()
            and all(np.isfinite(limit).all() for limit in limits)
        )

    @property
    def local(self) -> Place:
        """The device."""
        return self.places["local"]

    @property
    def edge(self) -> Place:
        """The first edge place."""
        return self.places[next(iter(self.loads))]

    @property
    def edge_budget(self) -> int:
        """The budget that the first edge place draws on, S_e^max of (1)."""
        return self.budgets[next(iter(self.loads.values())).budget]

    def place(self, name: str) -> Place:
        """The place of that name."""
        return self.places[name]

    def _at(self, name: str) -> Place | Split:
        return self.places[name] if name in self.places else self.splits[name]

    def part(self, rows: Rows) -> "Problem":
        """The problem of the users ``rows`` alone, under the whole budgets, unlabelled.

        All users, ``slice(None)``, are the problem itself.
        """
        if isinstance(rows, slice) and rows == slice(None):
            return self
        return Problem(
            users=_count(rows, self.users),
            budgets=self.budgets,
            loads=self.loads,
            weights={name: part(value, rows) for name, value in self.weights.items()},
            places={name: place.part(rows) for name, place in self.places.items()},
            splits={name: split.part(rows) for name, split in self.splits.items()},
            deadline=None if self.deadline is None else part(self.deadline, rows),
            max_error=None if self.max_error is None else part(self.max_error, rows),
            where=self.where,
        )

    def per_user(self) -> list[Column]:
        """Every array that has a row for each user: together they tell users apart."""
        limits = [*self.weights.values(), self.deadline, self.max_error]
        own: list[Column] = [value for value in limits if value is not None and value.ndim]
        for name in self.names:
            own += self._at(name).per_user()
        return own

    def steps(self, place: str) -> IntArray:
        """1, 2, ..., max over users of max_steps: the columns of the arrays below.

        Of a split, here and below, the numbers of its options.
        """
        return np.arange(1, self._at(place).columns + 1)

    def time(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """T_{n,r}(s) = overhead + s step_time + transfer_time, s: eq. (3) with intercepts.

        ``steps``, here and below, is :meth:`steps` if not given, or an integer array of shape
        (users, k), each user's own; the result is read-only and has shape (users, steps) or
        (users, k).
        """
        here, steps = self._at(place), self.steps(place) if steps is None else steps
        if isinstance(here, Split):
            return self._full(here.time.at(steps), steps)
        start = here.overhead + here.transfer_time
        return self._full(start[..., None] + steps * here.step_time[..., None], steps)

    def energy(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """E_{n,r}(s) = power x (overhead + s step_time) + transfer_energy, J, eqs. (5), (6).

        Shapes as of :meth:`time`.
        """
        here, steps = self._at(place), self.steps(place) if steps is None else steps
        if isinstance(here, Split):
            return self._full(here.energy.at(steps), steps)
        busy = here.overhead[..., None] + steps * here.step_time[..., None]
        return self._full(here.power[..., None] * busy + here.transfer_energy[..., None], steps)

    def error(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """eps_n(s), eq. (4) or the table, NaN past its end; shapes as of :meth:`time`."""
        steps = self.steps(place) if steps is None else steps
        return self._full(self._at(place).error.at(steps), steps)

    def utility(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """U_n(s), eq. (7) or the table, NaN past its end; shapes as of :meth:`time`."""
        steps = self.steps(place) if steps is None else steps
        return self._full(self._at(place).utility.at(steps), steps)

    def cost(self, place: str, steps: IntArray | None = None) -> FloatArray:
        """R~_{n,r}(s) = w1 (c1 T + c2 eps + c3 E) - w2 U, the summand of eq. (8), un-shifted.

        Shapes as of :meth:`time`. +inf marks an option that is not allowed: outside
        min_steps..max_steps (2), past the deadline, or above max_error
        (:func:`~solver.problem.load.is_met`); of a split, not ``allowed``, or if it does not say,
        with more steps at a place than the place's max_steps. Raises InputError if an allowed
        option costs so much that the sum over users may overflow.
        """
        steps = self.steps(place) if steps is None else steps
        if not steps.size:
            return np.empty((self.users, steps.shape[-1]))
        return self._cost(place, steps, self.error(place, steps), self.utility(place, steps))

    def quantities(self, place: str, steps: IntArray) -> tuple[FloatArray, ...]:
        """Cost, time, energy, error and utility at ``steps``, as the five methods give them."""
        error, utility = self.error(place, steps), self.utility(place, steps)
        cost = self._cost(place, steps, error, utility)
        return cost, self.time(place, steps), self.energy(place, steps), error, utility

    def _cost(
        self, place: str, steps: IntArray, error: FloatArray, utility: FloatArray
    ) -> FloatArray:
        here = self._at(place)
        w1, w2, c1, c2, c3 = (self.weights[name] for name in WEIGHTS)
        # overflow is reported below; NaN lies outside the allowed steps
        with np.errstate(over="ignore", invalid="ignore"):
            # filled in place, as allocating memory takes longer than the arithmetic
            cost = np.empty((self.users, steps.shape[-1]))
            if isinstance(here, Split):
                time, energy = self.time(place, steps), self.energy(place, steps)
                cost[:] = w1[..., None] * (c1[..., None] * time + c3[..., None] * energy)
            else:
                step, image = self.time_costs(place)
                np.multiply(steps.astype(float), step[..., None], out=cost)
                cost += image[..., None]
            term = (w1 * c2)[..., None] * error
            cost += term
            cost -= np.multiply(w2[..., None], utility, out=term)
        allowed = self._allowed(place, steps, error)
        most = 1e300 / self.users
        flat = cost.ravel()
        if not (-most <= np.minimum.reduce(flat) and np.maximum.reduce(flat) <= most):
            wrong = ~(np.abs(cost) <= most) & (True if allowed is None else allowed)
            if wrong.any():
                user, index = np.argwhere(wrong)[0]
                step = np.broadcast_to(steps, cost.shape)[user, index]
                raise InputError(
                    f"{self.where}: {place}: user {user}: "
                    f"the cost of {step} steps is too large to be summed up"
                )
        return cost if allowed is None else np.where(allowed, cost, np.inf)

    def time_costs(self, place: str) -> tuple[FloatArray, FloatArray]:
        """What the seconds and joules of a step at a place cost, and of an image beside its steps.

        Each has shape () or (users,). Overflow is the caller's to notice.
        """
        here, (w1, _, c1, _, c3) = self.places[place], (self.weights[name] for name in WEIGHTS)
        second = w1 * (c1 + c3 * here.power)
        image = second * here.overhead
        image = image + w1 * (c1 * here.transfer_time + c3 * here.transfer_energy)
        return second * here.step_time, image

    def _allowed(self, place: str, steps: IntArray, error: FloatArray) -> BoolArray | None:
        """Which options (2), ``deadline`` and ``max_error`` allow; None if all of them."""
        here, masks = self._at(place), []
        if isinstance(here, Split) and here.allowed is not None:
            masks.append(here.allowed.at(steps) > 0)
        elif isinstance(here, Split):
            made = here.edge_steps[steps - 1], here.steps[steps - 1] - here.edge_steps[steps - 1]
            for name, part_made in zip((here.edge, "local"), made, strict=True):
                masks.append(part_made <= self.places[name].max_steps[..., None])
        elif steps.min() < here.open_to_all[0] or steps.max() > here.open_to_all[1]:
            masks += [steps >= here.min_steps[..., None], steps <= here.max_steps[..., None]]
        if self.deadline is not None:
            masks.append(is_met(self.time(place, steps), self.deadline[..., None]))
        if self.max_error is not None:
            masks.append(is_met(error, self.max_error[..., None]))
        if not masks:
            return None
        allowed = masks[0]
        for mask in masks[1:]:
            allowed = allowed & mask
        return allowed

    def _full(self, array: FloatArray, like: np.ndarray) -> FloatArray:
        shape = (self.users, like.shape[-1])
        if array.shape != shape:
            return np.broadcast_to(array, shape)
        array.flags.writeable = False
        return array


def _count(rows: Rows, users: int) -> int:
    """How many users ``rows`` are, which may be a mask too."""
    if isinstance(rows, slice):
        return len(range(*rows.indices(users)))
    index = np.asarray(rows)
    return int(index.sum()) if index.dtype == bool else len(index)
