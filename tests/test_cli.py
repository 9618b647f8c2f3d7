"""The command line from outside: exit codes, one line for what is wrong, and nothing measured is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed import store
from testbed.cli import main

ROOT = Path(__file__).parent.parent
VERBS = ("run", "calibrate", "problem", "solve", "execute", "generate", "fit", "report", "doctor")


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
    done = subprocess.run([sys.executable, "-m", "testbed.cli", "run", "embeded"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "testbed: preset: 'embeded' is unknown; perhaps you meant 'embedded'; allowed: embedded\n"


def test_a_run_folder_of_another_configuration(tmp_path, small_config, capsys):
    out = tmp_path / "run"
    from testbed import chain, config

    chain.open_run(config.load(small_config), out)
    small_config.write_text(small_config.read_text().replace("converged_steps = 12", "converged_steps = 20"))
    line = refused(capsys, "calibrate", small_config, "--out", out)
    assert "sweep" in line and "12" in line and "20" in line and "another --out" in line


def test_a_folder_that_is_no_run_folder_is_left_alone(tmp_path, small_config, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert "not a run folder" in refused(capsys, "run", small_config, "--out", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("prompts_per_class = 3", "prompts_per_class = 4000", "4000 prompts of class 'object' are asked for; allowed: at most 90"),
        ("steps = [1, 2, 3, 6]", "steps = [0, 2]", "whole numbers of at least 1"),
        ("converged_steps = 12", "converged_steps = 6", "above the grid's largest, 6"),
        ("users = 6", "users = 6\nbudget = 3", "'budget' is unknown"),
        ("edge = { max_steps = 6 }", "edge = { max_steps = 9 }", "allowed: at most 6"),
        ('"embedded:edge"', '"nowhere/at/all"', "no such folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(tmp_path, small_config, capsys, old, new, message):
    small_config.write_text(small_config.read_text().replace(old, new))
    assert message in refused(capsys, "run", small_config, "--out", tmp_path / "run")
    assert not (tmp_path / "run" / "calibration").exists()


def test_a_full_disk_loses_nothing(tmp_path, small_config, capsys, monkeypatch):
    """The disk fills after some records: exit code 1, one line; with space again, the same command goes on."""
    fewer = small_config.read_text().replace("prompts_per_class = 3", "prompts_per_class = 2").replace("[1, 2, 3, 6]", "[1, 2, 3]")
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
    assert "No space left on device" in err and "what was measured is kept" in err and "Traceback" not in err
    kept = (out / "calibration" / "records.jsonl").read_bytes()
    assert kept.count(b"\n") == 12
    monkeypatch.setattr(store, "write_atomic", real)
    assert main(["calibrate", str(small_config), "--out", str(out)]) == 0
    assert (out / "calibration" / "records.jsonl").read_bytes().startswith(kept)


def test_generate_makes_each_request_once(tmp_path, capsys):
    requests = tmp_path / "r.jsonl"
    asked = [{"id": f"r{i}", "prompt": "a big red ball in the middle", "seed": i, "steps": 2 + i} for i in range(3)]
    asked[2]["guidance"] = 1.0
    requests.write_text("".join(json.dumps(one) + "\n" for one in asked))
    command = ["generate", "--model", "embedded:light", str(requests), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    log = tmp_path / "out" / "records.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(r["id"], r["asked"]["steps"], r["asked"]["guidance"]) for r in lines] == [("r0", 2, 3.0), ("r1", 3, 3.0), ("r2", 4, 1.0)]
    assert all(np.asarray(Image.open(tmp_path / "out" / f"r{i}.png")).shape == (64, 64, 3) for i in range(3))
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
    ],
)
def test_bad_requests_are_named(tmp_path, capsys, line, message):
    (tmp_path / "r.jsonl").write_text(line + "\n")
    assert message in refused(capsys, "generate", "--model", "embedded:light", tmp_path / "r.jsonl", "-o", tmp_path / "out")


def test_fit_prints_or_writes_a_fit(tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text("steps,value\n" + "".join(f"{s},{2 * 0.8**s + 0.3}\n" for s in (1, 2, 3, 5, 8, 12, 20)))
    assert main(["fit", str(points), "--predict", "4,30"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "fit/1" and result["chosen"] == "exponential_floor"
    assert result["predictions"][0]["value"] == pytest.approx(2 * 0.8**4 + 0.3, rel=1e-3)
    assert [p["extrapolated"] for p in result["predictions"]] == [False, True]
    assert "whole numbers" in refused(capsys, "fit", points, "--predict", "4;6")
    assert "no such file" in refused(capsys, "fit", tmp_path / "none.csv")


def test_doctor_names_device_meter_and_weights(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("device:", "energy:", "embedded:edge", "embedded:light", "emulated:"):
        assert word in out
