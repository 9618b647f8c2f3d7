"""Plug-ins: a solver of one's own gives places and steps; what they cost is computed here."""

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from solver.allocation import Allocation, evaluate
from solver.exact.prices import priced
from solver.inputs import InputError
from solver.knapsack import Knapsack
from solver.options import Choice
from solver.problem import Problem


def load(name: str) -> Callable[..., Allocation]:
    """The method named ``module:function``, as :func:`adapt` makes it of the function.

    Raises InputError, one line that starts with ``name``, as :func:`imported` does.
    """
    return adapt(imported(name), name)


def imported(name: str) -> Any:
    """What is named ``module:function``, whatever it is.

    The module is imported with the current directory first on the path. Raises InputError, one
    line that starts with ``name``, if there is no such module or function, or importing fails.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise InputError(f"solver: found '{name}'; allowed: module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with own_code(name):
        function = importlib.import_module(module)
        for part in path.split("."):
            function = getattr(function, part)
    return function


def adapt(function: object, name: str | None = None) -> Callable[..., Allocation]:
    """A method, like those of :data:`solver.methods.METHODS`, of anyone's function of a Problem.

    The function returns ``(offload, steps)``, or an object or a dict with them: a_n and s_n >= 1
    for each user, as :func:`solver.evaluate` takes them, and optionally third ``edge_steps``. The
    method raises InputError, one line that starts with ``name``, for an exception of the function
    and for an answer that has the wrong form or is not feasible.
    """
    label = name_of(function) if name is None else name
    if not callable(function):
        raise InputError(
            f"{label}: found {type(function).__name__}; "
            "allowed: a function of a Problem that returns (offload, steps)"
        )

    @functools.wraps(function)
    def method(problem: Problem, **settings: object) -> Allocation:
        if problem.is_plain:
            Knapsack.of(problem)  # refuses what is infeasible
        with own_code(label):
            answer = function(problem, **settings)
        offload, steps, edge_steps = _parts(label, answer)
        given = evaluate(problem, offload, steps, where=label, edge_steps=edge_steps)
        on_edge = np.multiply(given.offload, given.steps)
        if given.edge_steps is not None:
            on_edge = np.array(given.edge_steps)
        choice = Choice(np.array(given.offload), np.array(given.steps), on_edge)
        return priced(problem, choice, label)

    return method


def name_of(function: object) -> str:
    """``module:function`` of a function, or of the class of any other object."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _parts(name: str, answer: Any) -> tuple[Any, Any, Any]:
    if isinstance(answer, dict) and {"offload", "steps"} <= answer.keys():
        answer = answer["offload"], answer["steps"], answer.get("edge_steps")
    elif hasattr(answer, "offload") and hasattr(answer, "steps"):
        answer = answer.offload, answer.steps, getattr(answer, "edge_steps", None)
    if not isinstance(answer, (tuple, list)) or len(answer) not in (2, 3):
        raise InputError(
            f"{name}: returned {type(answer).__name__}; "
            "allowed: (offload, steps), or an object or a dict with them"
        )
    offload, steps, *edge_steps = answer
    if isinstance(offload, np.ndarray) and offload.dtype == bool:
        offload = offload.astype(int)
    return offload, steps, edge_steps[0] if edge_steps else None


@contextmanager
def own_code(name: str) -> Iterator[None]:
    """Raise :func:`own_error` of what the user's code in the block raises, which may be anything,
    or where it ends the program.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raise own_error(name, error) from None


def own_error(name: str, error: BaseException) -> InputError:
    """The InputError for an exception of the user's own code: its type, its message and the line.

    The line is the last that is not a library's.
    """
    libraries = (os.path.dirname(os.__file__), __file__, "<")
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(libraries) and "site-packages" not in frame.filename
    ]
    where = f" ({lines[-1]})" if lines else ""
    return InputError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}{where}")
