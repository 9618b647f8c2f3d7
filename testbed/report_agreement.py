"""Predicted against measured, and what the paper's forms would have predicted."""

from testbed import plots
from testbed.report_format import finite

AGREEMENT = {  # quantity -> (title, unit)
    "time": ("Time", "s"),
    "energy": ("Energy", "J"),
    "error": ("Error", ""),
    "utility": ("Utility", ""),
    "clip_score": ("CLIP score", ""),
}


def agreement(validation):
    """Measured against predicted: one panel for each quantity that was measured at any UE.

    The CLIP score is the utility on another scale, and energy without a meter is time: these have no panel of their own.
    """
    panels = []
    for name, (title, unit) in AGREEMENT.items():
        points = [{key: user[key] for key in ("user", "place", "steps")} | user[name] for user in validation["users"]]
        points = [one for one in points if finite(one["predicted"]) is not None and finite(one["measured"]) is not None]
        if points and name != "clip_score" and any(one.get("basis", "measured") != "modelled" for one in points):
            alt = f"{title}: measured against predicted, {len(points)} users"
            panel = {"title": title, "alt": alt, "uri": plots.agreement_panel(points, unit)}
            panel["paper"] = validation.get("paper_median_absolute_error", {}).get(name)  # none by an older testbed
            rows = [
                {key: one.get(key) for key in ("user", "place", "steps", "predicted", "low", "high", "measured", "paper")} for one in points
            ]
            panel["unit"], panel["table"] = unit, {"name": f"agreement-{name}", "rows": rows, "shown": rows}
            panel["coverage"] = validation["coverage"].get(name)
            panel["typical"] = validation["median_absolute_error"].get(name)
            panels.append(panel)
    return panels
