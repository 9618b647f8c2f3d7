"""Imports run downwards, between packages and between the rooms of a package, and are light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "diffusers", "transformers", "torchmetrics"}
LIGHT = (
    "solver",
    "calibration",
    "calibration.scenario.scenario",
    "calibration.validation.validate",
    "testbed",
    "testbed.cli",
    "testbed.config",
    "testbed.report.page",
)
FORBIDDEN = {
    "solver": HEAVY | {"calibration", "testbed", "scripts", "benchmarks", "tests"},
    "calibration": HEAVY | {"testbed", "scripts", "benchmarks", "tests"},
    "testbed": {"scripts", "benchmarks", "tests"},
    "scripts": {"benchmarks", "tests"},
    "benchmarks": {"scripts", "tests"},
    "tests": {"scripts"},
}
#: The rooms of a package from the ground up; those of one floor do not know each other.
FLOORS = {
    "calibration": [
        {"checks", "links", "statistics"},
        {"fault"},
        {"readers"},
        {"schema"},
        {"arrivals", "comparison", "fitting"},
        {"records"},
        {"costs"},
        {"sweep", "serving"},
        {"profiles"},
        {"scenario"},
        {"validation"},
    ],
}


@cache
def imported(path):
    """The dotted names of the modules that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_what_lies_above_it(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not FORBIDDEN[package] & {name.split(".")[0] for name in imported(path)}, path


@pytest.mark.parametrize("package", FLOORS)
def test_the_rooms_of_a_package_import_downwards_only(package):
    floor = {room: level for level, rooms in enumerate(FLOORS[package]) for room in rooms}
    rooms = {path.stem for path in (ROOT / package).iterdir() if path.stem[0] not in "._"}
    assert rooms == set(floor)
    for path in (ROOT / package).rglob("*.py"):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name in imported(path):
            if name.startswith(f"{package}.") and (other := name.split(".")[1]) != room:
                assert floor[other] < floor[room], f"{path}: {name}"


def test_importing_loads_no_torch():
    """One after the other in a new process. A laptop with a copied run folder needs no machine
    learning packages for its report.
    """
    code = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert {HEAVY!r}.isdisjoint(sys.modules), name
"""
    assert subprocess.run([sys.executable, "-c", code, *LIGHT], cwd=ROOT).returncode == 0
