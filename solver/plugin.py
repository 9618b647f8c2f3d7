"""Anyone's own solver, named ``module:function``: given a Problem it returns places and steps; what
they cost is ours to say.
"""

import functools
import importlib
import os
import sys
import traceback

import numpy as np

from solver.allocation import evaluate
from solver.inputs import InputError
from solver.knapsack import Choices


def load(name):
    """The method named ``module:function``: like those of :data:`solver.methods.METHODS`, it gives
    an Allocation of a Problem.

    The module is imported with the current directory first on the path. Its function returns
    ``(offload, steps)``, or an object or a dict with them: a_n of 0 or 1 and s_n >= 1 for each UE.
    InputError, one line naming ``name``, for whatever is wrong: no such module or function, an
    exception of its own, an answer of the wrong form or that is not feasible.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise InputError(f"solver: found '{name}'; allowed: module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = importlib.import_module(module)
        for part in path.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as error:  # noqa: BLE001 whatever it raises is the user's own
        raise _own(name, error) from None
    if not callable(function):
        raise InputError(
            f"{name}: found {type(function).__name__}; allowed: a function of a Problem that returns (offload, steps)"
        )

    @functools.wraps(function)
    def method(problem, **settings):
        choices = Choices.of(problem)
        try:
            answer = function(problem, **settings)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            raise _own(name, error) from None
        given = evaluate(problem, *_pair(name, answer), where=name)
        return choices.allocation(
            np.multiply(given.offload, given.steps), name, np.array(given.steps)
        )

    return method


def _pair(name, answer):
    if isinstance(answer, dict) and {"offload", "steps"} <= answer.keys():
        answer = answer["offload"], answer["steps"]
    elif hasattr(answer, "offload") and hasattr(answer, "steps"):
        answer = answer.offload, answer.steps
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise InputError(
            f"{name}: returned {type(answer).__name__}; allowed: (offload, steps), or an object or a dict with them"
        )
    offload, steps = answer
    if isinstance(offload, np.ndarray) and offload.dtype == bool:
        offload = offload.astype(int)
    return offload, steps


def _own(name, error):
    """The InputError for an exception of the user's own: its type and message, and the last line
    that is not a library's.
    """
    libraries = (os.path.dirname(os.__file__), __file__, "<")
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"{f.filename}:{f.lineno}"
        for f in frames
        if not f.filename.startswith(libraries) and "site-packages" not in f.filename
    ]
    where = f" ({lines[-1]})" if lines else ""
    return InputError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}{where}")
