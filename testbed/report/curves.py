"""The curves of a report: what was measured, every family fitted to it, the residuals, and the
numbers behind each picture.
"""

import re
from zlib import crc32

import numpy as np

from calibration.costs.time import MEDIAN
from calibration.fitting.families import FAMILIES, PAPER
from calibration.fitting.prediction import curve, members, predict, t_quantile
from testbed.report import plots
from testbed.report.format import finite

PLACES = {"edge": "edge server", "local": "own device"}
CURVES = {  # quantity -> (title, axis, what it is)
    "time": ("Time", "time per image, {unit}", "Median time of one image, from text to pixels."),
    "energy": (
        "Energy",
        "energy per image, {unit}",
        "Median energy of one image, idling included.",
    ),
    "error": (
        "Error",
        "error",
        "Distance to the same model's converged image of the same seed; 1 is as far off as another picture.",
    ),
    "utility": (
        "Utility",
        "utility",
        "Rescaled CLIP score: 0 is a real picture with a wrong caption, 1 is one with its own.",
    ),
    "clip_score": (
        "CLIP score",
        "CLIP score",
        "Agreement of picture and prompt. No curve is fitted to it.",
    ),
    "frechet": (
        "Fréchet distance",
        "Fréchet distance",
        "Distance of the generated set to the reference. No curve is fitted to it.",
    ),
    "kid": (
        "Kernel distance (KID)",
        "kernel distance",
        "The same, without bias at any number of pictures.",
    ),
    "cmmd": (
        "CMMD",
        "CMMD",
        "The same, with a kernel that assumes nothing about the features' distribution.",
    ),
}
AFFINE = {
    "time": ("overhead", "step_time", "s", ("t₀", "Δt")),
    "energy": ("overhead_j", "step_j", "J", ("E₀", "ΔE")),
}
FITTED = (*AFFINE, "error", "utility")
LINE_POINTS = 48
MEASURED = ("measured", "low", "high")


def quantities(profiles):
    """The names of ``CURVES`` that any of the profiles has: an older testbed's, or one without a
    meter, lack some.
    """
    return [name for name in CURVES if any(profile.get(name) for profile in profiles)]


def curves(profiles, name):
    """One quantity: {title, about, unit, fitted, residual, panels}, all panels to one scale.

    A panel shows one prompt class: at one place where families are named, at both otherwise. Each
    has its ``table`` {name, rows, shown}: what is drawn, and the rows of it at measured step
    counts.
    """
    title, axis, about = CURVES[name]
    profiles = [profile for profile in profiles if profile.get(name)]
    unit = AFFINE[name][2] if name in AFFINE else ""
    found = [(profile, _rows(profile, name)) for profile in profiles]
    found = [(profile, rows) for profile, rows in found if rows]
    row = {
        "title": title,
        "about": about + _sizes(profiles, name),
        "unit": unit,
        "fitted": name in FITTED,
        "panels": [],
        "residual": None,
    }
    measured = [one for _, rows in found for one in rows if one["measured"] is not None]
    if not measured:
        return row
    shown = [
        one[key] for one in measured for key in ("measured", "low", "high") if one[key] is not None
    ]
    milli = unit and max(shown) < 1.0
    axis, scale = axis.format(unit=f"m{unit}" if milli else unit), 1000.0 if milli else 1.0
    margin = 0.08 * (max(shown) - min(shown)) or 0.1 * abs(max(shown)) or 1.0
    below = name == "clip_score" or min(one["measured"] for one in measured) < 0
    limits = (scale * (min(shown) - margin) if below else 0.0, scale * (max(shown) + margin))
    if row["fitted"]:
        row["residual"] = _residuals([rows for _, rows in found])
        most = max(abs(one["residual"]) for one in measured)
        axis_below = "resid." if row["residual"] == "half-widths" else "resid., %"
        residual = {"label": axis_below, "limit": 1.15 * max(most, 1.0), "unit": row["residual"]}
    for key, group in _groups(found, name):
        places = " and ".join(PLACES[profile["place"]] for profile, _ in group)
        alt = f"{title} against denoising steps, prompt class {key[0]}, {places}: measured points"
        alt += ", fitted curves and residuals" if row["fitted"] else ""
        series = [_series(profile, name, rows, scale) for profile, rows in group]
        uri = plots.curve_panel(
            series, axis, limits, name not in AFFINE, residual if row["fitted"] else None
        )
        families = [family for profile, _ in group for family in _families(profile[name])]
        rows = [{"place": profile["place"], **one} for profile, rows in group for one in rows]
        table = {
            "name": file_name("curve", name, *key),
            "rows": rows,
            "shown": [one for one in rows if one["measured"] is not None],
        }
        panel = {
            "kind": key[0],
            "place": key[1] if key[1:] else None,
            "families": families,
            "table": table,
        }
        row["panels"].append({**panel, "alt": alt, "uri": uri})
    return row


def _groups(found, name):
    """[(key, [(profile, rows)])] for each panel: by place and class where families are drawn, else
    by class.
    """
    named, groups = name in PAPER, {}
    for place in PLACES if named else (None,):
        for profile, rows in found:
            if place in (None, profile["place"]):
                key = (profile["prompt_class"], place) if named else (profile["prompt_class"],)
                groups.setdefault(key, []).append((profile, rows))
    return groups.items()


