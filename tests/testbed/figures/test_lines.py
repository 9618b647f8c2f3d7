"""The lines of the paper's figures against the solvers, and the files that are written."""

import csv
import functools
import math

import numpy as np
import pytest

from solver import solve
from testbed.cli import main
from testbed.commands import figures as command
from testbed.figures import lines
from testbed.figures.lines import BETTER, FIG2_WEIGHTS, WEIGHTINGS, Unpublished
from tests.testbed.test_cli import refused

CHOSEN = Unpublished(C1=0.2, C2=0.3, S0=6, S1=9)
BUDGETS = (40, 300)


def test_problem_is_the_papers():
    """30 users, steps of 1/500 and 1/1000 s, k f^3 = 0.03375 and 10 W, C1 and C2 at both places."""
    weights = (*FIG2_WEIGHTS[:2], *CHOSEN.weights("c1 raised")[2:])
    data = lines.problem(250, CHOSEN, weights).to_dict()
    assert (data["users"], data["edge_budget"]) == (30, 250)
    assert [
        data[place][name]
        for place in ("local", "edge")
        for name in ("step_time", "overhead", "max_steps")
    ] == [0.002, 0, 6, 0.001, 0, 9]
    assert [data[place]["power"] for place in ("local", "edge")] == pytest.approx([0.03375, 10.0])
    assert data["weights"] == {
        "cost": 0.3,
        "utility": 0.7,
        "time": 1.0,
        "error": 1 / 3,
        "energy": 1 / 3,
    }
    for place in ("local", "edge"):
        assert data[place]["error"] == {"family": "exponential", "scale": 1.0, "decay": 0.2}
        assert data[place]["utility"] == {"family": "saturating", "rate": 0.3}
    for (weighting, quantity), times in zip(
        WEIGHTINGS.items(), ([1, 1, 1], [7, 1, 1], [1, 7, 1], [1, 1, 7]), strict=True
    ):
        c = Unpublished(raised=7.0).weights(weighting)[2:]
        assert np.array(c) == pytest.approx(np.array(times) / 3)
        assert (quantity in BETTER) == (max(times) == 7)


def test_baseline_is_random_itself():
    """Drawn once for all error curves, it is still the mean and the percentiles of the method's own
    allocations.
    """
    random = lines.baseline(CHOSEN, 6, BUDGETS)
    for index, budget in enumerate(BUDGETS):
        drawn = [solve(lines.problem(budget, CHOSEN), "random", seed=seed) for seed in range(6)]
        for spread, values in (
            (random.time, [run.time for run in drawn]),
            (random.accuracy, [1 - run.error for run in drawn]),
            (random.energy, [run.energy for run in drawn]),
        ):
            ends = [spread.mean[index], spread.low[index], spread.high[index]]
            expected = [np.mean(values), *np.percentile(values, (5, 95))]
            assert ends == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["C3=1", "C1=", "C1=0", "S0=2.5", "S1=0", "C1=nan", "S1=1e3", "C1", ""]
)
def test_wrong_parameters(tmp_path, capsys, text):
    line = refused(capsys, "figures", "--unpublished", text, "--out", tmp_path / "f")
    assert "--unpublished: found" in line and not (tmp_path / "f").exists()


def test_figures_are_written(tmp_path, capsys, monkeypatch):
    """The command, with few budgets, sets and seeds: the CSV is what the solvers say, the files are
    images, the table is printed.
    """
    starts = [{"start": "random", "seed": seed} for seed in range(2)]
    few = (Unpublished(0.3, 0.3, 10, 12, 3.0),)
    monkeypatch.setitem(lines.METHODS, "paper, random starts", ("paper", starts))
    smaller = functools.partial(command.figures, grid=few, budgets=BUDGETS)
    monkeypatch.setattr(command, "figures", smaller)
    out = tmp_path / "f"
    chosen = ["--unpublished", "C1=0.2,C2=0.3,S0=6,S1=9"]
    assert main(["figures", "--out", str(out), "--seeds", "3", *chosen]) == 0
    names = [
        *(f"{name}{suffix}" for name in ("fig1", "fig2") for suffix in (".csv", ".svg", ".png")),
        "claims.csv",
        "claims.md",
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    printed = capsys.readouterr().out
    assert set(printed.splitlines()[-8:]) == {str(out / name) for name in names}
    assert (out / "fig1.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (out / "fig2.svg").read_text()
    rows = list(csv.DictReader((out / "fig1.csv").open()))
    assert len(rows) == len(BUDGETS) * (1 + 3 * 4)
    for row in rows:
        if row["method"] in ("exact", "paper"):
            weights = CHOSEN.weights(row["weighting"])
            best = solve(lines.problem(int(row["edge_budget"]), CHOSEN, weights), row["method"])
            values = [float(row[name]) for name in ("time", "accuracy", "energy")]
            assert values == [best.time, 1 - best.error, best.energy]
            for end in ("time_low", "time_high"):
                assert math.isclose(float(row[end]), best.time)
    for row in csv.DictReader((out / "fig2.csv").open()):
        parameters = CHOSEN._replace(S0=int(row["local_max_steps"]))
        name, runs = lines.METHODS[row["method"]]
        instance = lines.problem(int(row["edge_budget"]), parameters, FIG2_WEIGHTS)
        objectives = [solve(instance, name, **settings).objective for settings in runs]
        assert float(row["objective"]) == pytest.approx(np.mean(objectives), rel=1e-12)
    checked = list(csv.DictReader((out / "claims.csv").open()))
    assert len(checked) == 24 * (2 + 2 + 1)
    assert {row["holds"] for row in checked} == {"True", "False"}
    assert printed.count("energy rises with the budget, equal weights") == 2
    assert "of 2" in printed and "of 1" in printed
