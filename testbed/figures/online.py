"""Policies against load, for requests that arrive: quality, time, energy, deadlines, gain."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from calibration.serving.online_run import Interval, OnlineRun, PolicyRun
from solver.online import DEFAULT
from testbed.figures.plots import LOOKS, save

PANELS = {
    "gain": "gain, share of the proven most",
    "regret": "regret a request, at most",
    "time": "time, s (mean)",
    "utility": "utility (mean)",
    "error": "error (mean)",
    "energy": "energy, J (mean)",
    "met": "deadlines met",
    "offloaded": "share at the edge",
}
MARKERS = "os^Dvp*XPhd"


def plot(result: OnlineRun, paths: Iterable[Path]) -> None:
    """A panel for each quantity against load, a line for each policy.

    Error and utility are those that were measured, where images were made. ``gain`` is cut off
    below 0: worse than serving everyone locally.
    """
    policies = list(dict.fromkeys(run.policy for run in result.runs))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 4, sharex=True)
        for axes, (name, label) in zip(panels.flat, PANELS.items(), strict=True):
            for index, policy in enumerate(policies):
                own = [run for run in result.runs if run.policy == policy]
                rows = sorted(own, key=lambda run: run.load)
                values = [_value(run, name) for run in rows]
                axes.plot(
                    [run.load for run in rows],
                    values,
                    color=LOOKS[index % len(LOOKS)]["color"],
                    linestyle=("-", "--", ":")[index // len(LOOKS) % 3],
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=4,
                    linewidth=2.8 if policy == DEFAULT else 1.2,
                    zorder=3 if policy == DEFAULT else 2,
                    label=policy,
                )
            axes.set_ylabel(label)
            axes.set_xscale("log", base=2)
            loads = sorted({run.load for run in result.runs})
            axes.set_xticks(loads, [f"{load:g}" for load in loads])
            if name == "gain":
                axes.set_ylim(-0.05, 1.05)
            if name == "regret":
                axes.set_ylim(0, 1.5 * _second_best(result))
            if axes.get_subplotspec().is_last_row():
                axes.set_xlabel("load, of the edge's capacity")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)

    save(paths, draw, 11.0, 5.2)


def _value(run: PolicyRun, name: str) -> float:
    if name == "regret":
        return run.regret / run.requests
    if run.executed is not None and name in ("error", "utility"):
        measured: Interval = getattr(run.executed, name)
        return measured.value
    value: float = getattr(run, name)
    return value


def _second_best(result: OnlineRun) -> float:
    """What serving all locally regrets a request, at most: worse policies are cut off."""
    return max((run.all_local - run.bound) / run.requests for run in result.runs) or 1.0
