"""The claims about the paper's figures, on series made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.figures import claims
from testbed.figures.claims import CheckedClaim, Claim
from testbed.figures.lines import WEIGHTINGS, Line, Spread, Unpublished


def series(*values):
    return np.array(values, dtype=float)


def line(time, accuracy, energy):
    """A line of one run."""
    return Line(*(Spread(values, values, values) for values in (time, accuracy, energy)))


@pytest.mark.parametrize(
    "values, falls, never_rises, slows, flattens",
    [
        ((4, 3, 2, 1, 0), True, True, False, False),
        ((9, 4, 2, 1, 0.96), True, True, True, True),
        ((9, 4, 2, 1, 0.9), True, True, True, False),
        ((9, 8, 6, 8, 5), True, False, True, False),
        ((5, 5, 5, 5, 5), False, True, False, False),
        ((5, 5, 5, 5, 5 + 1e-12), False, True, False, False),
        ((1, 2, 3, 4, 5), False, False, False, False),
        ((9, 9, 9, 9, 1), True, True, False, False),
    ],
)
def test_readings_by_hand(values, falls, never_rises, slows, flattens):
    reads = (claims.falls, claims.never_rises, claims.slows, claims.flattens)
    assert [read(series(*values)) for read in reads] == [falls, never_rises, slows, flattens]


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=9), st.sampled_from([1e-6, 1.0, 1e6]))
def test_readings_of_any_series(values, scale):
    """Strict readings imply lenient ones, units do not matter, a series and its mirror do not both
    fall.
    """
    line = series(*values)
    reads = (claims.falls, claims.never_rises, claims.slows, claims.flattens)
    falls, never, slows, flat = (read(line) for read in reads)
    assert (falls, never, slows, flat) == tuple(read(scale * line) for read in reads)
    assert falls == (values[-1] < values[0]) and never == (values == sorted(values, reverse=True))
    assert falls or not (slows or flat)
    assert not (falls and claims.falls(-line))
    if never and claims.never_rises(-line):
        assert len(set(values)) == 1


def test_fig1_claims_by_hand():
    """Of four weightings the last is of another kind: the claims of equal weights stand, those of
    all fall.
    """
    good = line(series(3, 2, 2), series(0.5, 0.6, 0.7), series(1, 2, 3))
    other = line(series(3, 2, 4), series(0.5, 0.6, 0.7), series(1, 0, 2))
    lines = dict.fromkeys(WEIGHTINGS, good) | {"c3 raised": other}
    random = line(series(3.5, 1, 3.5), series(0.4, 0.4, 0.4), series(1.5, 1.5, 1.5))
    truth = {
        (claim.text, claim.reading): claim.holds for claim in claims.fig1_claims(lines, random)
    }
    assert len(truth) == 20
    assert truth["time falls with the budget, equal weights", "end to end"]
    assert truth["time falls with the budget, equal weights", "step by step"]
    assert not truth["time falls with the budget, all weightings", "end to end"]
    assert truth["energy rises with the budget, all weightings", "end to end"]
    assert not truth["energy rises with the budget, all weightings", "step by step"]
    assert truth["accuracy rises with the budget, all weightings", "step by step"]
    # time: 3, 2, 2 against 3.5, 1, 3.5; energy of c3: 1, 0, 2 against 1.5 each
    assert truth["c1 raised: better time than random", "on average"]
    assert not truth["c1 raised: better time than random", "everywhere"]
    assert truth["c2 raised: better accuracy than random", "everywhere"]
    assert truth["c3 raised: better energy than random", "on average"]
    assert not truth["c3 raised: better energy than random", "everywhere"]
    # its energy is 2 on average
    assert not truth["equal: better time, accuracy, energy than random", "on average"]


def test_summary_counts_and_names():
    """Two of four sets are true, those of the larger S1; the first false one is named."""
    sets = {Unpublished(C1, 0.1, 20, S1): S1 == 50 for C1 in (0.1, 0.2) for S1 in (20, 50)}
    checked = [
        CheckedClaim(1, "exact", parameters, Claim("it falls", "end to end", holds))
        for parameters, holds in sets.items()
    ]
    chosen = Unpublished(0.2, 0.1, 20, 50)
    (row,) = table = claims.summary(checked, chosen)
    assert (row.chosen, row.true_in, row.decided_by) == ("true", "2 of 4", "S1 20: 0%, 50: 100%")
    assert row.false_at == "C1=0.1 C2=0.1 S0=20 S1=20 raised=3"
    assert claims.by_method(table) == [
        {"claim": "it falls", "reading": "end to end", "exact": "true, 2 of 4"}
    ]
    assert (
        "| 1 | it falls | end to end | exact | true | 2 of 4 | S1 20: 0%, 50: 100% "
        "| C1=0.1 C2=0.1 S0=20 S1=20 raised=3 |" in claims.markdown(table, chosen, 7, sets)
    )
