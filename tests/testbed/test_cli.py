"""The command line from outside: exit codes, and one line for what is wrong."""

import json
import subprocess
import sys

import pytest

from testbed import config
from testbed.cli import main, parser
from testbed.runs.folder import RunFolder
from tests.conftest import ROOT
from tests.testbed.commands.world import refused
from tests.testbed.runs.world import filled

VERBS = (
    "run",
    "calibrate",
    "problem",
    "allocate",
    "solve",
    "execute",
    "batch",
    "validate",
    "generate",
    "bench",
    "fit",
    "report",
    "figures",
    "doctor",
)
WITHOUT_TORCH = """
import json
import sys
from testbed.cli import main

class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ImportError("torch is wanted")

sys.meta_path.insert(0, NoTorch())
import testbed
assert set(testbed.__all__) <= set(dir(testbed))
assert testbed.load_config("embedded") and testbed.RunFolder and testbed.run
assert testbed.__version__
for command in json.load(sys.stdin):
    try:
        print(main(command))
    except ImportError as error:
        print(error)
"""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"example: testbed {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["rnu"], "VERB: found 'rnu'; allowed: run, calibrate, "),
        (["online", "r", "--requests", "x"], "--requests: found 'x'; allowed: an integer >= 1\n"),
        (["online", "r", "--deadline", "1 s"], "--deadline: found '1 s'; allowed: a number\n"),
        (["problem", "--risk", "5%"], "--risk: found '5%'; allowed: a number\n"),
        (["generate", "--order", "any"], "--order: found 'any'; allowed: first_come, shortest\n"),
        (["bench", "--shrink", "3"], "--shrink: found 3; allowed: 1, 2, 4, 8\n"),
        (["run", "--pln"], "unrecognized arguments: --pln; allowed: what `testbed "),
        (["problem"], "the following arguments are required: --profiles, --scenario, -o/--outp"),
        (["solve", "p", "-o"], "-o/--output: expected one argument; allowed: what `testbed solve"),
    ],
)
def test_wrong_arguments_are_one_line_with_what_is_allowed(capsys, arguments, line):
    assert refused(capsys, *arguments).startswith(f"testbed: {line}")


def test_no_argument_of_a_verb_has_a_type_that_refuses_without_what_is_allowed():
    (verbs,) = (action for action in parser()._actions if action.dest == "verb")
    types = {action.type for verb in verbs.choices.values() for action in verb._actions}
    assert len(types) > 5 and not {int, float} & types


def test_wrong_input_never_shows_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "testbed.cli", "run", "embeded"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "testbed: preset: 'embeded' is unknown; perhaps you meant 'embedded'; "
        "allowed: embedded, flux, mlperf, sana, sd15, sd35, sdxl, transformer, turbo\n"
    )


def test_what_is_wrong_is_refused_before_torch_is_loaded(tmp_path, small_config):
    """Each command that is wrong says so in one line; the last one is right, and wants torch. The
    package has shown its face before.
    """
    text, out = small_config.read_text(), tmp_path / "run"
    commands, messages = [], []

    def wrong(old, new, message):
        path = tmp_path / f"{len(commands)}.toml"
        path.write_text(text.replace(old, new))
        commands.append(["run", str(path), "--out", str(out)])
        messages.append(message)

    wrong("prompts_per_class = 3", "prompts_per_class = 4000", "4000 prompts of class 'object'")
    wrong("converged_steps = 12", "converged_steps = 6", "above the grid's largest, 6")
    wrong("edge = { max_steps = 6 }", "edge = { max_steps = 9 }", "allowed: at most 6")
    wrong("[quality]", '[quality]\nreference = "nowhere"', "quality.reference: found 'nowhere'")
    requests = tmp_path / "r.jsonl"
    requests.write_text('{"id": "a", "prompt": "x", "seed": 1}\n')
    commands.append(["generate", "--model", "m", str(requests), "-o", str(tmp_path / "images")])
    messages.append("line 1: steps: found None; allowed: a whole number")
    commands.append(["bench", "--architecture", "sdlx"])
    messages.append("'sdlx' is unknown; perhaps you meant 'sdxl'")
    commands.append(["bench", "--architecture", "sdxl", "--batch", "none"])
    messages.append("--batch: found 'none'; allowed: whole numbers of at least 1")
    commands.append(["validate", str(tmp_path / "nothing")])
    messages.append("config.json (configuration) is missing; `testbed calibrate` makes it")
    commands.append(["run", str(small_config), "--out", str(out)])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=ROOT,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["2"] * len(messages) + ["torch is wanted"], done.stderr
    for line, message in zip(done.stderr.splitlines(), messages, strict=True):
        assert message in line
    assert not out.exists()


def test_a_run_folder_of_another_configuration(tmp_path, small_config, capsys):
    out = tmp_path / "run"
    RunFolder.open(config.load(small_config), out)
    filled(out / "calibration", count=1)
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
