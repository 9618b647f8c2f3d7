"""The GPU box's script, with a stand-in for the command itself: it outlasts what started it, is
found again, and tells how it ended.
"""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_box"
STAND_IN = """#!/bin/sh
echo "testbed $*"
case "$*" in
run*--plan*|doctor) exit 0;;
esac
box=$(dirname "$0")/../..
while [ ! -f "$box/go" ]; do sleep 0.05; done
echo "$PWD: report.html"
exit $(cat "$box/go")
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("flock") or not shutil.which("setsid"), reason="needs flock and setsid"
)


@pytest.fixture
def box(tmp_path):
    for folder in ("scripts", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / ".venv/bin/testbed").write_text(STAND_IN)
    (tmp_path / "scripts/install").write_text('#!/bin/sh\necho "install $*"\nexit 2\n')
    for name in ("scripts/install", ".venv/bin/testbed"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(box, *arguments):
    return subprocess.Popen(
        [box / "scripts/gpu_box", *arguments],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_lost_connection_and_a_second_start(box):
    first = start(box, "my/pair.toml", "--strict")
    for line in first.stdout:
        if line == f"testbed run my/pair.toml --out {box}/runs/pair --strict\n":
            break
    first.kill()
    again = start(box, "my/pair.toml", "--strict")
    assert again.stdout.readline() == f"already running: following {box}/runs/pair.log\n"
    (box / "go").write_text("0")
    said = again.communicate(timeout=20)[0].splitlines()
    assert again.returncode == 0 and said == [
        f"testbed run my/pair.toml --out {box}/runs/pair --strict",
        "/: report.html",
    ]


@pytest.mark.parametrize("code", [1, 2])
def test_it_says_what_there_is_and_what_it_costs_first_and_ends_as_the_run_does(box, code):
    (box / "go").write_text(str(code))
    done = start(box)
    said = done.communicate(timeout=20)[0].splitlines()
    assert said[:4] == [
        "install energy",
        "testbed doctor",
        f"testbed run sd15 --out {box}/runs/sd15 --plan",
        f"testbed run sd15 --out {box}/runs/sd15",
    ]
    assert done.returncode == code


def test_it_stops_where_torch_cannot_use_the_gpu(box):
    doctor = 'echo "gpu:  there is an NVIDIA GPU (driver 550.54) that cannot be used: torch ..."'
    script = box / ".venv/bin/testbed"
    script.write_text(STAND_IN.replace("run*--plan*|doctor) exit", f"doctor) {doctor};exit"))
    done = start(box)
    said = done.communicate(timeout=20)[0]
    assert done.returncode == 2 and "scripts/gpu_box: stopped" in said
    assert "testbed run" not in said


def test_paths_are_from_the_users_folder(box, tmp_path_factory):
    users = tmp_path_factory.mktemp("users")
    (box / "go").write_text("0")
    command = [box / "scripts/gpu_box", "my.toml", "--problem", "p.json", "--local=./m"]
    done = subprocess.run(command, cwd=users, capture_output=True, text=True, timeout=20)
    assert f"testbed run my.toml --out {box}/runs/my --problem p.json --local=./m\n" in done.stdout
    assert f"{users}: report.html\n" in done.stdout


def test_a_run_that_is_killed_is_not_taken_for_done(box):
    first = start(box)
    while not (box / "runs/sd15.pid").exists() or not (box / "runs/sd15.log").read_text():
        time.sleep(0.02)
    subprocess.run(["kill", "--", f"-{(box / 'runs/sd15.pid').read_text().strip()}"], check=True)
    assert first.wait(timeout=20) == 1
    (box / "go").write_text("0")
    assert start(box).wait(timeout=20) == 0
