"""The tables beside the curves: how well each form fits, every family, what batches cost, and what
a sweep plan reached.
"""

from calibration.fitting.prediction import members
from testbed.report import plots
from testbed.report.curves import AFFINE, CURVES, label
from testbed.report.format import finite

ROUNDING = 1e-12  # a parameter below it is at its bound of 0


def fits(profiles):
    """One row for each fitted curve: the form that weighs most with its parameters, and how well it
    and the paper's form fit.
    """
    rows = []
    for name in (*AFFINE, "error", "utility"):
        for profile in (profile for profile in profiles if profile.get(name)):
            fit, row = (
                profile[name],
                {
                    "title": CURVES[name][0],
                    "place": profile["place"],
                    "prompt_class": profile["prompt_class"],
                },
            )
            rows.append(row | (_affine(fit, name) if name in AFFINE else _curve(fit)))
    return rows


def _affine(fit, name):
    overhead, slope, unit, symbols = AFFINE[name]
    lack = fit.get("lack_of_fit")
    bent = (
        ""
        if lack is None or lack["affine"]
        else f", but not quite affine: {lack['largest']:+.1%} at {lack['at']}"
    )
    half = [1.96 * fit["covariance"][i][i] ** 0.5 for i in (0, 1)]
    values = zip(symbols, (fit[overhead], fit[slope]), half, strict=True)
    parameters = [(symbol, value, value - by, value + by) for symbol, value, by in values]
    form = " + ".join(symbols) + " · s" + bent.replace("-", "−")
    return {
        "form": form,
        "r2": fit["r2"],
        "paper_r2": (fit.get("paper") or {}).get("r2"),
        "unit": unit,
        "parameters": parameters,
    }


def _curve(fit):
    chosen, weight = max(members(fit), key=lambda one: one[1])
    paper = next(one for one in fit["families"] if one["family"] == fit["paper"])
    form = label(chosen["family"]) + (f", {weight:.0%} of the average" if weight < 0.995 else "")
    form += "" if fit.get("monotone", True) else ", not monotone"
    row = {
        "form": form,
        "r2": chosen["r2"],
        "paper_r2": paper["r2"],
        "unit": "",
        "parameters": _parameters(chosen),
    }
    return row | {"held_out": chosen["held_out_error"], "paper_held_out": paper["held_out_error"]}


def _parameters(family):
    """[(name, value, low, high)]; an interpolation has no intervals: its parameters are its points."""
    found = [
        (symbol, family["parameters"][symbol], low, high)
        for symbol, (low, high) in family["intervals"].items()
    ]
    return [
        (symbol, 0.0 if abs(value) < ROUNDING else value, low, high)
        for symbol, value, low, high in found
    ]


def families(profiles):
    """One row for each family tried on each curve of error and utility: weight, parameters, AICc,
    held-out error; refused ones with the reason.
    """
    rows = []
    for name in ("error", "utility"):
        for profile in profiles:
            fit, cell = (
                profile[name],
                {
                    "title": CURVES[name][0],
                    "place": profile["place"],
                    "prompt_class": profile["prompt_class"],
                },
            )
            weights, kept = (
                {entry["family"]: weight for entry, weight in members(fit)},
                {one["family"] for one in fit["families"]},
            )
            for one in [
                *fit["families"],
                *(one for one in fit.get("left_out", ()) if one["family"] not in kept),
            ]:
                row = {
                    "family": label(one["family"]),
                    "weight": weights.get(one["family"], 0.0),
                    "chosen": one["family"] == fit["chosen"],
                }
                row |= {
                    "r2": one.get("r2"),
                    "aicc": one.get("aicc"),
                    "held_out": one.get("held_out_error"),
                }
                row["parameters"] = _parameters(one) if "intervals" in one else []
                rows.append(cell | row | {"reason": one.get("refused") or one.get("reason", "")})
    return rows


def energy(profiles):
    """One row for each profile with metered energy: the meter, idle power, the clock in GHz, the
    paper's f and k, and the law's exponent.
    """
    rows = []
    for profile in profiles:
        if found := profile.get("energy"):
            law, clock, paper = (
                found.get("law") or {},
                found.get("clock_hz") or {},
                found.get("paper") or {},
            )
            row = {
                "place": profile["place"],
                "prompt_class": profile["prompt_class"],
                "meter": found["meter"],
                "n": found["n"],
            }
            row |= {
                "idle_watts": found["idle_watts"],
                "law": law,
                "clock_ghz": {name: hertz / 1e9 for name, hertz in clock.items()},
            }
            rows.append(
                row
                | {"coefficient": law.get("coefficient"), "implied_ghz": paper.get("frequency_ghz")}
            )
    return rows


def batching(profiles):
    """Seconds of one step of a whole batch against its size: one panel for each place that was
    timed, with the verdict.
    """
    panels = {}  # by place: it was timed once, whatever the prompt class
    for profile in profiles:
        if (found := profile.get("batching")) and profile["place"] not in panels:
            place, rows = profile["place"], []
            for one in found["points"]:
                line = found["beta"] + found["alpha"] * one["batch"]
                rows.append(
                    {
                        "batch": one["batch"],
                        "seconds": one["median"],
                        "fitted": one.get("seconds", line),
                        "n": one["n"],
                    }
                )
            uri = plots.batch_panel(
                *([(row["batch"], row[name]) for row in rows] for name in ("seconds", "fitted"))
            )
            table = {"name": f"batching-{place}", "rows": rows, "shown": rows}
            alt = f"Time of one step against the batch, {place}"
            panels[place] = {
                "place": place,
                "verdict": found["verdict"],
                "table": table,
                "alt": alt,
                "uri": uri,
            }
    return list(panels.values())


def plan(profiles):
    """The outcome of the sweep plan, or None: ``widths`` widest first, and how many times as much
    the uniform grid would take.
    """
    found = profiles.get("plan")
    if not found:
        return None
    widths = sorted(
        found["widths"],
        key=lambda one: float("-inf") if finite(one["half_width"]) is None else -one["half_width"],
    )
    evaluations, uniform = found["evaluations"], found["uniform_evaluations"]
    return {**found, "widths": widths, "times": uniform / evaluations if evaluations else None}
