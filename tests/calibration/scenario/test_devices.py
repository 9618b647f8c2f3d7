"""Device classes of users: their ratios are quotients of published numbers."""

import pytest

from calibration.scenario.devices import DEVICES


def test_device_ratios_are_the_published_step_times():
    assert DEVICES["snapdragon-8-elite-gen-5"].ratio == pytest.approx(2 * 0.0448 * 24.9, abs=0.005)
    assert DEVICES["snapdragon-7-gen-4"].ratio == pytest.approx(9.16, abs=0.005)
    assert (
        DEVICES["jetson-agx-orin"].ratio == pytest.approx(9.94 * 2.18, abs=0.005)
        and "SDXL" in DEVICES["jetson-agx-orin"].source
    )
    assert DEVICES["rtx-4090-compiled"].ratio == pytest.approx(24.9 / 33.5, abs=0.005)
    assert (
        DEVICES["rtx-4090"].ratio == 1 and DEVICES["rtx-4090"].basis == "emulated"
    )  # the reference, but not the machine measured
    assert DEVICES["snapdragon-x-elite"].decode_time == 0.264
    assert DEVICES["server-core"].ratio == 1 and DEVICES["server-core"].basis == "measured"
    assert all(
        device.basis == "emulated" and device.source
        for device in DEVICES.values()
        if device.name != "server-core"
    )
