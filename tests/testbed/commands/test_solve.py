"""``testbed solve``: an allocation, or a table of many."""

import csv
import json
import os
import re

import pytest

from solver import Problem, solve
from testbed.cli import main
from testbed.figures import plots
from tests.solver.problems import example
from tests.testbed.commands.world import refused


@pytest.fixture
def problem_file(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(
        json.dumps(example(users=5, edge_budget=60, local__max_steps=[20, 20, 20, 20, 0]))
    )
    return path


def printed(capsys):
    """The lines that a table was printed as: each of at most 120 characters; and the cells of each
    row by its first.
    """
    lines = capsys.readouterr().out.splitlines()
    assert (
        max(len(line) for line in lines if ": " not in line) <= 120
    )  # reasons are longer, they name files
    return lines, {
        cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", line.strip()) for line in lines)
    }


def test_solve_with_anyones_solver_and_compare(problem_file, tmp_path, capsys, monkeypatch):
    """The allocation of a solver of one's own, and its row beside all others; a method that cannot
    is a dash and a reason.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # put back afterwards
    (tmp_path / "split_evenly.py").write_text(
        "def split(problem):\n    return [0, 0, 0, 0, 1], [20, 20, 20, 20, 50]\n"
    )
    arguments = [
        "solve",
        str(problem_file),
        "--solver",
        "split_evenly:split",
        "-o",
        "a.json",
        "--compare",
        "--csv",
        "c.csv",
    ]
    assert main(arguments) == 0
    saved, problem = json.loads((tmp_path / "a.json").read_text()), Problem.load(problem_file)
    assert (saved["solver"], saved["steps"], saved["lower_bound"]) == (
        "split_evenly:split",
        [20, 20, 20, 20, 50],
        None,
    )
    lines, rows = printed(capsys)
    assert lines[0].startswith("split_evenly:split: feasible") and lines[-2:] == ["c.csv", "c.svg"]
    assert rows["solver"] == [
        "runs",
        "objective",
        "gap",
        "time, s",
        "energy, J",
        "error",
        "utility",
        "seconds",
    ]
    best = solve(problem)
    assert rows["exact"][:3] == ["1", f"{best.objective:.5g}", "0"]
    assert float(rows["split_evenly:split"][2]) == pytest.approx(
        1 - saved["objective"] / best.objective, rel=1e-3
    )
    assert rows["all_local"] == ["0", *7 * "-"] and rows["random, mean"][0] == "100"
    assert sum("1 of 5 users can only be served on the edge" in line for line in lines) == 1
    written = {row["solver"]: row for row in csv.DictReader((tmp_path / "c.csv").open())}
    assert (
        float(written["greedy"]["objective"]) == solve(problem, "greedy").objective
        and written["all_local"]["objective"] == ""
    )
    assert "gap to the optimum" in (tmp_path / "c.svg").read_text()


def test_solve_sweep(problem_file, tmp_path, capsys):
    assert (
        main(
            [
                "solve",
                str(problem_file),
                "--sweep",
                "edge_budget=0:60:20",
                "--csv",
                str(tmp_path / "s.csv"),
            ]
        )
        == 0
    )
    lines, rows = printed(capsys)
    assert [rows[budget][0] for budget in ("0", "60")] == [
        "-",
        f"{solve(Problem.load(problem_file)).objective:.5g}",
    ]
    assert any(line.startswith("0: ") and "edge_budget: 0 is too small" in line for line in lines)
    written = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["edge_budget"] for row in written] == ["0", "20", "40", "60"] and written[0][
        "edge_price"
    ] == ""
    assert "edge price" in (tmp_path / "s.svg").read_text()
    assert (tmp_path / "s.pdf").read_bytes()[:5] == b"%PDF-"


def test_a_sweep_of_a_list_entry_with_several_methods(problem_file, tmp_path, capsys, monkeypatch):
    """Methods x values in one table and one plot; a method that cannot is a dash."""
    monkeypatch.chdir(tmp_path)
    methods = ["--solver", "exact", "--solver", "greedy", "--solver", "all_local"]
    sweep = ["--sweep", "local.max_steps[4]=0:20:10", "--csv", "s.csv"]
    assert main(["solve", str(problem_file), *methods, *sweep]) == 0
    assert "all_local: 1 of 5 users can only be served on the edge" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["solver"] for row in rows] == ["exact", "greedy", "all_local"] * 3
    by = {(row["local.max_steps[4]"], row["solver"]): row["objective"] for row in rows}
    assert by["0", "all_local"] == "" and float(by["20", "all_local"]) > float(by["20", "exact"])
    picture = (tmp_path / "s.svg").read_text()
    assert "greedy" in picture and "all_local" in picture
    for key in ("edge.error.rates[3]", "local.max_steps[5]", "local.max_steps", "weights[0]"):
        assert main(["solve", str(problem_file), "--sweep", f"{key}=1:2:1"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_broken_pipe_loses_no_table(problem_file, tmp_path, monkeypatch):
    """`testbed solve ... | head` closes the pipe before all is printed."""

    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr(plots, "sweep", lambda rows, paths: [path.touch() for path in paths])
    path = tmp_path / "s.csv"
    arguments = ["solve", str(problem_file), "--sweep", "edge_budget=20:60:20", "--csv", str(path)]
    with pytest.raises(BrokenPipeError):
        main(arguments)
    assert len(path.read_text().splitlines()) == 4
    assert path.with_suffix(".svg").exists() and path.with_suffix(".pdf").exists()


def test_solve_pareto(problem_file, tmp_path, capsys):
    assert main(["solve", str(problem_file), "--pareto", "--csv", str(tmp_path / "f.csv")]) == 0
    lines, _ = printed(capsys)
    written = list(csv.DictReader((tmp_path / "f.csv").open()))
    weights = ["w1", "w2", "c1", "c2", "c3"]
    assert list(written[0]) == [*weights, "time", "energy", "error", "utility", "gap"]
    assert max(float(row["gap"]) for row in written) <= 1e-9
    assert (
        f"140 weightings tried, {len(written)} different optima that none of the others beats"
        in lines
    )
    weights = dict(
        zip(
            ("cost", "utility", "time", "error", "energy"),
            map(float, list(written[3].values())[:5]),
        )
    )
    best = solve(Problem.from_dict(Problem.load(problem_file).to_dict() | {"weights": weights}))
    assert [float(written[3][name]) for name in ("time", "energy", "error", "utility")] == [
        best.time,
        best.energy,
        best.error,
        best.utility,
    ]
    assert (tmp_path / "f.svg").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            [],
            "-o: is missing; allowed: a file for the allocation, "
            "or one of --compare, --sweep, --pareto",
        ),
        (
            ["--sweep", "edge_budget=1:2:1", "-o", "a.json"],
            "-o: found 'a.json' with --sweep or --pareto",
        ),
        (
            ["-o", "a.json", "--csv", "a.csv"],
            "--csv: allowed only with --compare, --sweep or --pareto",
        ),
        (["--pareto", "--csv", "a.svg"], "--csv: found 'a.svg'; allowed: a name that ends in .csv"),
        (
            ["--pareto", "--solver", "greedy"],
            "--pareto: found --solver or --seed; allowed: neither",
        ),
        (["--sweep", "edge_budget"], "--sweep: found 'edge_budget'; allowed: KEY=START:STOP:STEP"),
        (
            ["--solver", "exact", "--seed", "1", "-o", "a.json"],
            "solver exact: 'seed' is unknown; its settings: none",
        ),
        (
            ["--compare", "--solver", "no_such_module:f"],
            "no_such_module:f: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            ["--sweep", "edge_budget=10:60:10", "--solver", "gredy"],
            "solver: 'gredy' is unknown; perhaps you meant 'greedy'",
        ),
        (
            ["--sweep", "edge_budget=10:60:10", "--solver", "all_local"],
            "all_local: 1 of 5 users can only be served on the edge",
        ),
        (
            ["--compare", "--solver", "gredy"],
            "solver: 'gredy' is unknown; perhaps you meant 'greedy'",
        ),
    ],
)
def test_solve_refuses(problem_file, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "solve", problem_file, *arguments)
    assert os.listdir(tmp_path) == [problem_file.name]


@pytest.mark.parametrize(
    "option, arguments",
    [
        ("-o", ["solve", "PROBLEM", "-o", "PLACE/a.json"]),
        ("-o", ["solve", "PROBLEM", "-o", "taken"]),
        ("--csv", ["solve", "PROBLEM", "--pareto", "--csv", "PLACE/a.csv"]),
        ("--out", ["figures", "--out", "PLACE"]),
        ("-o", ["bench", "--architecture", "sd15", "-o", "PLACE/a.json"]),
    ],
)
def test_what_cannot_be_written_is_refused_before_it_is_worked_out(
    problem_file, tmp_path, capsys, monkeypatch, option, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "place").touch()
    (tmp_path / "taken").mkdir()
    words = [w.replace("PROBLEM", problem_file.name).replace("PLACE", "place") for w in arguments]
    line = refused(capsys, *words)
    assert line.startswith(f"testbed: {option}: found ") and "allowed: what can be written" in line


def test_seed_of_the_random_baseline(problem_file, tmp_path):
    for seed in (3, 4):
        assert (
            main(
                [
                    "solve",
                    str(problem_file),
                    "--solver",
                    "random",
                    "--seed",
                    str(seed),
                    "-o",
                    str(tmp_path / f"{seed}.json"),
                ]
            )
            == 0
        )
        assert (
            json.loads((tmp_path / f"{seed}.json").read_text())["steps"]
            == solve(Problem.load(problem_file), "random", seed=seed).steps
        )
