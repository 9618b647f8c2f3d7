"""Plot of how the paper's method converges, for :mod:`benchmarks.solver.paper_gap`."""

import io

import numpy as np

from solver import solve
from solver.inputs import write_atomic
from solver.paper.algorithms import algorithm_3, rounded
from solver.problem import PLACES


def plot(path, problem):
    """Eq. (8) against passes, of each iterate and rounded, from several starts.

    Below it the distance of a from 0 and 1.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    best = solve(problem).objective
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(7, 5.5), height_ratios=(3, 1)
    )
    for (name, settings), colour in zip(
        [
            ("half, tau = 1e5", {}),
            ("random, tau = 1e5", {"start": "random"}),
            ("half, tau grown", {"tau": None}),
        ],
        ("C0", "C1", "C2"),
    ):
        trace = algorithm_3(problem, **settings)
        places = [rounded(problem, i.a, i.s) for i in trace]
        exact = [objective(problem, weight, local) for weight, local in places]
        top.plot([i.objective for i in trace], colour, label=name)
        top.plot(exact, colour, linestyle=":", linewidth=1.2)
        bottom.plot([np.maximum(i.fraction, 1e-6) for i in trace], colour)
        starts = [k for k in range(1, len(trace)) if trace[k].outer != trace[k - 1].outer]
        top.plot(
            starts,
            [trace[k].objective for k in starts],
            colour,
            marker="o",
            markersize=3,
            linestyle="none",
        )
    top.axhline(best, color="black", linewidth=1, label="optimum")
    top.set_ylabel("eq. (8); dotted: rounded")
    top.legend(frameon=False)
    bottom.set_yscale("log")
    bottom.set_ylabel("max min(a, 1 - a)")
    bottom.set_xlabel("passes of Algorithm 2; dots: a new round of Algorithm 3")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    write_atomic(path, buffer.getvalue())


def objective(problem, weight, local):
    """Eq. (8) of edge steps, 0 for local, and local steps."""
    rows, (here, edge) = np.arange(problem.users), (problem.cost(place) for place in PLACES)
    return float(
        np.where(weight > 0, edge[rows, np.maximum(weight, 1) - 1], here[rows, local - 1]).sum()
    )
