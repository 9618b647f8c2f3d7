"""The installer's choice of a build of torch, with stand-ins for pip and for the GPU's driver."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
CPU = "install torch==2.9.0+cpu"
#: The Python of ``.venv``: a call of pip fails where the file "fails" matches it.
PIP = """#!/bin/sh
if [ "$1" = -c ]; then exit 0; fi
shift 4
echo "$*" >> pip.log
[ ! -f fails ] || ! echo "$*" | grep -q -f fails
"""
#: The system's, which makes another ``.venv``.
PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then exit 0; fi
echo "$*" >> pip.log
rm -rf .venv
mkdir -p .venv/bin
cp bin/pip .venv/bin/python
echo "#!$PWD/.venv/bin/python" > .venv/bin/pip
"""
OF_CUDA_12 = "install torch --index-url https://download.pytorch.org/whl/{}"


@pytest.fixture
def tree(tmp_path):
    """A project whose ``.venv`` writes down what pip is asked for."""
    tree = tmp_path / "a project"
    for folder in ("scripts", "bin"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(SCRIPTS / "install", tree / "scripts")
    (tree / "pyproject.toml").write_text("")
    (tree / "constraints.txt").write_text("torch==2.9.0\nnumpy==2.0.0\n")
    for name, content in {"pip": PIP, "python3": PYTHON}.items():
        (tree / "bin" / name).write_text(content)
        (tree / "bin" / name).chmod(0o755)
    subprocess.run([tree / "bin/python3"], cwd=tree, check=True)
    return tree


def install(tree, driver=None, cards=(), status=0, extras=()):
    """The calls of pip, with a driver of that version or none, and cards of these compute
    capabilities (none: an nvidia-smi that does not tell them).
    """
    smi, log = tree / "bin/nvidia-smi", tree / "pip.log"
    said = "exit 9" if driver is None else f'echo "| NVIDIA-SMI  Driver Version: {driver}  CUDA |"'
    told = "; ".join(f"echo {card}" for card in cards) or "exit 6"
    smi.write_text(f'#!/bin/sh\ncase "$*" in *compute_cap*) {told};; *) {said};; esac\n')
    smi.chmod(0o755)
    log.unlink(missing_ok=True)
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    own = {"PATH": path, "PYTHON": str(tree / "bin/python3")}
    done = subprocess.run(
        [tree / "scripts/install", *extras],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return log.read_text().splitlines() if log.exists() else [], done.stderr


@pytest.mark.parametrize(
    "driver, cards, first",
    [
        (None, (), CPU),
        ("580.65.06", (), "install torch"),
        ("580.65.06", ("12.0", "9.0"), "install torch"),
        ("580.65.06", ("7.0",), OF_CUDA_12.format("cu126")),
        ("550.54.15", (), OF_CUDA_12.format("cu126")),
        ("570.86", ("9.0",), OF_CUDA_12.format("cu126")),
        ("570.86", ("8.9", "12.0"), OF_CUDA_12.format("cu128")),
        ("470.10", (), CPU),
    ],
)
def test_the_build_of_torch_fits_driver_and_cards(tree, driver, cards, first):
    calls, said = install(tree, driver, cards)
    assert calls[0] == first and calls[-1].startswith("install --editable")
    assert ("too old for any current torch" in said) == (driver == "470.10")
    pinned = "torch==" in (tree / ".venv/constraints.txt").read_text()
    assert pinned == (first == CPU)
    assert install(tree, driver, cards)[0] == [], "nothing to do"


def test_a_driver_that_comes_later_brings_another_build(tree):
    install(tree)
    calls, _ = install(tree, "580.65")
    assert calls[:2] == ["uninstall --yes torch torchvision", "install torch"]
    calls, _ = install(tree, None)
    assert calls[:2] == ["uninstall --yes torch torchvision", CPU]


def test_a_switch_that_failed_is_made_up_for(tree):
    """The marks of the build before said that nothing was to do."""
    install(tree)
    (tree / "fails").write_text("^install torch$")
    install(tree, "580.65", status=1)
    (tree / "fails").unlink()
    assert install(tree)[0][:2] == ["uninstall --yes torch torchvision", CPU]
    (tree / "fails").write_text("^uninstall")
    install(tree, "580.65", status=1)
    (tree / "fails").unlink()
    assert install(tree, "580.65")[0][:2] == ["uninstall --yes torch torchvision", "install torch"]


def test_a_switch_to_and_fro_leaves_no_mark_of_other_extras(tree):
    install(tree)
    install(tree, extras=["test"])
    install(tree, "580.65", extras=["test"])
    assert install(tree)[0][:2] == ["uninstall --yes torch torchvision", CPU]


@pytest.mark.parametrize("harm", ["moved", "its Python is gone", "its Python is too old"])
def test_an_environment_that_does_not_run_here_is_made_anew(tree, harm):
    install(tree)
    python = tree / ".venv/bin/python"
    if harm == "moved":
        tree = tree.rename(tree.parent / "elsewhere")
    else:
        python.unlink()
        python.symlink_to("/no/such/python" if "gone" in harm else shutil.which("false"))
    assert install(tree)[0][:2] == ["-m venv --clear .venv", CPU]
    assert install(tree)[0] == [], "nothing to do"


def test_an_environment_behind_a_link_is_taken_as_it_is(tree):
    install(tree)
    other = tree.parent / "other"
    shutil.copytree(tree, other, ignore=shutil.ignore_patterns(".venv"))
    (other / ".venv").symlink_to(tree / ".venv")
    assert install(other)[0] == []
