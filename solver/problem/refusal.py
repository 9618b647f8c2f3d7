"""Why a user cannot be served: which limit fails, and by how much."""

from dataclasses import replace
from typing import NoReturn

import numpy as np

from solver.columnar import BoolArray
from solver.inputs import InputError
from solver.problem.load import is_met
from solver.problem.problem import Problem


def check_served(problem: Problem, served: BoolArray) -> None:
    """Raise InputError for the first user without any option; ``served``, shape (users,)."""
    if not served.all():
        _refuse_user(problem, int(served.argmin()), int((~served).sum()) - 1)


def _refuse_user(problem: Problem, index: int, more: int) -> NoReturn:
    """Raise InputError for a user without any option: the limit that fails, and by how much."""
    who = f"user {index}" + (f" (and {more} more)" if more else "")
    user, ranges, times, errors = problem.part([index]), [], [], []
    free = replace(user, deadline=None, max_error=None)
    for name in problem.names:
        allowed = np.isfinite(free.cost(name)[0])
        times.append(user.time(name)[0, allowed])
        errors.append(user.error(name)[0, allowed])
        if name in problem.places:
            here = user.place(name)
            ranges.append(f"{name} {here.min_steps.max()}..{here.max_steps.max()}")
    time, error = np.concatenate(times), np.concatenate(errors)
    if not len(time):
        raise InputError(
            f"{problem.where}: max_steps: {who}: no step count is allowed: "
            f"min_steps..max_steps is {' and '.join(ranges)}"
        )
    limits = [
        ("deadline", " s", time, user.deadline),
        ("max_error", "", error, user.max_error),
    ]
    for name, unit, values, limit in limits:
        if limit is not None and not is_met(values.min(), most := limit.max()):
            raise InputError(
                f"{problem.where}: {name}: {who}: no step count satisfies {name} {most:g}{unit}: "
                f"at least {values.min():g}{unit} is needed, {values.min() - most:.3g}{unit} more"
            )
    assert user.deadline is not None and user.max_error is not None
    # each limit can be met alone, but not both together
    deadline, largest = user.deadline.max(), user.max_error.max()
    reach = error[is_met(time, deadline)].min()
    raise InputError(
        f"{problem.where}: max_error: {who}: no step count satisfies max_error {largest:g} "
        f"within deadline {deadline:g} s: "
        f"the error there is at least {reach:g}, {reach - largest:.3g} more"
    )
