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


def parsed(command, monkeypatch):
    """What the program's own parser makes of a command."""

    def stop(own, _arguments=None):
        raise Parsed(parse_args(own, arguments))

    program, *arguments = shlex.split(command)
    if program == "testbed":
        return vars(parser().parse_args(arguments))
    _, name, *arguments = arguments
    folder = ROOT.joinpath(*name.split(".")).is_dir()
    module = importlib.import_module(f"{name}.__main__" if folder else name)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed) as told:
        module.main()
    return vars(told.value.args[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_writes_its_file(command, monkeypatch):
    (file,) = [Path(word) for word in command.split() if word.endswith(".json")]
    arguments = parsed(command, monkeypatch)
    assert file in RESULTS
    assert file in [arguments.get(option) for option in ("out", "output")]


def test_every_result_has_its_command():
    assert {path for path in RESULTS if str(path) in BLOCK} == RESULTS
