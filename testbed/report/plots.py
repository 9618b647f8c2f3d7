"""The plots of the report, as SVG in data URIs.

Each is one small panel (about 360 px wide), so that the page can lay panels out side by side on a
screen and below one another on a phone, with the same legible text.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from testbed.plot_style import STYLE
from testbed.report.format import Table

COLOURS = {"local": "#b85c00", "edge": "#1f5fa8"}
MARKERS = {"local": "o", "edge": "s"}
_WIDTH = 3.7  # inches
_FONTS = "system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans'"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A plot: its data URI, its text for who cannot see it, and the numbers behind it."""

    uri: str
    alt: str
    table: Table


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Ticks at these values only, written as plain numbers."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def svg_uri(
    draw: Callable[..., None], height: float = 2.6, ratios: tuple[float, ...] = (1,)
) -> str:
    """A figure of ``height`` inches as a data URI; ``draw(*axes)`` fills it.

    The axes lie one below the other, with heights in these ``ratios``.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        # Fixed margins: the axes of neighbouring panels line up, and no layout has to be solved.
        figure.subplots_adjust(
            left=0.7 / _WIDTH,  # a label of five digits and the axis's
            right=1 - 0.08 / _WIDTH,
            bottom=0.42 / height,
            top=1 - 0.1 / height,
            hspace=0.1,
        )
        draw(*figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[:, 0])
        figure.align_ylabels()
        buffer = io.StringIO()
        undated = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", metadata=undated, transparent=True)
    svg = buffer.getvalue().replace("'DejaVu Sans'", _FONTS)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