def _rows(profile, name):
    """Every number of one curve, a row for each step count drawn: measured (if it was), fitted,
    each family, the paper's form.
    """
    source, points = profile[name], {}
    for point in source["points"]:
        value, low, high = (
            finite(point["median" if name in AFFINE else "value"]),
            point.get("low"),
            point.get("high"),
        )
        half = (
            1.96 * point["se"]
            if point.get("se") is not None
            else _median_half(source, point)
            if name == "time"
            else None
        )
        if value is not None and half is not None:
            low, high = value - half, value + half
        if value is not None:
            points[point["steps"]] = dict(zip(MEASURED, (value, low, high), strict=True))
    if not points or name not in FITTED:
        return [{"steps": steps, **found} for steps, found in points.items()]
    between = np.geomspace(1, max(points), LINE_POINTS).round(3)
    steps = sorted({*points, *between.tolist()})
    lines = _affine(source, name, np.array(steps)) if name in AFFINE else _curve(source, steps)
    rows = [{"steps": s, **points.get(s, dict.fromkeys(MEASURED)), "residual": None} for s in steps]
    return [
        {**row, **{key: float(line[i]) for key, line in lines.items()}}
        for i, row in enumerate(rows)
    ]


def _median_half(time, point):
    """Half the 95 % interval of a median time: of its images' pooled relative spread."""
    return (
        t_quantile(time["freedom"])
        * MEDIAN
        * time["relative_sd"]
        * point["median"]
        / np.sqrt(point["n"])
    )


def _affine(source, name, s):
    """Columns of a straight line in the steps, with the 95 % band of the line."""
    overhead, slope, *_ = AFFINE[name]
    (a, b), (_, d) = source["covariance"]
    value = source[overhead] + source[slope] * s
    half = t_quantile(source.get("freedom")) * np.sqrt(np.maximum(a + 2 * b * s + d * s**2, 0.0))
    paper = {"paper": source["paper"]["step_time"] * s} if name == "time" else {}
    return {"fitted": value, "fitted_low": value - half, "fitted_high": value + half, **paper}


def _curve(fit, steps):
    """Columns of a fitted curve: the average of the families with its band, and each family."""
    found = predict(fit, steps)
    columns = {
        name: [one[key] for one in found]
        for name, key in (("fitted", "value"), ("fitted_low", "low"), ("fitted_high", "high"))
    }
    return {
        **columns,
        **{entry["family"]: curve(fit, steps, entry["family"])[0] for entry in fit["families"]},
    }


def _residuals(curves):
    """Fill in ``residual``, measured - fitted, in the points' own 95 % half-widths, or in % where
    one has none; says which.
    """
    points = [one for rows in curves for one in rows if one["measured"] is not None]
    known = all(
        one["low"] is not None and one["high"] is not None and one["high"] > one["low"]
        for one in points
    )
    for one in points:
        unit = (one["high"] - one["low"]) / 2 if known else abs(one["measured"]) / 100
        one["residual"] = (one["measured"] - one["fitted"]) / unit if unit else 0.0
    return "half-widths" if known else "percent"


def _families(fit):
    """Each family drawn, as the legend names it: {label, weight, colour, dash, paper}; the paper's
    first.
    """
    weights = (
        {entry["family"]: weight for entry, weight in members(fit)} if fit.get("families") else {}
    )
    found = []
    for entry in fit.get("families", ()):
        paper = entry["family"] == fit["paper"]
        name, (colour, dash) = (
            entry["family"],
            plots.family_style(_rank(entry["family"], fit["kind"])),
        )
        found.append(
            {
                "family": name,
                "label": label(name),
                "weight": weights.get(name, 0.0),
                "paper": paper,
                "colour": colour,
                "dash": dash,
            }
        )
    return found


def _rank(family, kind):
    """A family's place among those of its kind, which gives its colour: 0 the paper's, the last the
    table.
    """
    return (
        [one.name for one in FAMILIES.values() if one.kind == kind].index(family)
        if family in FAMILIES
        else -1
    )


def file_name(*words):
    """A file's name from words that may hold anything: what is not a letter or digit is a dash, and
    a checksum keeps names apart.
    """
    plain = [re.sub(r"[^A-Za-z0-9_]+", "-", word)[:40] for word in words]
    return "-".join(
        plain
        if all(map(str.__eq__, plain, words))
        else [*plain, f"{crc32(' '.join(words).encode()):08x}"]
    )


def label(family):
    """A family's name for readers: ``power_floor`` -> power + floor."""
    return (
        re.sub("_(?=floor|amplitude|offset|ceiling)", " + ", family).replace("_", " ")
        if family != "table"
        else "interpolation"
    )


def _series(profile, name, rows, scale):
    """One place's rows as :func:`plots.curve_panel` takes them."""

    def column(*names):
        there = [one for one in rows if one.get(names[0]) is not None]
        return [
            (one["steps"], *(None if one[name] is None else one[name] * scale for name in names))
            for one in there
        ]

    series = {
        "place": profile["place"],
        "points": column("measured", "low", "high"),
        "line": column("fitted", "fitted_low", "fitted_high"),
    }
    series["families"] = [
        (column(one["family"]), one["colour"], one["dash"]) for one in _families(profile[name])
    ]
    series["paper"] = column("paper")
    series["residuals"] = [
        (one["steps"], one["residual"]) for one in rows if one.get("residual") is not None
    ]
    return series


def _sizes(profiles, name):
    """How many pictures the points of a distance between sets are from, in a sentence; empty for
    other quantities.
    """
    if name not in ("frechet", "kid", "cmmd"):
        return ""
    sizes = sorted({point["n"] for profile in profiles for point in profile[name]["points"]})
    warning = (
        "; Fréchet distances of different numbers are not comparable"
        if sizes[1:] and name == "frechet"
        else ""
    )
    return f" Each point is from {' or '.join(map(str, sizes))} pictures{warning}." if sizes else ""
