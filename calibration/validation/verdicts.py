"""Every judgement of a run as PASS, FAIL or NOT TESTED, with the number found, what is allowed, and
the worst first.

This is the one place that says what fails: :func:`of_predictions` what the predictions of a
``validation/1`` dict do (``calibration.validation.validate.failures`` reads it),
:func:`of_calibration` what the fitted curves of a ``profiles/1`` dict do.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from scipy.stats import betabinom, binom

from calibration.costs.time import AFFINE_LEVEL
from calibration.fitting.prediction import members, t_quantile

PASS, FAIL, NOT_TESTED = "PASS", "FAIL", "NOT TESTED"
# A 95 % interval's coverage is called too low only where chance is less likely than this: several
# quantities are judged at once.
COVERAGE_LEVEL = 0.01
# UEs of one class and place share the curve and the spread estimated in calibration, so that they
# lie inside, or outside, together: a spread known to 20 % (from a dozen prompts) moves the share
# inside by 0.03, which is this share of the variance, 0.95 * 0.05, of one UE.
TOGETHER = 0.02
# What predictions are meant to reach, as a relative error.
GOALS = {"time": 0.03, "energy": 0.03, "error": 0.05, "utility": 0.05}
# Not the CLIP score: it is the utility on another scale, and would be counted twice.
COVERED = ("time", "energy", "error", "utility")
MODELLED = "no meter: energy is watts times time, and time is judged"


@dataclass(frozen=True)
class Verdict:
    """What was ``judged``, what was ``found`` and is ``allowed``, in words; ``strain`` is how much
    of the allowed is used (1: all).

    ``about``: ``prediction`` or ``calibration``. ``reason``: why it was not tested, or what else is
    to be known.
    """

    about: str
    judged: str
    found: str
    allowed: str
    verdict: str
    strain: float = 0.0
    reason: str = ""


def verdicts(validation=None, profiles=None):
    """All :class:`Verdict` of a run's files (dicts, or None where it has none), the worst first."""
    found = [
        *(of_predictions(validation) if validation else ()),
        *(of_calibration(profiles, validation) if profiles else ()),
    ]
    return sorted(found, key=lambda one: ((FAIL, NOT_TESTED, PASS).index(one.verdict), -one.strain))


def of_predictions(validation):
    """Totals against their 95 % intervals, and whether the intervals of single UEs hold as many as
    they should.
    """
    found = [_total(row) for row in validation["totals"]]
    for name in COVERED:
        found.append(
            _coverage(
                name, [user for user in validation["users"] if user[name]["inside"] is not None]
            )
        )
    return found


def of_calibration(profiles, validation=None):
    """Are time and energy affine, does power follow the paper's law, do the curves predict left-out
    points, can the Fréchet distances be had, did the machine drift, are the intervals as narrow as
    planned.
    """
    found = []
    for entry in profiles["profiles"]:
        where = f"{entry['prompt_class']}, {entry['place']}"
        found += [
            _affine(name, where, entry[name]) for name in ("time", "energy") if entry.get(name)
        ]
        found += [_held_out(name, where, entry[name]) for name in ("error", "utility")]
        if energy := entry.get("energy"):
            found += _power(where, energy)
    found += _frechet(profiles["profiles"])
    if validation:
        found += _drift(validation.get("drift", {}))
    if profiles.get("plan"):
        found.append(_widths(profiles["plan"]))
    return found


def _total(row):
    judged, unit = row["quantity"], row["unit"].replace("1", "")
    if row["low"] is None or row["measured"] is None:
        reason = (
            "not measured"
            if row["measured"] is None
            else "no interval: as many pictures as the calibration has"
        )
        return Verdict("prediction", judged, "–", "–", NOT_TESTED, reason=reason)
    half = (
        row["high"] - row["predicted"]
        if row["measured"] > row["predicted"]
        else row["predicted"] - row["low"]
    )
    found = f"predicted {row['predicted']:.4g}, measured {row['measured']:.4g} {unit}".rstrip()
    allowed = f"{row['low']:.4g} to {row['high']:.4g} {unit}".rstrip()
    if row["basis"] == "modelled":
        return Verdict("prediction", judged, found, allowed, NOT_TESTED, reason=MODELLED)
    strain = abs(row["measured"] - row["predicted"]) / half if half else 0.0
    return Verdict(
        "prediction",
        judged,
        found,
        allowed,
        PASS if row["inside"] else FAIL,
        strain,
        row.get("note") or "",
    )


def _coverage(name, users):
    judged, n, inside = (
        f"coverage of {name}",
        len(users),
        sum(user[name]["inside"] for user in users),
    )
    chance = _inside_by_chance([(user["prompt_class"], user["place"]) for user in users])
    least = int(chance.ppf(COVERAGE_LEVEL)) if users else 0
    if not least:
        return Verdict(
            "prediction",
            judged,
            f"{n} users measured",
            "–",
            NOT_TESTED,
            reason="too few to show a lack of coverage",
        )
    found = f"{inside} of {n} inside their 95 % intervals (p = {chance.cdf(inside):.2g})"
    allowed = f"at least {least} of {n} (p ≥ {COVERAGE_LEVEL:g}, binomial)"
    if all(user[name].get("basis") == "modelled" for user in users):
        return Verdict("prediction", judged, found, allowed, NOT_TESTED, reason=MODELLED)
    strain = (n - inside) / max(1, n - least)
    return Verdict("prediction", judged, found, allowed, PASS if inside >= least else FAIL, strain)


