"""The paper's figures: the claims on series made by hand, the numbers against the solvers, the
files that are written.
"""

import csv
import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver import solve
from testbed import figures
from testbed.commands import solve as study
from testbed.cli import main
from testbed.figures import BETTER, WEIGHTINGS, Unpublished, claims
from tests.testbed.test_cli import refused

CHOSEN = Unpublished(C1=0.2, C2=0.3, S0=6, S1=9)
BUDGETS = (40, 120, 300)


def series(*values):
    return np.array(values, dtype=float)


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
    found = [read(series(*values)) for read in (claims.falls, claims.never_rises, claims.slows, claims.flattens)]
    assert found == [falls, never_rises, slows, flattens]


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=9), st.sampled_from([1e-6, 1.0, 1e6]))
def test_readings_of_any_series(values, scale):
    """Strict readings imply lenient ones, the unit does not matter, and a series and its mirror
    image do not both fall.
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


def truth(found):
    return {(claim, reading): holds for claim, reading, holds in found}


def test_fig1_claims_by_hand():
    """Of four weightings the last is of another kind: the claims of equal weights stand, those of
    all fall.
    """
    good = {"time": series(3, 2, 2), "accuracy": series(0.5, 0.6, 0.7), "energy": series(1, 2, 3)}
    lines = dict.fromkeys(WEIGHTINGS, good) | {
        "c3 raised": {"time": series(3, 2, 4), "accuracy": good["accuracy"], "energy": series(1, 0, 2)}
    }
    random = {"time": series(3.5, 1, 3.5), "accuracy": series(0.4, 0.4, 0.4), "energy": series(1.5, 1.5, 1.5)}
    found = truth(claims.fig1_claims(lines, random))
    assert len(found) == 20
    assert (
        found["time falls with the budget, equal weights", "end to end"]
        and found["time falls with the budget, equal weights", "step by step"]
    )
    assert not found["time falls with the budget, all weightings", "end to end"]
    assert found["energy rises with the budget, all weightings", "end to end"]
    assert not found["energy rises with the budget, all weightings", "step by step"]
    assert found["accuracy rises with the budget, all weightings", "step by step"]
    # time: 3, 2, 2 against 3.5, 1, 3.5; energy of c3: 1, 0, 2 against 1.5 each
    assert found["c1 raised: better time than random", "on average"] and not found["c1 raised: better time than random", "everywhere"]
    assert found["c2 raised: better accuracy than random", "everywhere"]
    assert found["c3 raised: better energy than random", "on average"] and not found["c3 raised: better energy than random", "everywhere"]
    # its energy is 2 on average
    assert not found["equal: better time, accuracy, energy than random", "on average"]


def test_problem_is_the_papers():
    """30 UEs, steps of 1/500 and 1/1000 s, k f^3 = 0.03375 and 10 W, C1 and C2 at both places."""
    data = figures.problem(250, CHOSEN, (0.3, 0.7), CHOSEN.weights("c1 raised")).to_dict()
    assert (data["users"], data["edge_budget"]) == (30, 250)
    assert [data[place][name] for place in ("local", "edge") for name in ("step_time", "overhead", "max_steps")] == [
        0.002,
        0,
        6,
        0.001,
        0,
        9,
    ]
    assert [data[place]["power"] for place in ("local", "edge")] == pytest.approx([0.03375, 10.0])
    assert data["weights"] == {"cost": 0.3, "utility": 0.7, "time": 1.0, "error": 1 / 3, "energy": 1 / 3}
    for place in ("local", "edge"):
        assert data[place]["error"] == {"family": "exponential", "scale": 1.0, "decay": 0.2}
        assert data[place]["utility"] == {"family": "saturating", "rate": 0.3}
    for (weighting, quantity), times in zip(WEIGHTINGS.items(), ([1, 1, 1], [7, 1, 1], [1, 7, 1], [1, 1, 7])):
        c = Unpublished(raised=7.0).weights(weighting)
        assert np.array(c) == pytest.approx(np.array(times) / 3) and (quantity in BETTER) == (max(times) == 7)


def test_baseline_is_random_itself():
    """Drawn once for all error curves, it is still the mean and the percentiles of the method's own
    allocations.
    """
    found = figures.baseline(CHOSEN, 6, BUDGETS)
    for index, budget in enumerate(BUDGETS):
        drawn = [solve(figures.problem(budget, CHOSEN), "random", seed=seed) for seed in range(6)]
        for name, values in (
            ("time", [d.time for d in drawn]),
            ("accuracy", [1 - d.error for d in drawn]),
            ("energy", [d.energy for d in drawn]),
        ):
            assert found[name][:, index] == pytest.approx([np.mean(values), *np.percentile(values, (5, 95))], rel=1e-12)


def test_summary_counts_and_names():
    """Two of four sets are true, those of the larger S1; the first false one is named."""
    sets = {Unpublished(C1, 0.1, 20, S1): S1 == 50 for C1 in (0.1, 0.2) for S1 in (20, 50)}
    rows = [
        {"figure": 1, "method": "exact", **one._asdict(), "claim": "it falls", "reading": "end to end", "holds": h}
        for one, h in sets.items()
    ]
    chosen = Unpublished(0.2, 0.1, 20, 50)
    (row,) = table = claims.summary(rows, chosen)
    assert (row["chosen"], row["true_in"], row["decided_by"]) == ("true", "2 of 4", "S1 20: 0%, 50: 100%")
    assert row["false_at"] == "C1=0.1 C2=0.1 S0=20 S1=20 raised=3"
    assert claims.by_method(table) == [{"claim": "it falls", "reading": "end to end", "exact": "true, 2 of 4"}]
    assert (
        "| 1 | it falls | end to end | exact | true | 2 of 4 | S1 20: 0%, 50: 100% | C1=0.1 C2=0.1 S0=20 S1=20 raised=3 |"
        in claims.markdown(table, chosen, 7, sets)
    )


@pytest.mark.parametrize("text", ["C3=1", "C1=", "C1=0", "S0=2.5", "S1=0", "C1=nan", "S1=1e3", "C1", ""])
def test_wrong_parameters(tmp_path, capsys, text):
    line = refused(capsys, "figures", "--unpublished", text, "--out", tmp_path / "f")
    assert "--unpublished: found" in line and not (tmp_path / "f").exists()


def test_figures_are_written(tmp_path, capsys, monkeypatch):
    """The command, with few budgets, sets and seeds: the CSV is what the solvers say, the files are
    pictures, the table is printed.
    """
    monkeypatch.setitem(figures.METHODS, "paper, random starts", ("paper", [{"start": "random", "seed": seed} for seed in range(2)]))
    monkeypatch.setattr(study, "figures", functools.partial(study.figures, grid=(Unpublished(0.3, 0.3, 10, 12, 3.0),), budgets=BUDGETS))
    out = tmp_path / "f"
    assert main(["figures", "--out", str(out), "--seeds", "3", "--unpublished", "C1=0.2,C2=0.3,S0=6,S1=9"]) == 0
    names = [f"{name}{suffix}" for name in ("fig1", "fig2") for suffix in (".csv", ".svg", ".png")] + ["claims.csv", "claims.md"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    printed = capsys.readouterr().out
    assert set(printed.splitlines()[-8:]) == {str(out / name) for name in names}
    assert (out / "fig1.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (out / "fig2.svg").read_text()
    rows = list(csv.DictReader((out / "fig1.csv").open()))
    assert len(rows) == 3 * (1 + 3 * 4)
    for row in rows:
        if row["method"] in ("exact", "paper"):
            found = solve(figures.problem(int(row["edge_budget"]), CHOSEN, c=CHOSEN.weights(row["weighting"])), row["method"])
            assert [float(row[name]) for name in ("time", "accuracy", "energy")] == [found.time, 1 - found.error, found.energy]
            assert math.isclose(float(row["time_low"]), found.time) and math.isclose(float(row["time_high"]), found.time)
    for row in csv.DictReader((out / "fig2.csv").open()):
        some = CHOSEN._replace(S0=int(row["local_max_steps"]))
        name, runs = figures.METHODS[row["method"]]
        found = [solve(figures.problem(int(row["edge_budget"]), some, (0.3, 0.7)), name, **settings).objective for settings in runs]
        assert float(row["objective"]) == pytest.approx(np.mean(found), rel=1e-12)
    checked = list(csv.DictReader((out / "claims.csv").open()))
    assert len(checked) == 24 * (2 + 2 + 1) and {row["holds"] for row in checked} == {"True", "False"}
    assert printed.count("energy rises with the budget, equal weights") == 2 and "of 2" in printed and "of 1" in printed
