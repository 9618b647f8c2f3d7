"""The style that all plots share. Neither pyplot nor a display is needed."""

from typing import Any

#: Colours of what stands beside the data: axes, identity lines, bands, and text.
GREY, MUTED, INK, FAINT = "#8a939e", "#4d5764", "#1c2330", "#e6e9ed"
#: Matplotlib's rcParams; their type names each key in some versions, and is a plain dict in others.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small files, and the reader's own font
    "svg.hashsalt": "report",  # the same data give the same bytes
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.6,
}
