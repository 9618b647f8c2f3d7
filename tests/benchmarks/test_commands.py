"""The commands that the documentation gives for the result files are taken, and write them."""

import argparse
import importlib
import shlex
from pathlib import Path

import pytest

from testbed.cli import parser
from tests.conftest import ROOT
from tests.test_docs import blocks

(BLOCK,) = blocks(ROOT / "docs" / "numbers.md", "sh")
COMMANDS = BLOCK.splitlines()
RESULTS = {path.relative_to(ROOT) for path in (ROOT / "benchmarks" / "results").glob("*.json")}
parse_args = argparse.ArgumentParser.parse_args


class Parsed(Exception):
    """Ends a benchmark where it has its arguments."""


def taken(main, arguments, monkeypatch):
    """What the parser of a ``main`` makes of arguments."""

    def stop(own):
        raise Parsed(parse_args(own, arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed) as told:
        main()
    return vars(told.value.args[0])


def parsed(command, monkeypatch):
    """What the program's own parser makes of a command."""
    program, *arguments = shlex.split(command)
    if program == "testbed":
        return vars(parser().parse_args(arguments))
    _, name, *arguments = arguments
    folder = ROOT.joinpath(*name.split(".")).is_dir()
    module = importlib.import_module(f"{name}.__main__" if folder else name)
    return taken(module.main, arguments, monkeypatch)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_writes_its_file(command, monkeypatch):
    (file,) = [Path(word) for word in command.split() if word.endswith(".json")]
    arguments = parsed(command, monkeypatch)
    assert file in RESULTS
    assert file in [arguments.get(option) for option in ("out", "output")]


def test_every_result_has_its_command():
    assert {path for path in RESULTS if str(path) in BLOCK} == RESULTS


def test_trained_models_go_to_this_project_wherever_it_is_started(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("train_embedded")
    assert taken(script.main, ["--work", "build"], monkeypatch)["out"].is_dir()
