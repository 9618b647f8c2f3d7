"""What the paper reads from its Fig. 1 and Fig. 2: each claim in a lenient and a strict reading."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.figures.lines import (
    BETTER,
    BUDGETS,
    FIG2_WEIGHTS,
    METHODS,
    WEIGHTINGS,
    Budgets,
    Line,
    Unpublished,
    baseline,
    line,
)

#: A quantity's means over the budgets, shape (budgets,).
Series = NDArray[np.float64]

READINGS = {
    "end to end": "the last budget against the first",
    "step by step": "no budget goes against it from the one before",
    "slows": "falls end to end, "
    "and over the second half of the budgets less than half as much as over the first",
    "flat": "falls end to end, and in the last step by less than 1 % of the fall in the first",
    "on average": "against the mean of random, averaged over the budgets",
    "everywhere": "against the mean of random, at every budget",
}


@dataclass(frozen=True)
class Claim:
    """What a figure is said to show, one of :data:`READINGS` of it, and whether that holds."""

    text: str
    reading: str
    holds: bool


@dataclass(frozen=True)
class CheckedClaim:
    """A :class:`Claim` of ``figure`` 1 or 2 for one method at one set of parameters."""

    figure: int
    method: str
    parameters: Unpublished
    claim: Claim

    def row(self) -> dict[str, object]:
        """The line of ``claims.csv``."""
        return {
            "figure": self.figure,
            "method": self.method,
            **self.parameters._asdict(),
            "claim": self.claim.text,
            "reading": self.claim.reading,
            "holds": self.claim.holds,
        }


@dataclass(frozen=True)
class ClaimSummary:
    """A claim over all sets of parameters.

    ``chosen``: whether it holds at the chosen set; ``true_in``: in how many sets it does;
    ``decided_by``: the parameter that decides, with the share of true sets for each of its values;
    ``false_at``: a set where it does not hold.
    """

    figure: int
    claim: str
    reading: str
    method: str
    chosen: str
    true_in: str
    decided_by: str
    false_at: str


def falls(values: Series) -> bool:
    """Is the last value below the first? Here and below rounding errors do not count."""
    return bool(values[-1] < values[0] - _rounding(values))


def never_rises(values: Series) -> bool:
    """Is no value above the one before?"""
    return bool((np.diff(values) <= _rounding(values)).all())


def slows(values: Series) -> bool:
    """Does it fall, over its second half by less than half of the fall over its first?"""
    middle = len(values) // 2
    return falls(values) and bool(values[middle] - values[-1] < 0.5 * (values[0] - values[middle]))


def flattens(values: Series) -> bool:
    """Does it fall, in its last step by less than 1 % of the fall in its first?"""
    return falls(values) and bool(values[-2] - values[-1] < 0.01 * (values[0] - values[1]))


def _rounding(values: Series) -> float:
    return float(1e-9 * np.abs(values).max())


def fig1_claims(lines: Mapping[str, Line], random: Line) -> Iterator[Claim]:
    """The claims on Fig. 1; ``lines`` by weighting, ``random`` the baseline."""
    for quantity, verb, sign in (
        ("time", "falls", 1),
        ("accuracy", "rises", -1),
        ("energy", "rises", -1),
    ):
        for which, weightings in (("equal weights", ["equal"]), ("all weightings", list(lines))):
            text = f"{quantity} {verb} with the budget, {which}"
            series = [sign * lines[name].quantity(quantity).mean for name in weightings]
            yield Claim(text, "end to end", all(map(falls, series)))
            yield Claim(text, "step by step", all(map(never_rises, series)))
    for weighting, raised in WEIGHTINGS.items():
        quantities = [raised] if raised else list(BETTER)
        gains = [
            BETTER[name] * (lines[weighting].quantity(name).mean - random.quantity(name).mean)
            for name in quantities
        ]
        text = f"{weighting}: better {', '.join(quantities)} than random"
        yield Claim(text, "on average", all(gain.mean() > 0 for gain in gains))
        yield Claim(text, "everywhere", all(bool((gain > 0).all()) for gain in gains))


def fig2_claims(objective: Series) -> Iterator[Claim]:
    """The claims on the line of one S_0^max in Fig. 2, the objective over the budgets."""
    yield Claim("objective falls with the budget", "end to end", falls(objective))
    yield Claim("objective falls with the budget", "step by step", never_rises(objective))
    yield Claim("objective falls, then flattens", "slows", slows(objective))
    yield Claim("objective falls, then flattens", "flat", flattens(objective))


def check(
    method: str, unpublished: Unpublished, seeds: int = 100, budgets: Budgets = BUDGETS
) -> Iterator[CheckedClaim]:
    """Every claim for one method at one set of parameters."""
    lines = {
        weighting: line(method, unpublished, unpublished.weights(weighting), budgets)
        for weighting in WEIGHTINGS
    }
    objective = line(method, unpublished, FIG2_WEIGHTS, budgets).objective
    assert objective is not None  # these methods have weights
    for claim in fig1_claims(lines, baseline(unpublished, seeds, budgets)):
        yield CheckedClaim(1, method, unpublished, claim)
    for claim in fig2_claims(objective.mean):
        yield CheckedClaim(2, method, unpublished, claim)


def to_check(chosen: Unpublished, grid: Iterable[Unpublished]) -> list[tuple[str, Unpublished]]:
    """The methods and parameters to :func:`check`.

    ``chosen`` for every method, and the ``grid`` for those that a single run tells all of.
    """
    return [
        (method, unpublished)
        for method, (_, runs) in METHODS.items()
        for unpublished in dict.fromkeys([*(grid if len(runs) == 1 else ()), chosen])
    ]


def summary(checked: Iterable[CheckedClaim], chosen: Unpublished) -> list[ClaimSummary]:
    """One :class:`ClaimSummary` for each claim, reading and method."""
    groups: dict[tuple[int, str, str, str], dict[Unpublished, bool]] = defaultdict(dict)
    for entry in checked:
        key = entry.figure, entry.claim.text, entry.claim.reading, entry.method
        groups[key][entry.parameters] = entry.claim.holds
    return [
        ClaimSummary(
            *key,
            chosen=str(sets[chosen]).lower(),
            true_in=f"{sum(sets.values())} of {len(sets)}",
            decided_by=_deciding(sets),
            false_at=_first_false(sets),
        )
        for key, sets in groups.items()
    ]


def _first_false(sets: Mapping[Unpublished, bool]) -> str:
    wrong = next((parameters for parameters, holds in sets.items() if not holds), None)
    if wrong is None:
        return ""
    return " ".join(f"{name}={value:g}" for name, value in wrong._asdict().items())


def _deciding(sets: Mapping[Unpublished, bool]) -> str:
    """The parameter over whose values the share of true sets differs most, with these shares.

    Empty if no share differs.
    """
    shares: dict[str, dict[float, float]] = {}
    for index, name in enumerate(Unpublished._fields):
        truths: dict[float, list[bool]] = defaultdict(list)
        for parameters, holds in sorted(sets.items()):
            truths[parameters[index]].append(holds)
        shares[name] = {value: float(np.mean(truths[value])) for value in sorted(truths)}
    most = max(shares, key=lambda name: np.ptp(list(shares[name].values())))
    if np.ptp(list(shares[most].values())) == 0:
        return ""
    return f"{most} " + ", ".join(
        f"{value:g}: {share:.0%}" for value, share in shares[most].items()
    )


def by_method(table: Iterable[ClaimSummary]) -> list[dict[str, str]]:
    """The summary as a table to print, with a column for each method."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for entry in table:
        row = rows.setdefault(
            (entry.claim, entry.reading), {"claim": entry.claim, "reading": entry.reading}
        )
        row[entry.method] = f"{entry.chosen}, {entry.true_in}"
    return list(rows.values())


def markdown(
    table: Sequence[ClaimSummary], chosen: Unpublished, seeds: int, grid: Iterable[Unpublished]
) -> str:
    """The text of ``claims.md``."""
    at = ", ".join(f"{name} = {value:g}" for name, value in chosen._asdict().items())
    tried = ", ".join(
        f"{name} " + "/".join(f"{value:g}" for value in sorted(set(values)))
        for name, values in zip(Unpublished._fields, zip(*grid, strict=True), strict=True)
    )
    names = [name for name in vars(table[0]) if name != "figure"]
    lines = [
        "# What the paper reads from its figures",
        "",
        f"*chosen*: at {at}. *true in*: of the sets of unpublished parameters that were tried,",
        f"{tried}. *decided by*: the parameter that matters most,",
        "and in what share of the sets with each of its values the claim is true. "
        f"*random*: its mean over {seeds} seeds.",
        "",
        *(f"- *{reading}*: {meaning}" for reading, meaning in READINGS.items()),
        "",
        "| fig. | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "---|" * (1 + len(names)),
        *(f"| {' | '.join(map(str, vars(entry).values()))} |" for entry in table),
    ]
    return "\n".join(lines) + "\n"
