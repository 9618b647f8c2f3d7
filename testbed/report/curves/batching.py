"""What several images in one batch cost."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from calibration.profiles.profile import Profiles
from testbed.plot_style import INK
from testbed.report.curves.plot import Points
from testbed.report.format import Cell, Table
from testbed.report.plots import Panel, svg_uri


@dataclass(frozen=True, kw_only=True)
class BatchPanel(Panel):
    """Seconds of one iteration against the batch size at a ``place``, and the ``verdict``."""

    place: str
    verdict: str


def batching(profiles: Profiles) -> list[BatchPanel]:
    """A panel for each place where batches were timed."""
    panels = []
    for place in profiles.places:
        if place.batch is not None:
            points = place.batch.tick.points
            rows: list[dict[str, Cell]] = [
                {
                    "batch": point.batch,
                    "seconds": point.median,
                    "fitted": point.seconds,
                    "n": point.n,
                }
                for point in points
            ]
            panel = BatchPanel(
                place=place.place,
                verdict=place.batch.verdict,
                table=Table(f"batching-{place.place}", rows, rows),
                alt=f"Time of one step against the batch, {place.place}",
                uri=_plot(
                    [(point.batch, point.median) for point in points],
                    [(point.batch, point.seconds) for point in points],
                ),
            )
            panels.append(panel)
    return panels


def _plot(points: Points, line: Points) -> str:
    """(batch, seconds), measured and fitted."""

    def draw(axes: Axes) -> None:
        milli = 1000.0 if max(seconds for _, seconds in points) < 1 else 1.0
        for drawn, style in ((line, "-"), (points, "o")):
            sizes = [batch for batch, _ in drawn]
            seconds = [milli * seconds for _, seconds in drawn]
            axes.plot(sizes, seconds, style, color=INK, markersize=4)
        axes.set_xlim(0, 1.05 * max(sizes))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("images in one batch")
        axes.set_ylabel(f"time per step of all, {'ms' if milli > 1 else 's'}")

    return svg_uri(draw)
