"""Plots of the paper's figures, sweeps, Pareto fronts and comparisons, from the rows of their
tables. Neither pyplot nor a display.
"""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from solver.inputs import write_atomic
from testbed.report.plots import STYLE
from testbed.tables import heading

#: Okabe and Ito's colours, told apart by the colour-blind; markers and dashes tell them apart in
#: print.
LOOKS = [
    {"color": "#000000", "marker": "o", "linestyle": "-"},
    {"color": "#0072b2", "marker": "s", "linestyle": (0, (5, 1.5))},
    {"color": "#d55e00", "marker": "^", "linestyle": (0, (3, 1.2, 1, 1.2))},
    {"color": "#009e73", "marker": "D", "linestyle": (0, (1.2, 1.2))},
]
GREY = {"color": "#8a939e", "linewidth": 1.2}
BUDGET = "edge budget $S_e^{max}$, steps"
FIG1 = {"time": "(a) total time $T$, s", "accuracy": "(b) mean accuracy $1-\\epsilon$", "energy": "(c) total energy $E$, J"}
METHOD_TITLES = {
    "exact": "proven optimum",
    "paper": "the paper's algorithm\nfrom $a=\\frac{1}{2}$",
    "paper, random starts": "the paper's algorithm,\nmean of random starts",
}


def fig1(rows, paths):
    """Fig. 1 (a)-(c): a row of panels for each method, a line for each weighting, random as mean
    and 5 to 95 % band.
    """
    methods = [name for name in METHOD_TITLES if any(row["method"] == name for row in rows)]
    weightings = list(dict.fromkeys(row["weighting"] for row in rows if row["method"] != "random"))
    random = [row for row in rows if row["method"] == "random"]

    def draw(figure):
        grid = figure.subplots(len(methods), len(FIG1), sharex=True, sharey="col", squeeze=False)
        for panels, method in zip(grid, methods, strict=True):
            for axes, (quantity, label) in zip(panels, FIG1.items(), strict=True):
                budget, low, high = (_column(random, name) for name in ("edge_budget", f"{quantity}_low", f"{quantity}_high"))
                axes.fill_between(budget, low, high, color=GREY["color"], alpha=0.25, linewidth=0, label="random, 5 to 95 %")
                axes.plot(budget, _column(random, quantity), **GREY, label="random, mean")
                for look, weighting in zip(LOOKS, weightings, strict=True):
                    some = [row for row in rows if (row["method"], row["weighting"]) == (method, weighting)]
                    _line(axes, some, quantity, look, weighting)
                axes.set_ylabel(label)
            panels[1].set_title(METHOD_TITLES[method].replace("\n", " "), fontsize=9)
        for axes in grid[-1]:
            axes.set_xlabel(BUDGET)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)

    save(paths, draw, 9.5, 0.5 + 2.3 * len(methods))


def fig2(rows, paths):
    """Fig. 2: a panel for each method, a line for each S_0^max."""
    methods = [name for name in METHOD_TITLES if any(row["method"] == name for row in rows)]

    def draw(figure):
        panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
        for axes, method in zip(panels, methods, strict=True):
            for look, steps in zip(LOOKS[1:], sorted({row["local_max_steps"] for row in rows}), strict=True):
                some = [row for row in rows if (row["method"], row["local_max_steps"]) == (method, steps)]
                _line(axes, some, "objective", look, f"$S_0^{{max}}$ = {steps}")
            axes.set_title(METHOD_TITLES[method], fontsize=9)
            axes.set_xlabel(BUDGET)
        panels[0].set_ylabel("objective, eq. (8)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)

    save(paths, draw, 9.5, 3.4)


def sweep(rows, paths):
    """A panel for each quantity of a sweep against its key, the first column."""
    key, *names = [name for name in rows[0] if name not in ("note", "edge_steps", "users_on_edge")]
    good = [row for row in rows if row["objective"] is not None]

    def draw(figure):
        for axes, name in zip(figure.subplots(2, 3, sharex=True).flat, names, strict=True):
            _line(axes, good, name, LOOKS[1] | {"linestyle": "-"}, key)
            axes.set_ylabel(heading(name))
            if axes.get_subplotspec().is_last_row():
                axes.set_xlabel(key)

    save(paths, draw, 9.5, 4.6)


def pareto(rows, paths):
    """Three views of the front: time, energy, error against one another, coloured by utility."""

    def draw(figure):
        panels = figure.subplots(1, 3)
        for axes, (x, y) in zip(panels, (("time", "error"), ("energy", "error"), ("time", "energy")), strict=True):
            places, utility = (_column(rows, x), _column(rows, y)), _column(rows, "utility")
            points = axes.scatter(*places, c=utility, cmap="cividis", edgecolor="black", linewidth=0.4, s=26)
            axes.set_xlabel(heading(x))
            axes.set_ylabel(heading(y))
        figure.colorbar(points, ax=panels, label="utility")

    save(paths, draw, 9.5, 3.0)


def compare(rows, paths):
    """Each method's gap to the optimum, with random's deviation, and its seconds."""
    deviation = {row["solver"].removesuffix(", deviation"): row["gap"] for row in rows if row["solver"].endswith(", deviation")}
    shown = [row for row in rows if row["objective"] is not None and not row["solver"].endswith(", deviation")]
    names = [row["solver"].removesuffix(", mean") for row in shown]

    def draw(figure):
        gap, seconds = figure.subplots(1, 2, sharey=True)
        bars = gap.barh(names, 100 * _column(shown, "gap"), color=LOOKS[1]["color"], xerr=[100 * deviation.get(name, 0) for name in names])
        gap.bar_label(bars, fmt="{:.2g}", padding=3)
        gap.margins(x=0.12)
        gap.set_xlabel("gap to the optimum, %")
        seconds.plot(_column(shown, "seconds"), names, "o", color=LOOKS[1]["color"])
        seconds.set_xscale("log")
        seconds.set_xlabel("seconds")
        gap.invert_yaxis()

    save(paths, draw, 8.0, 0.9 + 0.26 * len(shown))


def _line(axes, rows, name, look, label):
    x = _column(rows, next(iter(rows[0])))
    axes.plot(x, _column(rows, name), **look, label=label, markersize=4, markeredgecolor="white", markeredgewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _column(rows, name):
    return np.array([row[name] for row in rows], dtype=float)


def save(paths, draw, width, height):
    """Write a figure of ``width`` x ``height`` inches, filled by ``draw(figure)``, to each of
    ``paths``; the suffix is the format.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        for path in paths:
            buffer = io.BytesIO()
            svg = path.suffix == ".svg"
            figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata={"Date": None, "Creator": None} if svg else None)
            write_atomic(path, buffer.getvalue())
