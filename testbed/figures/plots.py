"""Plots of the paper's figures, and of sweeps, Pareto fronts and comparisons of methods."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from solver.inputs import write_atomic
from solver.studies import TOTALS, ComparedRow, FrontRow, Row, SweptRow
from testbed.figures.lines import Fig1Row, Fig2Row
from testbed.plot_style import GREY, STYLE
from testbed.tables import heading

#: Okabe and Ito's colours, which the colour-blind can tell apart; in print, markers and dashes do.
LOOKS: list[dict[str, Any]] = [
    {"color": "#000000", "marker": "o", "linestyle": "-"},
    {"color": "#0072b2", "marker": "s", "linestyle": (0, (5, 1.5))},
    {"color": "#d55e00", "marker": "^", "linestyle": (0, (3, 1.2, 1, 1.2))},
    {"color": "#009e73", "marker": "D", "linestyle": (0, (1.2, 1.2))},
]
#: Of methods, of which there may be more.
METHOD_LOOKS = LOOKS[1:] + [
    {"color": "#cc79a7", "marker": "v", "linestyle": (0, (6, 1.2, 1, 1.2, 1, 1.2))},
    {"color": "#e69f00", "marker": "P", "linestyle": (0, (2, 1))},
    {"color": "#56b4e9", "marker": "X", "linestyle": (0, (4, 2))},
]
#: Metadata that would make the same figure differ from day to day.
UNDATED: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}
BUDGET = "edge budget $S_e^{max}$, steps"
FIG1 = {
    "time": "(a) total time $T$, s",
    "accuracy": "(b) mean accuracy $1-\\epsilon$",
    "energy": "(c) total energy $E$, J",
}
METHOD_TITLES = {
    "exact": "proven optimum",
    "paper": "the paper's algorithm\nfrom $a=\\frac{1}{2}$",
    "paper, random starts": "the paper's algorithm,\nmean of random starts",
}


def fig1(rows: Sequence[Fig1Row], paths: Iterable[Path]) -> None:
    """Fig. 1 (a)-(c): a row of panels for each method, a line for each weighting.

    Random's mean and its 5 to 95 % band stand behind each.
    """
    methods = [name for name in METHOD_TITLES if any(row.method == name for row in rows)]
    weightings = list(dict.fromkeys(row.weighting for row in rows if row.method != "random"))
    random = [row for row in rows if row.method == "random"]
    budgets = _values(random, "edge_budget")

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(methods), len(FIG1), sharex=True, sharey="col", squeeze=False)
        for panels, method in zip(grid, methods, strict=True):
            for axes, (quantity, label) in zip(panels, FIG1.items(), strict=True):
                low, high = (_values(random, f"{quantity}_{end}") for end in ("low", "high"))
                axes.fill_between(
                    budgets,
                    low,
                    high,
                    color=GREY,
                    alpha=0.25,
                    linewidth=0,
                    label="random, 5 to 95 %",
                )
                mean = _values(random, quantity)
                axes.plot(budgets, mean, color=GREY, linewidth=1.2, label="random, mean")
                for look, weighting in zip(LOOKS, weightings, strict=True):
                    line = [
                        row for row in rows if (row.method, row.weighting) == (method, weighting)
                    ]
                    _line(axes, budgets, _values(line, quantity), look, weighting)
                axes.set_ylabel(label)
            panels[1].set_title(METHOD_TITLES[method].replace("\n", " "), fontsize=9)
        for axes in grid[-1]:
            axes.set_xlabel(BUDGET)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)

    save(paths, draw, 9.5, 0.5 + 2.3 * len(methods))


def fig2(rows: Sequence[Fig2Row], paths: Iterable[Path]) -> None:
    """Fig. 2: a panel for each method, a line for each S_0^max."""
    methods = [name for name in METHOD_TITLES if any(row.method == name for row in rows)]
    limits = sorted({row.local_max_steps for row in rows})

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
        for axes, method in zip(panels, methods, strict=True):
            for look, steps in zip(LOOKS[1:], limits, strict=True):
                line = [row for row in rows if (row.method, row.local_max_steps) == (method, steps)]
                budgets, objective = _values(line, "edge_budget"), _values(line, "objective")
                _line(axes, budgets, objective, look, f"$S_0^{{max}}$ = {steps}")
            axes.set_title(METHOD_TITLES[method], fontsize=9)
            axes.set_xlabel(BUDGET)
        panels[0].set_ylabel("objective, eq. (8)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)

    save(paths, draw, 9.5, 3.4)


def sweep(rows: Sequence[SweptRow], paths: Iterable[Path]) -> None:
    """A panel for each quantity of a :func:`solver.studies.sweep` against its value.

    With several methods a line for each, told apart by colour, marker and dashes. Of several limits
    the prices are those of the first method, with a line for each limit.
    """
    key, names = rows[0].key, ("objective", "edge_price", *TOTALS)
    lines: dict[str, list[SweptRow]] = {}
    for row in rows:
        if row.objective is not None:
            lines.setdefault(row.solver or key, []).append(row)

    def draw(figure: Figure) -> None:
        for axes, name in zip(figure.subplots(2, 3, sharex=True).flat, names, strict=True):
            if name == "edge_price" and rows[0].prices is not None:
                _prices(axes, next(iter(lines.values()), []), list(rows[0].prices))
            else:
                for index, (label, own) in enumerate(lines.items()):
                    line = [row for row in own if getattr(row, name) is not None]
                    look = METHOD_LOOKS[index % len(METHOD_LOOKS)]
                    look = look if len(lines) > 1 else look | {"linestyle": "-"}
                    _line(axes, _values(line, "value"), _values(line, name), look, label)
                axes.set_ylabel(heading(name))
            if axes.get_subplotspec().is_last_row():
                axes.set_xlabel(key)
        if len(lines) > 1:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)

    save(paths, draw, 9.5, 4.6)


def _prices(axes: Axes, rows: Sequence[SweptRow], limits: Sequence[str]) -> None:
    for index, limit in enumerate(limits):
        line = [row for row in rows if row.prices and row.prices[limit] is not None]
        price = np.array([row.prices[limit] for row in line if row.prices], dtype=float)
        _line(axes, _values(line, "value"), price, METHOD_LOOKS[index % len(METHOD_LOOKS)], limit)
    axes.set_ylabel("price of one more")
    axes.legend(fontsize=6, frameon=False)


def pareto(rows: Sequence[FrontRow], paths: Iterable[Path]) -> None:
    """Three views of the front: time, energy and error against one another, coloured by utility."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 3)
        utility = _values(rows, "utility")
        pairs = (("time", "error"), ("energy", "error"), ("time", "energy"))
        for axes, (x, y) in zip(panels, pairs, strict=True):
            points = axes.scatter(
                _values(rows, x),
                _values(rows, y),
                c=utility,
                cmap="cividis",
                edgecolor="black",
                linewidth=0.4,
                s=26,
            )
            axes.set_xlabel(heading(x))
            axes.set_ylabel(heading(y))
        figure.colorbar(points, ax=panels, label="utility")

    save(paths, draw, 9.5, 3.0)


