"""A disk that fills while a run measures."""

import json
import os

import pytest

from testbed.cli import main
from testbed.runs import store
from tests.testbed.stages.world import first_attempts, records, unfinished


@pytest.mark.slow
def test_a_full_disk_loses_nothing(small_run, tmp_path, capsys, monkeypatch):
    """The disk fills after some records: exit code 1, one line; with space again, the same command
    goes on.
    """
    out, path, before = unfinished(small_run.folder, tmp_path / "run", missing=8)
    command = ["calibrate", str(small_run.config), "--out", str(out)]
    written, real = [], store.write_atomic

    def fills(path, data):
        if len(written) == 3:
            raise OSError(28, os.strerror(28), str(path))
        written.append(path)
        real(path, data)

    monkeypatch.setattr(store, "write_atomic", fills)
    assert main(command) == 1
    err = capsys.readouterr().err
    assert (
        "No space left on device" in err
        and "what was measured is kept" in err
        and "Traceback" not in err
    )
    kept = path.read_bytes()
    assert kept.startswith(b"".join(before))
    assert len(first_attempts(records(path))) == len(first_attempts(map(json.loads, before))) + 3
    monkeypatch.setattr(store, "write_atomic", real)
    assert main(command) == 0
    assert path.read_bytes().startswith(kept)
