"""The installer's choice of a build of torch, with stand-ins for pip and for the GPU's driver."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
CPU = "install torch==2.9.0+cpu"


@pytest.fixture
def tree(tmp_path):
    """A project whose ``.venv`` writes down what pip is asked for."""
    for folder in ("scripts", ".venv/bin", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCRIPTS / "install", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "constraints.txt").write_text("torch==2.9.0\nnumpy==2.0.0\n")
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\nshift 4\necho "$*" >> pip.log\n')
    python.chmod(0o755)
    return tmp_path


def install(tree, driver=None):
    """The calls of pip, with a driver of that version or none."""
    smi, log = tree / "bin/nvidia-smi", tree / "pip.log"
    said = "exit 9" if driver is None else f'echo "| NVIDIA-SMI  Driver Version: {driver}  CUDA |"'
    smi.write_text(f"#!/bin/sh\n{said}\n")
    smi.chmod(0o755)
    log.unlink(missing_ok=True)
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        [tree / "scripts/install"], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines() if log.exists() else [], done.stderr


@pytest.mark.parametrize(
    "driver, first",
    [
        (None, CPU),
        ("580.65.06", "install torch"),
        ("550.54.15", "install torch --index-url https://download.pytorch.org/whl/cu126"),
        ("470.10", CPU),
    ],
)
def test_the_build_of_torch_fits_the_driver(tree, driver, first):
    calls, said = install(tree, driver)
    assert calls[0] == first and calls[-1].startswith("install --editable")
    assert ("too old for any current torch" in said) == (driver == "470.10")
    pinned = "torch==" in (tree / ".venv/constraints.txt").read_text()
    assert pinned == (first == CPU)
    assert install(tree, driver)[0] == [], "nothing to do"


def test_a_driver_that_comes_later_brings_another_build(tree):
    install(tree)
    calls, _ = install(tree, "580.65")
    assert calls[:2] == ["uninstall --yes torch torchvision", "install torch"]
    calls, _ = install(tree, None)
    assert calls[:2] == ["uninstall --yes torch torchvision", CPU]
