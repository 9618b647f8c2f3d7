"""Predicted against measured, and what the paper's forms would have predicted."""

from testbed.report import plots
from testbed.report.format import finite

AGREEMENT = {  # quantity -> (title, unit)
    "time": ("Time", "s"),
    "energy": ("Energy", "J"),
    "error": ("Error", ""),
    "utility": ("Utility", ""),
    "clip_score": ("CLIP score", ""),
}


def agreement(validation):
    """Measured against predicted: one panel for each quantity that was measured at any UE, and one
    for the edge's UEs served in batches.

    The CLIP score is the utility on another scale, and energy without a meter is time: these have
    no panel of their own.
    """
    panels = []
    for name, (title, unit) in AGREEMENT.items():
        points = [
            {key: user[key] for key in ("user", "place", "steps")} | user[name]
            for user in validation["users"]
        ]
        points = [
            one
            for one in points
            if finite(one["predicted"]) is not None and finite(one["measured"]) is not None
        ]
        if (
            points
            and name != "clip_score"
            and any(one.get("basis", "measured") != "modelled" for one in points)
        ):
            all_users = {
                key: validation.get(key, {}).get(name) for key in _SHARES
            }  # the paper's: none by an older testbed
            panels.append(_panel(name, title, unit, points, all_users))
    if serving := validation.get("serving"):
        points = [
            {"user": user, "place": "edge", **row}
            for user, row in zip(serving["users"], serving["requests"], strict=True)
        ]
        panels.append(_panel("completion", "Completion, edge in batches", "s", points, serving))
    return panels


_SHARES = ("coverage", "median_absolute_error", "paper_median_absolute_error")
_COLUMNS = ("user", "place", "steps", "predicted", "low", "high", "measured", "paper")


def _panel(name, title, unit, points, shares):
    rows = [{key: one.get(key) for key in _COLUMNS} for one in points]
    return {
        "title": title,
        "alt": f"{title}: measured against predicted, {len(points)} users",
        "uri": plots.agreement_panel(points, unit),
        "unit": unit,
        "table": {"name": f"agreement-{name}", "rows": rows, "shown": rows},
        "coverage": shares["coverage"],
        "typical": shares["median_absolute_error"],
        "paper": shares["paper_median_absolute_error"],
    }
