"""The tests marked ``gpu``."""

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting

ROOT = Path(__file__).parents[3]
COMPILED = "compiled"  # what the slow tests of torch.compile have in their names


class _Outcomes:
    """What becomes of each test, noted at once: a later one may end the process."""

    def __init__(self, notes: Notes) -> None:
        self._notes, self.of_test = notes, dict[str, str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after a test's set-up, call and tear-down."""
        if report.when == "call" or not report.passed:
            error = report.failed and report.when != "call"
            self.of_test[report.nodeid] = "error" if error else report.outcome
            self._notes.add(outcomes=self.of_test)


def run(notes: Notes, setting: Setting, names: str = f"not {COMPILED}") -> str:
    """Run those whose names match pytest's expression ``names``; raises where one failed.

    They run in this process, which has the libraries already, and is the job's own.
    """
    marked = [
        path
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    os.chdir(ROOT)
    command = ["-v", "--tb=short", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-m", "gpu"]
    outcomes = _Outcomes(notes)
    code = pytest.main([*command, "-k", names, *map(str, marked)], plugins=[outcomes])
    counts = sorted(Counter(outcomes.of_test.values()).items())
    text = ", ".join(f"{count} {kind}" for kind, count in counts) or "none ran"
    if code:
        raise RuntimeError(f"pytest exits {int(code)}: {text}")
    return text


def run_compiled(notes: Notes, setting: Setting) -> str:
    """Run those of torch.compile, which takes a minute before anything is measured."""
    return run(notes, setting, COMPILED)