def compare(rows: Sequence[ComparedRow], paths: Iterable[Path]) -> None:
    """Each method's gap to the optimum, for random with its standard deviation, and its seconds."""
    deviations = {
        row.solver.removesuffix(", deviation"): 100 * row.gap
        for row in rows
        if row.solver.endswith(", deviation") and row.gap is not None
    }
    shown = [
        row for row in rows if row.objective is not None and not row.solver.endswith(", deviation")
    ]
    names = [row.solver.removesuffix(", mean") for row in shown]

    def draw(figure: Figure) -> None:
        gap, seconds = figure.subplots(1, 2, sharey=True)
        bars = gap.barh(
            names,
            100 * _values(shown, "gap"),
            color=LOOKS[1]["color"],
            xerr=[deviations.get(name, 0) for name in names],
        )
        gap.bar_label(bars, fmt="{:.2g}", padding=3)
        gap.margins(x=0.12)
        gap.set_xlabel("gap to the optimum, %")
        seconds.plot(_values(shown, "seconds"), names, "o", color=LOOKS[1]["color"])
        seconds.set_xscale("log")
        seconds.set_xlabel("seconds")
        gap.invert_yaxis()

    save(paths, draw, 8.0, 0.9 + 0.26 * len(shown))


def save(
    paths: Iterable[Path], draw: Callable[[Figure], None], width: float, height: float
) -> None:
    """Write a figure of ``width`` × ``height`` inches, filled by ``draw``, to each of ``paths``.

    The suffix of a path is the format.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        for path in paths:
            buffer = io.BytesIO()
            undated = UNDATED.get(path.suffix)
            figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata=undated)
            write_atomic(path, buffer.getvalue())


def _line(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    look: Mapping[str, Any],
    label: str,
) -> None:
    axes.plot(x, y, **look, label=label, markersize=4, markeredgecolor="white", markeredgewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _values(rows: Sequence[Fig1Row | Fig2Row | Row], name: str) -> NDArray[np.float64]:
    return np.array([getattr(row, name) for row in rows], dtype=float)
