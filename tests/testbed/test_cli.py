"""The command line from outside: exit codes, one line for what is wrong, and nothing measured is
lost.
"""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solver import Problem, solve
from testbed.cli import main
from testbed.runs import store
from tests.solver.problems import example

ROOT = Path(__file__).parent.parent
VERBS = (
    "run",
    "calibrate",
    "problem",
    "solve",
    "execute",
    "generate",
    "bench",
    "fit",
    "report",
    "figures",
    "doctor",
)


def refused(capsys, *arguments):
    """Run, expect exit code 2 and one line on stderr; returns the line."""
    assert main([str(a) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("testbed: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"example: testbed {verb}" in capsys.readouterr().out


def test_wrong_input_never_shows_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "testbed.cli", "run", "embeded"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr
        == "testbed: preset: 'embeded' is unknown; perhaps you meant 'embedded'; allowed: embedded, mlperf, sd15, sdxl, transformer, turbo\n"
    )


def test_a_run_folder_of_another_configuration(tmp_path, small_config, capsys):
    out = tmp_path / "run"
    from testbed import config
    from testbed.stages import run as chain

    chain.open_run(config.load(small_config), out)
    small_config.write_text(
        small_config.read_text().replace("converged_steps = 12", "converged_steps = 20")
    )
    line = refused(capsys, "calibrate", small_config, "--out", out)
    assert "sweep" in line and "12" in line and "20" in line and "another --out" in line


def test_a_folder_that_is_no_run_folder_is_left_alone(tmp_path, small_config, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert "not a run folder" in refused(capsys, "run", small_config, "--out", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "prompts_per_class = 3",
            "prompts_per_class = 4000",
            "4000 prompts of class 'object' are asked for; allowed: at most 90",
        ),
        ("steps = [1, 2, 3, 6]", "steps = [0, 2]", "whole numbers of at least 1"),
        ("converged_steps = 12", "converged_steps = 6", "above the grid's largest, 6"),
        ("users = 6", "users = 6\nbudget = 3", "'budget' is unknown"),
        ("edge = { max_steps = 6 }", "edge = { max_steps = 9 }", "allowed: at most 6"),
        ('"embedded:edge"', '"nowhere/at/all"', "no such folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    tmp_path, small_config, capsys, old, new, message
):
    small_config.write_text(small_config.read_text().replace(old, new))
    assert message in refused(capsys, "run", small_config, "--out", tmp_path / "run")
    assert not (tmp_path / "run" / "calibration").exists()


def test_a_full_disk_loses_nothing(tmp_path, small_config, capsys, monkeypatch):
    """The disk fills after some records: exit code 1, one line; with space again, the same command
    goes on.
    """
    fewer = (
        small_config.read_text()
        .replace("prompts_per_class = 3", "prompts_per_class = 2")
        .replace("[1, 2, 3, 6]", "[1, 2, 3]")
    )
    small_config.write_text(fewer.replace("converged_steps = 12", "converged_steps = 6"))
    out, written = tmp_path / "run", []
    real = store.write_atomic

    def fills(path, data):
        if len(written) == 12:
            raise OSError(28, os.strerror(28), str(path))
        written.append(path)
        real(path, data)

    monkeypatch.setattr(store, "write_atomic", fills)
    assert main(["calibrate", str(small_config), "--out", str(out)]) == 1
    err = capsys.readouterr().err
    assert (
        "No space left on device" in err
        and "what was measured is kept" in err
        and "Traceback" not in err
    )
    kept = (out / "calibration" / "records.jsonl").read_bytes()
    assert kept.count(b"\n") == 12
    monkeypatch.setattr(store, "write_atomic", real)
    assert main(["calibrate", str(small_config), "--out", str(out)]) == 0
    assert (out / "calibration" / "records.jsonl").read_bytes().startswith(kept)


def test_generate_makes_each_request_once(tmp_path, capsys):
    requests = tmp_path / "r.jsonl"
    asked = [
        {"id": f"r{i}", "prompt": "a big red ball in the middle", "seed": i, "steps": 2 + i}
        for i in range(3)
    ]
    asked[2]["guidance"] = 1.0
    requests.write_text("".join(json.dumps(one) + "\n" for one in asked))
    command = ["generate", "--model", "embedded:light", str(requests), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    log = tmp_path / "out" / "records.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(r["id"], r["asked"]["steps"], r["asked"]["guidance"]) for r in lines] == [
        ("r0", 2, 3.0),
        ("r1", 3, 3.0),
        ("r2", 4, 1.0),
    ]
    assert all(
        np.asarray(Image.open(tmp_path / "out" / f"r{i}.png")).shape == (64, 64, 3)
        for i in range(3)
    )
    before = log.read_bytes()
    assert main(command) == 0 and log.read_bytes() == before


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 1: not valid JSON"),
        ('{"id": "a", "prompt": "x", "seed": 1}', "steps: found None"),
        ('{"id": "a", "prompt": "x", "seed": 1, "steps": 0}', "steps of at least 1"),
        ('{"id": "../a", "prompt": "x", "seed": 1, "steps": 1}', "a plain file name"),
        ('{"id": "a", "prompt": "x", "seed": 1, "stepz": 1}', "perhaps you meant 'steps'"),
        ('{"id": "a", "prompt": "x", "seed": true, "steps": 1}', "seed: found True"),
        (
            '{"id": "a", "prompt": "x", "seed": 1, "steps": 1, "negative_prompt": 3}',
            "negative_prompt: found 3; allowed: non-empty text",
        ),
    ],
)
def test_bad_requests_are_named(tmp_path, capsys, line, message):
    (tmp_path / "r.jsonl").write_text(line + "\n")
    assert message in refused(
        capsys,
        "generate",
        "--model",
        "embedded:light",
        tmp_path / "r.jsonl",
        "-o",
        tmp_path / "out",
    )


def test_fit_prints_or_writes_a_fit(tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text(
        "steps,value\n" + "".join(f"{s},{2 * 0.8**s + 0.3}\n" for s in (1, 2, 3, 5, 8, 12, 20))
    )
    assert main(["fit", str(points), "--predict", "4,30"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "fit/1" and result["chosen"] == "exponential_floor"
    assert result["predictions"][0]["value"] == pytest.approx(2 * 0.8**4 + 0.3, rel=1e-3)
    assert [p["extrapolated"] for p in result["predictions"]] == [False, True]
    assert "whole numbers" in refused(capsys, "fit", points, "--predict", "4;6")
    assert "no such file" in refused(capsys, "fit", tmp_path / "none.csv")


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


def test_solve_pareto(problem_file, tmp_path, capsys):
    assert main(["solve", str(problem_file), "--pareto", "--csv", str(tmp_path / "f.csv")]) == 0
    lines, _ = printed(capsys)
    written = list(csv.DictReader((tmp_path / "f.csv").open()))
    assert list(written[0]) == ["w1", "w2", "c1", "c2", "c3", "time", "energy", "error", "utility"]
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
    found = solve(Problem.from_dict(Problem.load(problem_file).to_dict() | {"weights": weights}))
    assert [float(written[3][name]) for name in ("time", "energy", "error", "utility")] == [
        found.time,
        found.energy,
        found.error,
        found.utility,
    ]
    assert (tmp_path / "f.svg").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            [],
            "-o: is missing; allowed: a file for the allocation, or one of --compare, --sweep, --pareto",
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


def test_doctor_names_device_meter_and_weights(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("device:", "energy:", "embedded:edge", "embedded:light", "emulated:"):
        assert word in out
