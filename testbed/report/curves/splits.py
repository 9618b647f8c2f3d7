"""Split images beside those of one model: seconds, error and utility."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from calibration.fitting.curve_fit import CurvePoint
from calibration.profiles.profile import Profiles, SplitPoint
from calibration.scenario.splits import dominating, undecoded
from testbed.report.curves.quantities import Cell
from testbed.report.format import Cell as TableCell
from testbed.report.plots import COLOURS


@dataclass(frozen=True)
class SplitRow:
    """A measured split of a class: ``seconds`` of an image, without the hand-over, and what is
    better for no more steps at either place (``dominated_by``; None: nothing is).
    """

    prompt_class: str
    point: SplitPoint
    seconds: float
    dominated_by: str | None

    def of(self, quantity: str) -> CurvePoint | None:
        """Its error or utility."""
        return self.point.error if quantity == "error" else self.point.utility

    def columns(self) -> dict[str, TableCell]:
        """The row of its table."""
        columns: dict[str, TableCell] = {
            "prompt_class": self.prompt_class,
            "split": self.point.name,
            "first": self.point.split.first,
            "edge_steps": self.point.split.edge_steps,
            "steps": self.point.steps,
            "seconds": self.seconds,
        }
        for name in ("error", "utility"):
            at = self.of(name)
            columns[name] = at.value if at else None
            columns[f"{name}_half"] = at.half if at else None
        return columns | {"dominated_by": self.dominated_by}


def split_rows(profiles: Profiles | None, local: Cell, edge: Cell, ratio: float) -> list[SplitRow]:
    """The splits of a class; ``ratio``: the device's seconds over those measured."""
    if profiles is None or profiles.splits is None:
        return []
    rows = []
    for point in profiles.splits.classes.get(edge.prompt_class, ()):
        seconds, (begins, _) = 0.0, point.split.parts(point.steps)
        for place, steps in point.split.parts(point.steps).items():
            time = (local if place == "local" else edge).profile.time
            time = undecoded(time) if place == begins else time
            seconds += (ratio if place == "local" else 1.0) * time.seconds(steps)
        better = dominating(profiles, edge.prompt_class, point)
        rows.append(SplitRow(edge.prompt_class, point, seconds, better))
    return rows


def draw_splits(axes: Axes, rows: Sequence[SplitRow], name: str) -> None:
    """A diamond each, in the colour of who begins; faint where it is dominated."""
    for row in rows:
        if at := row.of(name):
            colour, alpha = COLOURS[row.point.split.first], 0.3 if row.dominated_by else 1.0
            reach = at.half or 0.0
            ends = at.value - reach, at.value + reach
            axes.vlines(row.seconds, *ends, color=colour, linewidth=1, alpha=alpha)
            axes.plot(
                row.seconds,
                at.value,
                "D",
                color=colour,
                markersize=4,
                markerfacecolor="white",
                alpha=alpha,
            )
