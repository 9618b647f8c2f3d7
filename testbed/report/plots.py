"""The pictures of the report, each one a data URI: curves as SVG, generated images as PNG or JPEG.

Each plot is one small panel (about 360 px wide), so that the page can lay panels out side by side
on a screen and below one another on a phone, with the same legible text. Neither pyplot nor a
display is needed.
"""

import base64
import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

COLOURS = {"local": "#b85c00", "edge": "#1f5fa8"}
MARKERS = {"local": "o", "edge": "s"}
FAMILY_STYLES = (
    ("#7a3e9d", (6, 2)),
    ("#0f766e", ()),
    ("#b0305c", (4, 1.5, 1, 1.5)),
    ("#7c6a00", (1, 1)),
    ("#2f6f2f", (8, 3)),
)  # colour, dash
STYLE = {
    "svg.fonttype": "none",  # text stays text: small files, and the reader's own font
    "svg.hashsalt": "report",  # the same run folder gives the same bytes
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a939e",
    "axes.labelcolor": "#4d5764",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "xtick.color": "#4d5764",
    "ytick.color": "#4d5764",
    "lines.linewidth": 1.6,
}


def picture_uri(path, side=320):
    """Read a generated image -> {"uri", "width", "height", "small"}, or None where it cannot be
    read.

    An image of up to 128 px is embedded as it is (``small``: the page may enlarge it without
    smoothing); a larger one is reduced to at most ``side`` px and stored as JPEG, so that a report
    stays a few MB.
    """
    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw)) as image:
            image.load()
            kind, picture = image.format, image.convert("RGB")
    except (
        OSError,
        SyntaxError,
        ValueError,
    ):  # what Pillow raises for a missing, cut or foreign file
        return None
    small = max(picture.size) <= 128
    if small and kind == "PNG":
        data, media = raw, "png"
    else:
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": 88}))
        data, media = buffer.getvalue(), "png" if small else "jpeg"
    uri = f"data:image/{media};base64,{base64.b64encode(data).decode()}"
    return {"uri": uri, "width": picture.width, "height": picture.height, "small": small}


def family_style(rank):
    """(colour, dash) of the line of a curve family: 0 the paper's, in grey dashes, -1 a table of
    the points.
    """
    return (
        ("#4d5764", (2, 2))
        if rank == 0
        else ("#8a939e", (1, 1))
        if rank < 0
        else FAMILY_STYLES[(rank - 1) % len(FAMILY_STYLES)]
    )


def curve_panel(series, ylabel, limits, log_steps=True, residual=None):
    """Measured points with bars, fitted curves and residuals against the number of steps -> SVG
    data URI.

    ``series`` has one dict per place: ``place``; ``points``: rows (steps, value, low, high), low
    and high may be None; ``line``: rows (steps, value, low, high), the fitted curve with its band;
    ``families``: [(rows (steps, value), colour, dash)], thin lines; ``paper``: rows (steps, value),
    the paper's form; ``residuals``: rows (steps, residual). All but the points may be empty.
    ``limits`` is the (bottom, top) of the axis. ``residual``: {label, limit, unit} of the panel
    below.
    """

    def draw(axes, below=None):
        for one in series:
            colour, marker = COLOURS[one["place"]], MARKERS[one["place"]]
            if one["line"]:
                steps, value, low, high = np.array(one["line"], dtype=float).T
                axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
                axes.plot(steps, value, color=colour, linewidth=2.2 if one["families"] else 1.6)
            for rows, shade, dash in one["families"]:
                axes.plot(
                    *np.array(rows, dtype=float).T,
                    color=shade,
                    linestyle=(0, dash) if dash else "-",
                    linewidth=0.9,
                )
            if one["paper"]:
                axes.plot(
                    *np.array(one["paper"], dtype=float).T,
                    color=colour,
                    linestyle=(0, (2, 2)),
                    linewidth=1.2,
                )
            barred = [
                (steps, low, high)
                for steps, _, low, high in one["points"]
                if low is not None and high is not None
            ]
            if barred:
                axes.vlines(*zip(*barred, strict=True), color=colour, linewidth=1.1)
            dots = {
                "color": colour,
                "markersize": 4,
                "markeredgecolor": "white",
                "markeredgewidth": 0.5,
                "zorder": 3,
            }
            axes.plot(
                [point[0] for point in one["points"]],
                [point[1] for point in one["points"]],
                marker,
                **dots,
            )
            if below is not None and one["residuals"]:
                below.vlines(
                    *zip(*((steps, 0, value) for steps, value in one["residuals"]), strict=True),
                    color=colour,
                    linewidth=0.8,
                )
                below.plot(*zip(*one["residuals"], strict=True), marker, **dots)
        largest = max((point[0] for one in series for point in one["points"]), default=1)
        if log_steps:
            axes.set_xscale("log", base=2)
            axes.set_xlim(0.87, 1.15 * largest)
            _plain(axes.xaxis, [2**k for k in range(20) if 2**k <= largest])
        else:
            axes.set_xlim(0, 1.05 * largest)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylim(*limits)
        axes.set_ylabel(ylabel)
        if below is not None:
            below.axhline(0, color="#8a939e", linewidth=1)
            if residual["unit"] == "half-widths":
                below.axhspan(-1, 1, color="#8a939e", alpha=0.13, linewidth=0)
            below.set_ylim(-residual["limit"], residual["limit"])
            below.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            below.set_ylabel(residual["label"])
            axes.tick_params(axis="x", labelbottom=False, length=0)
        (axes if below is None else below).set_xlabel("denoising steps")

    return _svg(draw) if residual is None else _svg(draw, height=3.5, ratios=(3, 1))


