"""All methods on one problem, with their gaps to the optimum."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from solver.allocation import Allocation
from solver.inputs import InputError
from solver.methods import METHODS, solve
from solver.problem import Problem
from solver.studies.rows import TOTALS, ComparedRow

#: Options, users x step counts on the edge, beyond which HiGHS is not tried.
MILP_OPTIONS = 1_000_000
#: What random has the mean and the deviation of.
AVERAGED = ("objective", "gap", *TOTALS, "seconds")


class Runs(NamedTuple):
    """The runs of one method in a comparison; none where it cannot solve the problem."""

    solver: str
    allocations: list[Allocation]
    note: str = ""

    @property
    def objective(self) -> float:
        """The best objective."""
        return min((run.objective for run in self.allocations), default=np.inf)

    def rows(self, optimum: float) -> Iterator[ComparedRow]:
        """One row, or for ``random`` two, with gaps to ``optimum``."""
        rows = [ComparedRow.of(run, optimum, self.note) for run in self.allocations]
        if not rows:
            yield ComparedRow(self.solver, 0, note=self.note)
        elif self.solver != "random":
            yield from rows
        else:
            for label, function in (("mean", np.mean), ("deviation", np.std)):
                values = {
                    name: float(function([getattr(row, name) for row in rows])) for name in AVERAGED
                }
                note = self.note if label == "mean" else ""
                yield ComparedRow(f"random, {label}", len(rows), note=note, **values)


def _runs(
    problem: Problem,
    exact: Allocation,
    others: Iterable[str | Callable[..., Any]],
    seeds: int,
    first_seed: int,
    time_limit: float,
) -> Iterator[Runs]:
    """The runs of every method; those of ``others`` early, as someone's own may be wrong."""
    yield Runs("exact", [exact])
    for other in others:
        allocation = solve(problem, other)
        yield Runs(allocation.solver, [allocation])
    for name in [name for name in METHODS if name not in ("exact", "random")]:
        limited = {"time_limit": time_limit} if name == "milp" else {}
        try:
            options = problem.users * sum(len(problem.steps(name)) for name in problem.names[1:])
            if limited and options > MILP_OPTIONS:
                raise InputError(f"not tried on {options:,} options; at most {MILP_OPTIONS:,}")
            allocation = solve(problem, name, **limited)
        except (InputError, RuntimeError) as error:
            yield Runs(name, [], str(error))
            continue
        stopped = limited and allocation.status == "feasible" and allocation.seconds >= time_limit
        yield Runs(name, [allocation], f"stopped after {time_limit:g} s" if stopped else "")
    draws: list[Allocation] = []
    start = time.perf_counter()
    try:
        for seed in range(first_seed, first_seed + seeds):
            if draws and time.perf_counter() - start > time_limit:
                break
            draws.append(solve(problem, "random", seed=seed))
    except InputError as error:
        yield Runs("random", draws, str(error))
        return
    yield Runs("random", draws)


def compare(
    problem: Problem,
    others: Iterable[str | Callable[..., Any]] = (),
    seeds: int = 100,
    first_seed: int = 0,
    time_limit: float = 10.0,
) -> Iterator[ComparedRow]:
    """Yield one row for each of :data:`~solver.methods.METHODS` and of ``others``.

    ``others`` are methods that :func:`~solver.methods.solve` takes. ``gap`` is the one to the
    proven optimum, and the exact method comes first. Where it proves none, the best objective
    comes first and stands for the optimum, and the note says how far off it is at most. ``random``
    has two rows, mean and standard deviation over ``seeds`` runs from ``first_seed`` on, or over
    the runs begun in ``time_limit`` seconds, which is HiGHS's limit too. A method that cannot solve
    the problem has None and a ``note``. Raises InputError if the problem is infeasible or one of
    ``others`` is wrong.
    """
    exact = solve(problem)
    runs = _runs(problem, exact, others, seeds, first_seed, time_limit)
    best = exact.objective
    if exact.status != "optimal":
        every = list(runs)
        best = min(run.objective for entry in every for run in entry.allocations)
        every.sort(key=lambda entry: entry.objective > best)
        bound = f"the optimum is at least {exact.lower_bound:.10g}, proven"
        every[0] = every[0]._replace(note="; ".join(filter(None, [every[0].note, bound])))
        runs = iter(every)
    for entry in runs:
        yield from entry.rows(best)
