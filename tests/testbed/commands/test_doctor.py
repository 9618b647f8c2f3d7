"""``testbed doctor``: what this machine has."""

from testbed.cli import main
from testbed.commands import doctor


def test_doctor_names_device_meter_and_weights(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "SIZES", (1, 2))
    monkeypatch.setattr(doctor, "_ROUNDS", 2)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("device:", "energy:", "embedded:edge", "embedded:light", "batching:", "emulated:"):
        assert word in out