def batch_panel(points, line):
    """Seconds of one tick against the batch -> SVG data URI; ``points``, ``line``: rows (batch,
    seconds), measured and fitted.
    """

    def draw(axes):
        milli = 1000.0 if max(value for _, value in points) < 1 else 1.0
        axes.plot(
            [batch for batch, _ in line], [milli * value for _, value in line], color="#1c2330"
        )
        axes.plot(
            [batch for batch, _ in points],
            [milli * value for _, value in points],
            "o",
            color="#1c2330",
            markersize=4,
        )
        axes.set_xlim(0, 1.05 * max(batch for batch, _ in points))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("images in one batch")
        axes.set_ylabel(f"time per step of all, {'ms' if milli > 1 else 's'}")

    return _svg(draw)


def allocation_panel(users, top):
    """Steps per UE as bars coloured by place, each UE's limit as a dash -> SVG data URI.

    ``users``: dicts with ``user``, ``place``, ``steps``, ``limit`` (steps or None), in the order to
    be drawn. ``top`` is the largest number of steps of the axis, common to all panels.
    """
    labelled = len(users) <= 24

    def draw(axes):
        place = np.arange(len(users))
        axes.bar(
            place,
            [one["steps"] for one in users],
            width=0.72,
            color=[COLOURS[one["place"]] for one in users],
        )
        for at, one in enumerate(users):
            if one["limit"] is not None:
                axes.hlines(one["limit"], at - 0.36, at + 0.36, color="#9aa3ad", linewidth=1.2)
            if labelled:
                high = one["steps"] >= 0.12 * top  # room for the number inside the bar
                axes.annotate(
                    str(one["steps"]),
                    (at, one["steps"]),
                    xytext=(0, -2 if high else 2),
                    textcoords="offset points",
                    ha="center",
                    va="top" if high else "bottom",
                    fontsize=7.5,
                    color="white" if high else "#1c2330",
                )
        axes.set_ylim(0, top * 1.1)
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.7, len(users) - 0.3)
        axes.xaxis.set_major_locator(FixedLocator(place if labelled else []))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: str(users[int(at)]["user"])))
        axes.tick_params(axis="x", length=0, labelsize=7.5)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("user" if labelled else f"{len(users)} users")
        axes.set_ylabel("denoising steps")

    return _svg(draw)


def agreement_panel(points, unit):
    """Measured against predicted, with the identity line and each prediction's interval -> SVG data
    URI.

    ``points``: dicts with ``place``, ``predicted``, ``measured``, ``low``, ``high`` (the last two
    may be None), and perhaps ``paper``, what the paper's form predicts: a cross. A point whose
    interval misses the measured value is hollow. Axes are logarithmic over a range of 20 or more.
    """
    ends = [
        one[key]
        for one in points
        for key in ("predicted", "measured", "paper")
        if one.get(key) is not None
    ]
    low, high = min(ends), max(ends)
    logarithmic = low > 0 and high / low >= 20
    margin = (
        0.15 * (high - low) or 0.1 * abs(high) or 1.0
    )  # room for most of the intervals; the longest may be cut
    limits = (low / 1.5, high * 1.5) if logarithmic else (low - margin, high + margin)

    def draw(axes):
        axes.plot(limits, limits, color="#8a939e", linewidth=1, zorder=1)
        for one in points:
            colour, inside = COLOURS[one["place"]], None
            if one.get("paper") is not None:
                axes.plot(
                    one["paper"],
                    one["measured"],
                    "x",
                    markersize=4.5,
                    color="#59636f",
                    markeredgewidth=1,
                )
            if one["low"] is not None and one["high"] is not None:
                inside = one["low"] <= one["measured"] <= one["high"]
                axes.hlines(
                    one["measured"], one["low"], one["high"], color=colour, linewidth=1, alpha=0.45
                )
            axes.plot(
                one["predicted"],
                one["measured"],
                MARKERS[one["place"]],
                markersize=5,
                color=colour,
                markerfacecolor="white" if inside is False else colour,
                markeredgewidth=1.2,
                alpha=0.9,
            )
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            if logarithmic:
                scale("log")
                decades = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.log10(high) + 1)
                ticks = np.outer(decades, [1, 2, 5]).ravel()
                _plain(axis, ticks[(ticks >= limits[0]) & (ticks <= limits[1])])
            else:
                axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_xlabel(f"predicted, {unit}" if unit else "predicted")
        axes.set_ylabel(f"measured, {unit}" if unit else "measured")

    return _svg(draw, height=3.2)


def _plain(axis, ticks):
    """Ticks at these values only, written as plain numbers."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _svg(draw, width=3.7, height=2.6, ratios=(1,)):
    """A figure of ``width`` × ``height`` inches, filled by ``draw(*axes)``, one below the other
    with these height ratios -> SVG data URI.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        # Fixed margins: the axes of neighbouring panels line up, and no layout has to be solved.
        figure.subplots_adjust(
            left=0.6 / width,
            right=1 - 0.08 / width,
            bottom=0.42 / height,
            top=1 - 0.1 / height,
            hspace=0.1,
        )
        draw(*figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[:, 0])
        figure.align_ylabels()
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    svg = buffer.getvalue().replace(
        "'DejaVu Sans'", "system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans'"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
