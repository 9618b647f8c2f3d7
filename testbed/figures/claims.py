"""What the paper reads from its Fig. 1 and Fig. 2: each claim, in a lenient and a strict reading,
true or false.
"""

import numpy as np

from testbed.figures import BETTER, BUDGETS, FIG2_WEIGHTS, METHODS, WEIGHTINGS, Unpublished, baseline, line

READINGS = {
    "end to end": "the last budget against the first",
    "step by step": "no budget goes against it from the one before",
    "slows": "falls end to end, and over the second half of the budgets less than half as much as over the first",
    "flat": "falls end to end, and in the last step by less than 1 % of the fall in the first",
    "on average": "against the mean of random, averaged over the budgets",
    "everywhere": "against the mean of random, at every budget",
}


def falls(values):
    """Is the last value below the first? Differences of rounding do not count, here and below."""
    return bool(values[-1] < values[0] - _rounding(values))


def never_rises(values):
    """Is no value above the one before?"""
    return bool((np.diff(values) <= _rounding(values)).all())


def slows(values):
    """Does it fall, over its second half by less than half of the fall over its first?"""
    middle = len(values) // 2
    return falls(values) and bool(values[middle] - values[-1] < 0.5 * (values[0] - values[middle]))


def flattens(values):
    """Does it fall, in its last step by less than 1 % of the fall in its first?"""
    return falls(values) and bool(values[-2] - values[-1] < 0.01 * (values[0] - values[1]))


def _rounding(values):
    return 1e-9 * np.abs(values).max()


def fig1_claims(lines, random):
    """Yield (claim, reading, truth). ``lines``: weighting -> quantity -> values over the budgets;
    ``random``: quantity -> means.
    """
    for quantity, word, sign in (("time", "falls", 1), ("accuracy", "rises", -1), ("energy", "rises", -1)):
        for which, names in (("equal weights", ["equal"]), ("all weightings", list(lines))):
            some = [sign * lines[name][quantity] for name in names]
            yield f"{quantity} {word} with the budget, {which}", "end to end", all(map(falls, some))
            yield f"{quantity} {word} with the budget, {which}", "step by step", all(map(never_rises, some))
    for weighting, weighed in WEIGHTINGS.items():
        names = [weighed] if weighed else list(BETTER)
        gains = [BETTER[name] * (lines[weighting][name] - random[name]) for name in names]
        claim = f"{weighting}: better {', '.join(names)} than random"
        yield claim, "on average", all(gain.mean() > 0 for gain in gains)
        yield claim, "everywhere", all((gain > 0).all() for gain in gains)


def fig2_claims(objective):
    """Yield (claim, reading, truth) for the line of one S_0^max, the objective over the budgets."""
    yield "objective falls with the budget", "end to end", falls(objective)
    yield "objective falls with the budget", "step by step", never_rises(objective)
    yield "objective falls, then flattens", "slows", slows(objective)
    yield "objective falls, then flattens", "flat", flattens(objective)


def check(method, unpublished, seeds=100, budgets=BUDGETS):
    """Yield every claim for one method at one set of parameters: ``figure``, ``method``, the
    parameters, ``claim``, ``reading``, ``holds``.
    """
    random = {name: values[0] for name, values in baseline(unpublished, seeds, budgets).items()}
    lines = {}
    for weighting in WEIGHTINGS:
        values = line(method, unpublished, c=unpublished.weights(weighting), budgets=budgets)
        lines[weighting] = {name: mean for name, (mean, *_) in values.items()}
    objective = line(method, unpublished, FIG2_WEIGHTS, budgets=budgets)["objective"][0]
    for figure, claims in ((1, fig1_claims(lines, random)), (2, fig2_claims(objective))):
        for claim, reading, holds in claims:
            yield {"figure": figure, "method": method, **unpublished._asdict(), "claim": claim, "reading": reading, "holds": holds}


def to_check(chosen, grid):
    """(method, parameters) in a list: the ``grid`` for each method of one run, and ``chosen`` for
    all methods.
    """
    return [(method, some) for method, (_, runs) in METHODS.items() for some in dict.fromkeys([*(grid if len(runs) == 1 else ()), chosen])]


def summary(rows, chosen):
    """One row for each claim, reading and method: whether it holds at ``chosen``, in how many sets,
    what decides, and a set where not.
    """
    groups = {}
    for row in rows:
        groups.setdefault((row["figure"], row["claim"], row["reading"], row["method"]), []).append(row)
    table = []
    for key, some in groups.items():
        sets = {Unpublished(*(row[name] for name in Unpublished._fields)): row["holds"] for row in some}
        wrong = next((one for one, holds in sets.items() if not holds), None)
        table.append(
            dict(zip(("figure", "claim", "reading", "method"), key, strict=True))
            | {"chosen": str(sets[chosen]).lower(), "true_in": f"{sum(sets.values())} of {len(sets)}"}
            | {"decided_by": _deciding(sets), "false_at": " ".join(f"{n}={v:g}" for n, v in wrong._asdict().items()) if wrong else ""}
        )
    return table


def _deciding(sets):
    """The parameter over whose values the share of true ``sets`` differs most, with these shares;
    empty if none does.
    """
    shares = {}
    for index, name in enumerate(Unpublished._fields):
        values = sorted({one[index] for one in sets})
        shares[name] = {value: np.mean([holds for one, holds in sets.items() if one[index] == value]) for value in values}
    most = max(shares, key=lambda name: np.ptp(list(shares[name].values())))
    if np.ptp(list(shares[most].values())) == 0:
        return ""
    return f"{most} " + ", ".join(f"{value:g}: {share:.0%}" for value, share in shares[most].items())


def by_method(table):
    """:func:`summary` with the methods side by side: one row for each claim and reading."""
    rows = {}
    for one in table:
        row = rows.setdefault((one["claim"], one["reading"]), {"claim": one["claim"], "reading": one["reading"]})
        row[one["method"]] = f"{one['chosen']}, {one['true_in']}"
    return list(rows.values())


def markdown(table, chosen, seeds, grid):
    """The text of ``claims.md``."""
    at = ", ".join(f"{name} = {value:g}" for name, value in chosen._asdict().items())
    tried = ["/".join(f"{value:g}" for value in sorted(set(values))) for values in zip(*grid, strict=True)]
    names = [name for name in table[0] if name != "figure"]
    lines = [
        "# What the paper reads from its figures",
        "",
        f"*chosen*: at {at}. *true in*: of the sets of unpublished parameters that were tried,",
        ", ".join(f"{name} {values}" for name, values in zip(Unpublished._fields, tried, strict=True))
        + ". *decided by*: the parameter that matters most,",
        f"and in what share of the sets with each of its values the claim is true. *random*: its mean over {seeds} seeds.",
        "",
        *(f"- *{reading}*: {meaning}" for reading, meaning in READINGS.items()),
        "",
        "| fig. | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "---|" * (1 + len(names)),
        *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in table),
    ]
    return "\n".join(lines) + "\n"
