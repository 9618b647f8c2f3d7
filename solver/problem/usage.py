"""What a choice takes of each limit of a problem, and which of the options it is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solver.columnar import IntArray, column, fault
from solver.inputs import InputError, check_keys
from solver.problem.place import MAX_OPTIONS
from solver.problem.problem import Problem


def option_numbers(
    problem: Problem, places: IntArray, steps: IntArray, edge_steps: ArrayLike | None, where: str
) -> tuple[IntArray, IntArray]:
    """The number of each user's option at its place, and its steps at an edge place."""
    number, on_edge = steps, np.where(places > 0, steps, 0)
    if problem.is_plain and edge_steps is None:
        return number, on_edge
    number = number.copy()
    given = None
    if edge_steps is not None:
        given = integers(f"{where}: edge_steps", edge_steps, problem.users, 0, MAX_OPTIONS)
    for index, (name, split) in enumerate(problem.splits.items(), start=len(problem.places)):
        for user in np.flatnonzero(places == index):
            fits = split.steps == steps[user]
            if given is not None:
                fits &= split.edge_steps == given[user]
            if fits.sum() != 1:
                shown = "" if given is None else f", {given[user]} of them on the edge"
                raise InputError(
                    f"{where}: steps[{user}]: found {steps[user]}{shown}; allowed: those of one "
                    f"option of splits.{name} of {problem.where}, told apart by edge_steps"
                )
            number[user] = 1 + fits.argmax()
            on_edge[user] = split.edge_steps[fits.argmax()]
    if given is not None and (given != on_edge).any():
        at = int((given != on_edge).argmax())
        raise fault(f"{where}: edge_steps[{at}]", int(given[at]), f"{on_edge[at]}")
    return number, on_edge


def edges_of(problem: Problem) -> NDArray[np.str_]:
    """By the index of a place or a split: where its edge steps are made; local: none are."""
    return np.array([*problem.places, *(split.edge for split in problem.splits.values())])


def used_of(problem: Problem, places: IntArray, on_edge: IntArray, where: str) -> dict[str, float]:
    """What a choice takes of each limit, by name: steps, users, seconds; raises InputError."""
    edge = edges_of(problem)[places]
    used: dict[str, float] = dict.fromkeys(problem.budgets, 0)
    allowed: dict[str, float] = dict(problem.budgets)
    for name, load in problem.loads.items():
        own = on_edge[edge == name]
        used[load.budget] += load.step_weight * int(own.sum())
        if load.slots is not None:
            used[f"{name}.slots"], allowed[f"{name}.slots"] = len(own), load.slots
        if span := load.makespan:
            steps, longest = int(own.sum()), int(own.max(initial=0))
            key = f"{name}.makespan"
            used[key] = span.per_step * steps + span.per_longest_step * longest
            allowed[key] = max(span.limit, used[key] if span.is_kept(steps, longest) else 0.0)
    for name, value in used.items():
        if value > allowed[name]:
            raise InputError(
                f"{where}: steps: found {value:g} of {name}; "
                f"allowed: that of {problem.where}, {allowed[name]:g}"
            )
    return used


def checked_prices(
    prices: Mapping[str, float], used: Mapping[str, float], where: str
) -> dict[str, float]:
    """``prices`` of all limits, 0 where none is given; raises InputError."""
    check_keys(f"{where}: prices", prices, used)
    return {name: float(column(f"{where}: prices.{name}", prices.get(name, 0.0))) for name in used}


def integers(
    where: str, value: ArrayLike, users: int, least: int, most: int | None = None
) -> IntArray:
    """A list of one whole number for each user, shape (users,); raises InputError."""
    if isinstance(value, np.ndarray) and value.dtype == np.int64 and value.shape == (users,):
        low, high = np.minimum.reduce(value), np.maximum.reduce(value)
        if least <= low and (most is None or high <= most):
            return value  # the quick case
    array = column(where, value, users, integer=True, least=least, most=most)
    return np.broadcast_to(array, users).astype(np.int64)