def _inside_by_chance(cells):
    """The distribution of how many of UEs, of these (class, place) cells, lie inside 95 % intervals
    that are right.

    Binomial, but for pairs of one cell with a correlation ``TOGETHER``: a beta-binomial with the
    mean correlation of all pairs.
    """
    n = len(cells)
    pairs = sum(count * (count - 1) for count in Counter(cells).values())
    if not pairs:
        return binom(n, 0.95)
    spread = n * (n - 1) / (TOGETHER * pairs) - 1
    return betabinom(n, 0.95 * spread, 0.05 * spread)


def _affine(name, where, fit):
    judged, lack, goal = f"{name} affine in steps: {where}", fit.get("lack_of_fit"), GOALS[name]
    if lack is None:
        return Verdict(
            "calibration",
            judged,
            "–",
            "–",
            NOT_TESTED,
            reason="one image at each step count, or two step counts",
        )
    found = (
        f"p = {lack['p']:.2g}; largest distance {lack['largest']:+.1%} at s = {lack['at']}".replace(
            "%", " %"
        )
    )
    # Enough images show any bend: one that leaves the goal in reach does not count against the
    # line.
    strain = min(AFFINE_LEVEL / max(lack["p"], 1e-12), abs(lack["largest"]) / goal)
    return _judge(
        judged, found, f"p ≥ {AFFINE_LEVEL:g}, or at most {goal:.0%}".replace("%", " %"), strain
    )


def _held_out(name, where, fit):
    judged, goal = f"{name} curve on left-out points: {where}", GOALS[name]
    family, _ = max(members(fit), key=lambda one: one[1])
    held_out = family["held_out_error"]
    if held_out is None:
        return Verdict(
            "calibration", judged, "–", "–", NOT_TESTED, reason="too few points to leave one out"
        )
    return _judge(
        judged,
        f"{100 * held_out:.2g} % relative error",
        f"at most {100 * goal:g} %",
        held_out / goal,
    )


def _power(where, energy):
    """Power against the clock, and whether the overhead has the steps' power; nothing where a
    profile has neither.
    """
    law, constant = energy.get("law"), energy.get("constant_power")
    found = []
    if law:
        judged, allowed = f"power as the clock's cube: {where}", "3 within the interval"
        if law["tested"]:
            said = f"exponent {law['exponent']:.3g} ({law['low']:.3g} to {law['high']:.3g})"
            found.append(
                _judge(
                    judged,
                    said,
                    allowed,
                    abs(law["exponent"] - 3) / max((law["high"] - law["low"]) / 2, 1e-12),
                )
            )
        else:
            found.append(
                Verdict("calibration", judged, "–", allowed, NOT_TESTED, reason=law["reason"])
            )
    if constant:
        judged, strain = (
            f"one power for overhead and steps: {where}",
            AFFINE_LEVEL / max(constant["p"], 1e-12),
        )
        said = f"p = {constant['p']:.2g}; {constant['excess_j']:+.3g} J an image beyond power times time"
        found.append(_judge(judged, said, f"p ≥ {AFFINE_LEVEL:g}", strain))
    return found


def _frechet(entries):
    """Whether the sweep's Fréchet distances rest on enough pictures: a row for all curves of which
    the same is to be said.
    """
    alike = defaultdict(list)
    for entry in entries:
        points = entry["frechet"]["points"]
        sizes = sorted({point["n"] for point in points})
        said = f"{_range(sizes)} pictures a point" if sizes else "–"
        # a profile of an older testbed has no notes: nothing is known of its distances
        notes = [point.get("note", "not said by the profile") for point in points] or [
            "not measured"
        ]
        alike[said, next(filter(None, notes), None)].append(
            f"{entry['prompt_class']}, {entry['place']}"
        )
    for (said, reason), where in alike.items():
        judged = f"Fréchet distances carried: {'all classes and places' if len(where) == len(entries) else '; '.join(where)}"
        yield Verdict(
            "calibration",
            judged,
            said,
            "more pictures than features",
            NOT_TESTED if reason else PASS,
            reason=reason or "",
        )


def _range(sizes):
    return f"{sizes[0]} to {sizes[-1]}" if sizes[1:] else f"{sizes[0]}"


def _drift(places):
    goal = GOALS["time"]
    if not places:
        return [
            Verdict(
                "calibration",
                "drift of the machine",
                "–",
                "–",
                NOT_TESTED,
                reason="no images of the sweep's kind in between",
            )
        ]
    found = []
    for place, drift in sorted(places.items()):
        off, doubt = drift["ratio"] - 1, t_quantile(drift["n"] - 1) * drift["se"]
        said = f"{100 * abs(off):.1f} % {'slower' if off > 0 else 'quicker'} than when calibrated (± {100 * doubt:.1f} %)"
        found.append(
            _judge(
                f"drift of the machine: {place}",
                said,
                f"{100 * goal:g} %, beyond that doubt",
                abs(off) / (goal + doubt),
            )
        )
    return found


def _widths(plan):
    missed = [one for one in plan["widths"] if not one["reached"]]
    found = f"{len(plan['widths']) - len(missed)} of {len(plan['widths'])} intervals as narrow as planned"
    return Verdict(
        "calibration",
        "widths of the sweep plan",
        found,
        "all",
        FAIL if missed else PASS,
        1.0 + len(missed) if missed else 0.0,
    )


def _judge(judged, found, allowed, strain):
    return Verdict("calibration", judged, found, allowed, PASS if strain <= 1 else FAIL, strain)
