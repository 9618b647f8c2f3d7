"""The package's public face: names are loaded when they are used, and its example runs."""

import subprocess
import sys

import calibration
from calibration import save_profiles


def test_every_public_name_is_there_and_none_is_loaded_before():
    assert all(getattr(calibration, name) for name in calibration.__all__)
    code = "import sys, calibration; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_documented_example_runs(measured, tmp_path, monkeypatch):
    save_profiles(tmp_path / "profiles.json", measured)
    monkeypatch.chdir(tmp_path)
    lines = [line for line in calibration.__doc__.splitlines() if line.startswith(">>> ")]
    names = {}
    exec("\n".join(line.removeprefix(">>> ") for line in lines), names)
    assert len(lines) <= 10 and names["allocation"].status == "optimal"
