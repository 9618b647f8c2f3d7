"""``testbed doctor``: what this machine has."""

from testbed.cli import main


def test_doctor_names_device_meter_and_weights(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("device:", "energy:", "embedded:edge", "embedded:light", "emulated:"):
        assert word in out
