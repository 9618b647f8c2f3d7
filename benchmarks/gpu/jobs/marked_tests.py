"""The tests marked ``gpu``."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting

ROOT = Path(__file__).parents[3]
_OUTCOME = re.compile(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)")
COMPILED = "compiled"  # what the slow tests of torch.compile have in their names


def run(notes: Notes, setting: Setting, names: str = f"not {COMPILED}") -> str:
    """Run those whose names match pytest's expression ``names``; raises where one failed."""
    marked = [
        path
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-m", "gpu", "-k", names, *(str(path.relative_to(ROOT)) for path in marked)]
    outcomes: dict[str, str] = {}
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="")
            lines.append(line.rstrip())
            if outcome := _OUTCOME.match(line):
                outcomes[outcome[1]] = outcome[2].lower()
                notes.add(outcomes=outcomes)
    counts = {kind: list(outcomes.values()).count(kind) for kind in sorted({*outcomes.values()})}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none ran"
    if process.returncode:
        notes.add(output=lines[-60:])
        raise RuntimeError(f"pytest exits {process.returncode}: {text}")
    return text


def run_compiled(notes: Notes, setting: Setting) -> str:
    """Run those of torch.compile, which takes a minute before anything is measured."""
    return run(notes, setting, COMPILED)
