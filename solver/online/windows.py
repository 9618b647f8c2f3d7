"""Policies that look at many requests at once: the paper's monitor, and one threshold for all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from solver.columnar import FloatArray
from solver.inputs import InputError
from solver.methods import solve
from solver.online.priced import FEWEST, LONG, RESOLVE, Recent
from solver.online.state import Setting, State, cheapest
from solver.online.tables import Tables

#: A monitor's window, in units of a local request.
WINDOW = 0.6
#: The share of the edge's rate that a threshold aims at.
AIM = 0.9


class Window:
    """The paper's monitor: requests are held for a ``window``, s, then allocated to proven
    optimality under the steps that the edge can do in it, S_e^max of eq. (1).
    """

    def __init__(self, setting: Setting) -> None:
        self._tables = setting.tables
        self.window = WINDOW * setting.unit if setting.window is None else setting.window
        self._rate = (np.arange(1, setting.calls.cap + 1) / setting.calls.tick[1:]).max()

    def _steps(self, pace: float) -> int:
        return max(1, int(self.window * self._rate / pace))

    def __call__(self, state: State) -> int:
        return self.decide([state])[0]

    def decide(self, states: Sequence[State]) -> list[int]:
        """Steps at the edge, or 0, for all that were held in a window."""
        problem = self._tables.problem
        budgets = dict.fromkeys(problem.budgets, self._steps(states[0].backlog.pace))
        part = replace(problem.part([state.kind for state in states]), budgets=budgets)
        try:
            allocation = solve(part)
        except InputError:  # more than fits, of those whom only the edge can serve
            return [cheapest(state, state.own) for state in states]
        return [a * s for a, s in zip(allocation.offload, allocation.steps, strict=True)]


class Threshold:
    """One threshold, one step count, after DiffServe: the edge serves those whose image would gain
    most. Both are chosen anew each period, so that what was asked for of late fits the ``aim``, a
    share of the edge.
    """

    def __init__(self, setting: Setting, aim: float = AIM) -> None:
        self._setting, self._aim, self._next = setting, aim, -np.inf
        self._recent = Recent(setting.tables.kinds, LONG * setting.unit)
        self._gain = _quality_gain(setting.tables)
        usual = _finite_median(self._gain)
        self.steps = int(np.nanargmax(np.append(0.0, usual[1:])))
        self._chosen = np.isfinite(self._gain[:, self.steps])

    def __call__(self, state: State) -> int:
        self._recent.add(state.now, state.kind)
        if state.now >= self._next and len(self._recent) >= FEWEST:
            self._next = state.now + RESOLVE * self._setting.unit
            rates = self._recent.rates(state.now, RESOLVE * self._setting.unit)
            self._choose(rates * state.backlog.pace)
        if (self._chosen[state.kind] and state.allowed[self.steps]) or not state.home[0]:
            return self.steps if state.allowed[self.steps] else cheapest(state, state.own)
        return 0 if state.allowed[0] else cheapest(state, state.own)

    def _choose(self, rates: FloatArray) -> None:
        """The step count and the kinds that together gain most, of so many requests in a second at
        pace 1.
        """
        best = -np.inf
        for steps in range(1, self._gain.shape[1]):
            gain = np.where(np.isfinite(self._gain[:, steps]), self._gain[:, steps], -np.inf)
            order = np.argsort(-gain, kind="stable")
            order = order[gain[order] > 0]
            share = float(self._setting.calls.least_share(steps))
            fits = order[np.cumsum(rates[order]) * share <= self._aim]
            total = float(rates[fits] @ gain[fits]) if len(fits) else 0.0
            if total > best + 1e-12:
                best, self.steps = total, steps
                self._chosen = np.zeros(len(gain), bool)
                self._chosen[fits] = True


def _quality_gain(tables: Tables) -> FloatArray:
    """By how much the edge's image is better than the local one, shape (kinds, 1 + steps)."""
    problem, kinds = tables.problem, range(tables.kinds)
    w1, w2, c2 = (problem.weights[name] for name in ("cost", "utility", "error"))
    local = np.append(
        np.full((tables.kinds, 1), np.nan),
        (w1 * c2)[..., None] * problem.error("local") - w2[..., None] * problem.utility("local"),
        axis=1,
    )
    home = np.array([local[kind, tables.at_home(kind)[0]] for kind in kinds])
    home = np.where(np.isnan(home), np.nanmax(local, initial=0.0), home)
    return home[:, None] - tables.fixed


def _finite_median(table: FloatArray) -> FloatArray:
    """The median of the finite values of each column; -inf where there are none."""
    columns = [column[np.isfinite(column)] for column in table.T]
    return np.array([np.median(column) if len(column) else -np.inf for column in columns])
