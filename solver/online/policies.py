"""Who goes to the edge, with how many steps: decided on one request at a time.

A policy is a function of a :class:`solver.online.state.State` that returns the steps at the edge,
or 0 for the user's own device. It may remember what it saw. ``POLICIES`` makes one by name; one's
own is ``module:function``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from solver import plugin
from solver.columnar import FloatArray
from solver.inputs import InputError, check_keys
from solver.online.priced import Dual, Externality, ExternalityPrice, FixedPrice, WindowPrice
from solver.online.state import Policy, Setting, State, cheapest
from solver.online.windows import Threshold, Window

DEFAULT = "externality_price"


def all_local(state: State) -> int:
    """Everyone at home."""
    return 0 if state.home[0] else cheapest(state, state.own)


def all_edge(state: State) -> int:
    """Everyone at the edge, with the steps that are best for it."""
    return cheapest(state, np.append(np.inf, state.own[1:]))


def selfish(state: State) -> int:
    """Everyone's own best, at the completion time that the edge quotes."""
    return cheapest(state, state.own)


def edf_greedy(state: State) -> int:
    """The most steps that are done by the deadline, and keep those of others; without one, by the
    time that its own device would take.
    """
    due = min(state.tables.deadline[state.kind], state.seconds[0] if state.home[0] else np.inf)
    fits = state.allowed & (state.seconds <= due)
    fits[0] = False
    return int(np.flatnonzero(fits)[-1]) if fits.any() else all_local(state)


def _plain(function: Policy) -> Callable[[Setting], Policy]:
    return lambda setting: function


#: name -> what makes the policy for a :class:`solver.online.state.Setting`
POLICIES: dict[str, Callable[[Setting], Policy]] = {
    "all_local": _plain(all_local),
    "all_edge": _plain(all_edge),
    "selfish": _plain(selfish),
    "fixed_price": FixedPrice,
    "window": Window,
    "window_price": WindowPrice,
    "dual": Dual,
    "externality": lambda setting: Externality(),
    "externality_price": ExternalityPrice,
    "threshold": Threshold,
    "edf_greedy": _plain(edf_greedy),
}

#: Those that need no device, no hindsight and no waiting: what an edge that must serve decides by.
AT_EDGE = [
    name for name in POLICIES if name not in ("all_local", "fixed_price", "window", "threshold")
]


def charge(policy: Policy, state: State) -> FloatArray:
    """What a policy charges for each option beside its own cost, shape (1 + steps,): zeros where it
    has no method ``charge``.
    """
    own = getattr(policy, "charge", None)
    return np.zeros(len(state.options.seconds)) if own is None else np.asarray(own(state), float)


def find_policy(name: str, setting: Setting) -> Policy:
    """A new policy of that name, one of ``POLICIES`` or ``module:function``.

    A function of one's own takes a State and returns a step count, 0 for local; a class of one's
    own takes a Setting and makes such a function. Raises InputError for an unknown name, and, when
    it is called, for an exception of one's own function or an answer that is not allowed.
    """
    if ":" not in name:
        check_keys("policy", [name], POLICIES)
        return POLICIES[name](setting)
    function = plugin.imported(name)
    if isinstance(function, type):
        with plugin.own_code(name):
            function = function(setting)
    if not callable(function):
        raise InputError(
            f"{name}: found {type(function).__name__}; allowed: a function of a State that returns "
            "steps at the edge, or 0"
        )
    return _Own(name, function)


class _Own:
    """One's own policy, whose answers are checked."""

    def __init__(self, name: str, function: Callable[[State], Any]) -> None:
        self._name, self._function = name, function

    def charge(self, state: State) -> FloatArray:
        with plugin.own_code(self._name):
            charged = charge(self._function, state) + np.zeros(len(state.options.seconds))
        if not np.isfinite(charged[1:]).all():
            found = charged[1:][~np.isfinite(charged[1:])][0]
            raise InputError(f"{self._name}: charge: found {found}; allowed: finite numbers")
        return charged

    def __call__(self, state: State) -> int:
        with plugin.own_code(self._name):
            steps = self._function(state)
        if (
            isinstance(steps, bool)
            or not isinstance(steps, (int, np.integer))
            or not 0 <= steps < len(state.allowed)
            or not state.allowed[steps]
        ):
            allowed = np.flatnonzero(state.allowed)
            raise InputError(
                f"{self._name}: found {steps!r} for a request of kind {state.kind}; allowed: a step"
                f" count of state.allowed, here {', '.join(map(str, allowed[:40]))}"
            )
        return int(steps)
