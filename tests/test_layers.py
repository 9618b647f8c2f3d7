"""solver <- calibration <- testbed <- scripts: nothing points back, and the solver stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "solver": {
        "torch",
        "diffusers",
        "transformers",
        "torchmetrics",
        "calibration",
        "testbed",
        "scripts",
    },
    "calibration": {"torch", "diffusers", "transformers", "torchmetrics", "testbed", "scripts"},
    "testbed": {"scripts", "tests"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_what_lies_above_it(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not FORBIDDEN[package] & set(imported(path)), path


@pytest.mark.parametrize(
    "module",
    [
        "solver",
        "calibration.scenario.scenario",
        "calibration.validation.validate",
        "testbed.cli",
        "testbed.report",
    ],
)
def test_importing_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
