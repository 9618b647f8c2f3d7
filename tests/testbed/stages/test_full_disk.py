"""A disk that fills while a run measures."""

import os

import pytest

from testbed.cli import main
from testbed.runs import store


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path, small_config, capsys, monkeypatch):
    """The disk fills after some records: exit code 1, one line; with space again, the same command
    goes on.
    """
    fewer = (
        small_config.read_text()
        .replace("prompts_per_class = 3", "prompts_per_class = 2")
        .replace("[1, 2, 3, 6]", "[1, 2, 3]")
    )
    small_config.write_text(fewer.replace("converged_steps = 12", "converged_steps = 6"))
    out, written = tmp_path / "run", []
    real = store.write_atomic

    def fills(path, data):
        if len(written) == 12:
            raise OSError(28, os.strerror(28), str(path))
        written.append(path)
        real(path, data)

    monkeypatch.setattr(store, "write_atomic", fills)
    assert main(["calibrate", str(small_config), "--out", str(out)]) == 1
    err = capsys.readouterr().err
    assert (
        "No space left on device" in err
        and "what was measured is kept" in err
        and "Traceback" not in err
    )
    kept = (out / "calibration" / "records.jsonl").read_bytes()
    assert kept.count(b"\n") == 12
    monkeypatch.setattr(store, "write_atomic", real)
    assert main(["calibrate", str(small_config), "--out", str(out)]) == 0
    assert (out / "calibration" / "records.jsonl").read_bytes().startswith(kept)
