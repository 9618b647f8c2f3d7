"""What ``scripts/serve`` serves, and from where."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path):
    """A clone whose installation is done, and whose command says what it is told."""
    folder = tmp_path / "clone"
    for path, lines in {
        "scripts/install": "",
        ".venv/bin/testbed": 'echo "$PWD|$*"\n',
    }.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(f"#!/bin/sh\n{lines}")
        (folder / path).chmod(0o755)
    shutil.copy(ROOT / "scripts" / "serve", folder / "scripts")
    return folder


@pytest.mark.parametrize(
    "arguments, embedded",
    [
        ([], True),
        (["--port", "8001"], True),
        (["--api-key", "k", "--host", "0.0.0.0"], True),
        (["mine.toml"], False),
        (["sd15", "--port", "8001"], False),
        (["--port", "8001", "mine.toml"], False),
        (["--port=8001", "--batch=2"], True),
        (["--port=8001", "mine.toml"], False),
        (["--run=runs/mine"], False),
        (["--run", "runs/mine"], False),
        (["--port", "8001", "--profiles", "mine.json"], False),
    ],
    ids=str,
)
def test_without_a_configuration_the_embedded_model_is_served_with_its_profiles(
    clone, tmp_path, arguments, embedded
):
    """Paths are taken from the user's folder."""
    command = [clone / "scripts" / "serve", *arguments]
    said = subprocess.check_output(command, cwd=tmp_path, text=True)
    added = ["embedded", "--profiles", f"{clone}/docs/profiles.json"] if embedded else []
    assert said == f"{tmp_path}|{' '.join(['serve', *added, *arguments])}\n"
