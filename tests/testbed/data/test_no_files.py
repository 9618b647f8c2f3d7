"""What stands in the place of an input file and is none: one line, for every reader."""

import os
import socket
from pathlib import Path

import pytest

from calibration.arrivals import read_trace
from calibration.fitting.points import points_from_csv
from calibration.profiles import store as profiles
from calibration.scenario.scenario import Scenario
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import Problem
from testbed import config
from testbed.cli import main
from testbed.data.image_requests import read_requests
from testbed.data.prompts import FilePrompts
from testbed.metering.meters import ReplayMeter
from testbed.models.folders import read_object
from testbed.runs.features import SweepFeatures
from testbed.runs.guard import has_measured
from testbed.runs.store import RecordStore, read_image, read_records
from tests.conftest import SMALL
from tests.testbed.own_pairs import write_prompts

READERS = {
    "c.toml": config.load,
    "prompts.jsonl": FilePrompts,
    "requests.jsonl": read_requests,
    "scenario.toml": Scenario.load,
    "points.csv": points_from_csv,
    "trace.csv": read_trace,
    "meter.csv": ReplayMeter.load,
    "profiles.json": profiles.load,
    "problem.json": Problem.load,
    "problem.npz": Problem.load,
    "allocation.json": Allocation.load,
    "model_index.json": read_object,
    "features.npz": SweepFeatures.load,
    "image.png": read_image,
    "records.jsonl": lambda path: (read_records(path), RecordStore(path.parent)),
    "calibration/records.jsonl": lambda path: has_measured(path.parent.parent),
}
KINDS = {"zero": "device", "null": "device", "socket": "socket", "folder": "folder"}


@pytest.fixture
def places(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        (tmp_path / "f").mkdir()
        paths = ("/dev/zero", "/dev/null", tmp_path / "s", tmp_path / "f")
        yield dict(zip(KINDS, paths, strict=True))


@pytest.mark.parametrize("name", READERS)
def test_a_device_a_socket_or_a_folder_in_the_place_of_a_file(tmp_path, places, name):
    """/dev/zero filled the memory; a pipe in the place of weights hung for ever."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for place, kind in KINDS.items():
        path.symlink_to(places[place])
        with pytest.raises(InputError, match=f"{path.name}: found a {kind}; allowed: a file"):
            READERS[name](path)
        path.unlink()


@pytest.mark.parametrize("name", ["problem.npz", "features.npz", "image.png", "records.jsonl"])
def test_what_is_not_read_in_one_go_is_no_pipe(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="found a pipe; allowed: a file"):
        READERS[name](tmp_path / name)


def piped(text):
    end, begin = os.pipe()
    with open(begin, "w") as file:
        file.write(text)
    return f"/dev/fd/{end}"


def test_a_configuration_and_its_prompts_come_through_pipes(tmp_path, monkeypatch, capsys):
    """As of the shell's <(...): `--plan` reads both more than once."""
    monkeypatch.chdir(tmp_path)
    prompts = write_prompts(Path("p.jsonl")).read_text()
    text = f'prompts = "{piped(prompts)}"\n' + SMALL.replace("images_per_user = 1", "")
    text = text.replace("reference_size = 40", 'reference = "converged"').replace("users = 6", "")
    assert main(["run", piped(text), "--plan"]) == 0
    assert "evaluations of a denoiser" in capsys.readouterr().out
    assert main(["run", "/dev/null", "--plan"]) == 2
    assert "/dev/null: found a device" in capsys.readouterr().err
    assert main(["run", "embedded", "--plan", "--out", "/dev/null"]) == 2
    assert "/dev/null: found a file; allowed: a folder" in capsys.readouterr().err
